//! Images whose repository lies in an OCI layout: an engine can neither pull nor push them, and does not
//! know such names.

use dockit_registry::{Digest, Platform, Reference, RegistryHost, Tag};

use super::DockerEngine;
use crate::backend::layout_store::LayoutStore;
use crate::backend::{
    BackendError, BackendErrorKind, BuildRequest, Engine as _, LocalImage, export_to_layout,
    load_from_layout,
};

/// What stands in an engine for the host of all layouts: no registry of the network can be meant.
const HOST: &str = "localhost";

impl DockerEngine {
    /// The same engine, which loads images of layouts and writes into layouts. What is on its way there is
    /// put together in `store`.
    #[must_use]
    pub fn with_layouts(mut self, store: LayoutStore) -> Self {
        self.layouts = Some(store);
        self
    }

    fn layouts(&self) -> Result<&LayoutStore, BackendError> {
        self.layouts.as_ref().ok_or_else(|| {
            let message = "nothing says where this engine finds layouts";
            BackendError::new(BackendErrorKind::Unsupported, message)
        })
    }

    /// Puts an image of the engine under this name into the store of what is on its way into a layout.
    pub(super) async fn put_into_store(
        &self,
        name: &Reference,
    ) -> Result<&LayoutStore, BackendError> {
        let store = self.layouts()?;
        let local = self.present(&called(name).familiar()).await?;
        let layout = store.created().await?;
        let manifest = export_to_layout(self, &local, &layout, store.compression()).await?;
        let image = LocalImage { id: manifest.digest().to_string(), labels: local.labels };
        store.tag(&image, name).await?;
        Ok(store)
    }

    /// Loads an image of a layout.
    pub(super) async fn pull_from_layout(
        &self,
        source: &Reference,
        platform: &Platform,
    ) -> Result<LocalImage, BackendError> {
        let (layout, manifest) = self.layouts()?.of_layout(source, platform).await?;
        load_from_layout(&layout, &manifest, self).await
    }

    /// A build that names nothing in layouts: the images are loaded first, each under a name that follows
    /// from its digest.
    pub(super) async fn without_layouts(
        &self,
        mut request: BuildRequest,
    ) -> Result<BuildRequest, BackendError> {
        request.name = called(&request.name);
        request.private_images.retain(|(image, _)| !is_in_layout(image));
        request.cache_sources.retain(|source| !is_in_layout(&source.image));
        if request.keyed_images.iter().all(|image| !is_in_layout(image)) {
            return Ok(request);
        }
        let mut names = Vec::new();
        for image in &request.keyed_images {
            let name = match (is_in_layout(image), image.digest()) {
                (true, Some(digest)) => {
                    let local = self.pull_from_layout(image, &request.platform).await?;
                    let name = called(image).repository().with_tag(tag_of(digest));
                    self.tag(&local, &name).await?;
                    name
                }
                _ => called(image),
            };
            names.push(name);
        }
        request.dockerfile = request
            .recipe
            .resolved()
            .rewrite(&mut |index, _| names.get(index).map(Reference::to_string));
        request.keyed_images = names;
        Ok(request)
    }
}

/// Whether a reference leads into a layout.
pub(super) fn is_in_layout(reference: &Reference) -> bool {
    reference.repository().host().layout().is_some()
}

/// What the engine calls an image.
pub(super) fn called(reference: &Reference) -> Reference {
    if !is_in_layout(reference) {
        return reference.clone();
    }
    let host: RegistryHost = HOST.parse().expect("a host");
    let name = reference.repository().name().clone();
    match dockit_registry::Repository::new(host, name) {
        Ok(repository) => {
            Reference::new(repository, reference.tag().cloned(), reference.digest().cloned())
        }
        // Its name is as long as names may be. Then the engine says what it cannot do with the other.
        Err(_) => reference.clone(),
    }
}

/// A tag that only one image can have.
fn tag_of(digest: &Digest) -> Tag {
    digest.as_str().replace(':', "-").parse().expect("a digest's characters may be in a tag")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::layout_store::layout_name;

    #[test]
    fn images_of_layouts_have_names_that_no_network_knows() {
        let digest = Digest::of(b"x");
        let written = format!("oci:out/dir:team/app:k1@{digest}");
        let reference = Reference::from_written(&written).unwrap();
        assert_eq!(called(&reference).to_string(), format!("localhost/team/app:k1@{digest}"));
        let other: Reference = "r.example/app:1".parse().unwrap();
        assert_eq!(called(&other), other);
        assert!(tag_of(&digest).as_str().starts_with("sha256-"));
        assert_ne!(layout_name(&reference).unwrap(), layout_name(&other).unwrap());
    }
}
