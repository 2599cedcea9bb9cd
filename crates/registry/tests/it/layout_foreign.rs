//! Layouts as other tools write them.

use dockit_registry::layout::{Layout, LayoutName, Unwanted};
use dockit_registry::manifest::{Manifest, media_type};
use dockit_registry::{Digest, ErrorKind, RawManifest};
use dockit_testkit::TestImage;
use serde_json::{Value, json};

use crate::layout_disk::{Disk, assert_kind, digest, name, named};
use crate::layout_store::{manifest, put, put_blobs, repository, tag};

fn names(layout: &Layout) -> Vec<String> {
    layout.names().unwrap().iter().map(|(name, _)| name.to_string()).collect()
}

fn found(layout: &Layout, text: &str) -> Option<Digest> {
    layout.find(Some(&name(text)), None).unwrap().map(|found| found.digest)
}

#[test]
fn skopeo_names_an_image_whole_and_has_no_media_type_in_the_index() {
    let disk = Disk::new();
    let (old, new) = (disk.image("old"), disk.image("new"));
    // An image whose name moved stays behind without one.
    disk.index(&[old, named(&new, "team/app:1.0")]);
    let layout = disk.open();
    assert_eq!(names(&layout), ["team/app:1.0"]);
    assert_eq!(found(&layout, "team/app:1.0"), Some(digest(&new)));
    assert_eq!(found(&layout, "1.0"), None);
}

#[test]
fn buildkit_names_by_the_tag_and_leaves_its_lock() {
    let disk = Disk::new();
    let (image, attestation) = (disk.image("1"), disk.image("provenance"));
    let mut image_entry = image.clone();
    image_entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let mut attestation_entry = attestation;
    attestation_entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let list = disk.list(&[image_entry, attestation_entry]);
    let mut entry = named(&list, "1.0");
    entry["annotations"]["io.containerd.image.name"] = "docker.io/library/app:1.0".into();
    entry["annotations"]["org.opencontainers.image.created"] = "2025-01-01T00:00:00Z".into();
    disk.index(&[entry]);
    disk.write("index.json.lock", "");
    disk.write("ingest/x", "");
    let layout = Layout::create(disk.path()).unwrap();
    assert_eq!(found(&layout, "1.0"), Some(digest(&list)));
    let raw = layout.manifest(&digest(&list)).unwrap();
    let Manifest::Index(index) = raw.parse().unwrap() else { panic!("an index") };
    assert_eq!(index.platforms().count(), 1);
    assert_eq!(layout.manifest(&digest(&image)).unwrap().media_type(), media_type::OCI_MANIFEST);
}

#[test]
fn oras_lists_every_manifest_that_nothing_leads_to() {
    let disk = Disk::new();
    let image = disk.image("1");
    let mut signature = disk.referrer(&image, "signature");
    signature["artifactType"] = "text/note".into();
    disk.index(&[named(&image, "v1"), named(&image, "latest"), signature.clone()]);
    disk.write("ingest/left", "");
    let layout = disk.open();
    assert_eq!(names(&layout), ["v1", "latest"]);
    assert_eq!(layout.find(None, None).unwrap().unwrap().digest, digest(&image));
    let referrers = layout.referrers(&digest(&image)).unwrap();
    assert_eq!(referrers.len(), 1);
    assert_eq!(referrers[0].digest, digest(&signature));
}

#[test]
fn regclient_keeps_lists_of_referrers_under_names() {
    let disk = Disk::new();
    let image = disk.image("1");
    let signature = disk.referrer(&image, "signature");
    let list = disk.list(std::slice::from_ref(&signature));
    let tag = format!("sha256-{}", digest(&image).hex());
    disk.index(&[named(&image, "v1"), named(&list, &tag)]);
    let layout = disk.open();
    assert_eq!(layout.find(None, None).unwrap().unwrap().digest, digest(&image));
    assert_eq!(layout.referrers(&digest(&image)).unwrap()[0].digest, digest(&signature));
}

#[test]
fn docker_save_gives_several_images_the_same_tag() {
    let disk = Disk::new();
    let entry = |image: &Value, repository: &str| {
        let mut entry = named(image, "latest");
        entry["annotations"]["io.containerd.image.name"] =
            format!("docker.io/library/{repository}:latest").into();
        entry
    };
    let (one, two) = (disk.image("1"), disk.image("2"));
    disk.index(&[entry(&one, "one")]);
    disk.write("manifest.json", "[]");
    disk.write("repositories", "{}");
    assert_eq!(found(&disk.open(), "latest"), Some(digest(&one)));
    disk.index(&[entry(&one, "one"), entry(&two, "two")]);
    let layout = disk.open();
    let latest = name("latest");
    let error = assert_kind(layout.find(Some(&latest), None), &ErrorKind::Invalid);
    assert!(error.to_string().contains("several images have the name latest"), "{error}");
    let by_digest = layout.find(Some(&latest), Some(&digest(&two))).unwrap().unwrap();
    assert_eq!(by_digest.digest, digest(&two));
}

