package images

# An image of a deployment is named by its digest.
deny contains message if {
    some container in input.spec.template.spec.containers
    not contains(container.image, "@sha256:")
    message := sprintf("%s is not pinned: %s", [container.name, container.image])
}
