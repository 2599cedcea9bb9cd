//! Where the inputs of a key can be looked up.

use std::collections::BTreeMap;

use dockit_registry::{Access, Reference, Repository};

use super::Sources;
use crate::image_name::ImageName;
use crate::inputs::{Document, InputsStore, fetch};
use crate::key::ImageKey;

/// All documents that can be had: those of keys that were just computed, then those that are kept
/// beside the lockfile, then those in registries. A key has the same inputs wherever they are found.
pub(super) struct Library<'a> {
    sources: Sources<'a>,
    known: BTreeMap<ImageKey, Document>,
    store: Option<InputsStore>,
    /// Images by digest, of which the key is known.
    places: BTreeMap<ImageKey, Reference>,
    /// A repository and the image that lies in it: those of its project that have no other place are
    /// beside it.
    neighbour: Option<(ImageName, Repository)>,
}

impl<'a> Library<'a> {
    pub(super) fn new(sources: Sources<'a>) -> Self {
        let store = sources.project.map(InputsStore::new);
        Self { sources, known: BTreeMap::new(), store, places: BTreeMap::new(), neighbour: None }
    }

    pub(super) fn add(&mut self, document: Document) {
        self.known.insert(document.key(), document);
    }

    /// Remembers which image has a key.
    pub(super) fn place(&mut self, key: ImageKey, image: Reference) {
        self.places.insert(key, image);
    }

    pub(super) fn store(&self) -> Option<&InputsStore> {
        self.store.as_ref()
    }

    /// The document of a key, or why there is none.
    pub(super) async fn find(
        &mut self,
        image: &ImageName,
        key: ImageKey,
    ) -> Result<Document, String> {
        if let Some(document) = self.known.get(&key) {
            return Ok(document.clone());
        }
        let kept = self.store.as_ref().and_then(|store| store.get(&key));
        let document = match kept {
            Some(document) => document,
            None => self.fetch(image, key).await?,
        };
        if let Some(place) = self.places.get(&key) {
            self.neighbour = Some((document.image.clone(), place.repository().clone()));
        }
        self.add(document.clone());
        Ok(document)
    }

    async fn fetch(&self, image: &ImageName, key: ImageKey) -> Result<Document, String> {
        let Some(registry) = self.sources.registry else {
            return Err("its inputs are not kept here, and no registry may be asked".to_owned());
        };
        let place = match self.places.get(&key) {
            Some(place) => place.clone(),
            None => {
                let Some(repository) = self.repository(image) else {
                    return Err("its inputs are not kept here, and it is in no registry".to_owned());
                };
                repository.with_tag(key.tag())
            }
        };
        let digest = match place.digest() {
            Some(digest) => digest.clone(),
            None => match registry.head_manifest(&place, Access::Pull).await {
                Ok(Some(head)) => head.digest,
                Ok(None) => {
                    return Err(format!("its inputs are not kept here, and {place} is absent"));
                }
                Err(error) => return Err(error.to_string()),
            },
        };
        match fetch(registry, place.repository(), &digest, key).await {
            Ok(Some(document)) => Ok(document),
            Ok(None) => Err(format!("its inputs are not kept here, nor published with {place}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Where an image is published, as far as that can be known.
    fn repository(&self, image: &ImageName) -> Option<Repository> {
        if let Some(image) = self.sources.project.and_then(|project| project.images.get(image)) {
            return image.has_registry.then(|| image.repository.clone());
        }
        let (name, repository) = self.neighbour.as_ref()?;
        let prefix = repository.to_string().strip_suffix(name.as_str())?.to_owned();
        format!("{prefix}{image}").parse().ok()
    }
}