#[test]
fn what_the_spec_has_no_name_for_is_left_alone() {
    let disk = Disk::new();
    let (one, two) = (disk.image("1"), disk.image("2"));
    disk.index(&[named(&one, "-no name-"), named(&two, "app")]);
    let layout = disk.open();
    assert_eq!(names(&layout), ["app"]);
    assert!("-no name-".parse::<LayoutName>().is_err());
    assert_eq!(layout.find(None, None).unwrap().unwrap().digest, digest(&two));
}

#[test]
fn manifests_without_a_media_type_are_told_by_their_shape() {
    let disk = Disk::new();
    let bare = disk.blob(
        "application/octet-stream",
        &json!({"schemaVersion": 2, "config": disk.blob("c", "{}"), "layers": []}).to_string(),
    );
    let layout = disk.open();
    assert_eq!(layout.manifest(&digest(&bare)).unwrap().media_type(), media_type::OCI_MANIFEST);
    let mut entry = bare.clone();
    entry["mediaType"] = media_type::DOCKER_MANIFEST.into();
    disk.index(&[entry]);
    let raw = layout.manifest(&digest(&bare)).unwrap();
    assert_eq!(raw.media_type(), media_type::DOCKER_MANIFEST, "the entry knows better");
    let layer = disk.blob("l", "no manifest at all");
    assert_kind(layout.manifest(&digest(&layer)), &ErrorKind::Invalid);
}

#[test]
fn what_belongs_to_all_repositories_is_not_deleted_by_one() {
    let disk = Disk::new();
    let image = TestImage::new("theirs");
    let digest = manifest(&image).digest().clone();
    let layout = disk.open();
    put_blobs(&layout, &image);
    layout.put_manifest(&manifest(&image)).unwrap();
    let size = image.manifest.len();
    disk.index(&[json!({
        "mediaType": image.media_type, "digest": image.digest(), "size": size,
    })]);
    let (app, other) = (repository("team/app"), repository("team/other"));
    let delete = || {
        let mut results = layout.delete(&app, &[Unwanted::Manifest(digest.clone())]).unwrap();
        results.pop().unwrap()
    };
    put(&layout, "team/other:1", &TestImage::new("of another repository"));
    assert_kind(delete(), &ErrorKind::StillReferenced);
    assert!(layout.manifest_in(&other, &digest).unwrap().is_some());

    // What the repository has itself goes, and nothing else.
    layout.put_untagged(&app, &manifest(&image)).unwrap();
    assert!(delete().unwrap());
    assert_eq!(layout.entries(&app).unwrap(), []);
    assert!(layout.manifest_in(&other, &digest).unwrap().is_some());

    let last = layout.tagged(&other, &tag("1")).unwrap().unwrap().digest;
    layout.delete(&other, &[Unwanted::Manifest(last)]).unwrap();
    assert!(delete().unwrap(), "nobody else is there to mean it");
    assert!(layout.manifest_in(&other, &digest).unwrap().is_none());
}

#[test]
fn children_are_found_of_indexes_that_came_and_not_of_those_that_went() {
    let disk = Disk::empty();
    let layout = Layout::create(disk.path()).unwrap();
    let app = repository("team/app");
    let images = ["1", "2"].map(TestImage::new);
    let is_there =
        |image: &TestImage| layout.manifest_in(&app, manifest(image).digest()).unwrap().is_some();
    for (number, image) in images.iter().enumerate() {
        put_blobs(&layout, image);
        layout.put_manifest(&manifest(image)).unwrap();
        assert!(!is_there(image));
        let index = TestImage::index(&[(image, "linux", "amd64")]);
        let index = RawManifest::new(media_type::OCI_INDEX, index);
        layout.put_tag(&app, &tag(&number.to_string()), &index).unwrap();
        assert!(is_there(image) && is_there(&images[0]));
    }
    let first = layout.tagged(&app, &tag("0")).unwrap().unwrap().digest;
    layout.delete(&app, &[Unwanted::Manifest(first)]).unwrap();
    assert_eq!(images.each_ref().map(is_there), [false, true]);
}
