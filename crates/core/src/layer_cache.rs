//! Which images a build may take layers over from: earlier ones of the same image, in its registry.
//!
//! What is not there is no error, and what is there changes no key: a layer is taken over only where
//! the engine computes the same from the same, so this makes builds quicker and nothing else. Images
//! whose keys hide something from the engine ([`KeyInputs::hidden_from_engine`]) use none.
//!
//! [`KeyInputs::hidden_from_engine`]: crate::key::KeyInputs::hidden_from_engine

use std::collections::BTreeMap;

use dockit_registry::{Reference, Tag};

use crate::image_name::ImageName;
use crate::lockfile::Lockfile;
use crate::moving_tags::TagFacts;
use crate::project::{Image, Project};

/// By image, where its layers may be found, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheSources(BTreeMap<ImageName, Vec<Reference>>);

impl CacheSources {
    /// For all images of a project that have a registry, in a run of which this is known.
    pub fn of(project: &Project, lockfile: &Lockfile, facts: &TagFacts<'_>) -> Self {
        let images =
            project.images.values().filter(|image| image.has_registry && !image.is_index());
        let sources = images.map(|image| {
            // What a part was before is in what its index was.
            let called = project.images.get(image.declared_name()).unwrap_or(image);
            let previous = lockfile.image(&called.name).map(|locked| &locked.reference);
            let tags = facts.earlier_tags(called, project);
            (image.name.clone(), cache_sources(image, previous, &tags))
        });
        Self(sources.filter(|(_, sources)| !sources.is_empty()).collect())
    }

    /// For one image.
    pub fn get(&self, image: &ImageName) -> &[Reference] {
        self.0.get(image).map_or(&[], Vec::as_slice)
    }
}

/// Where layers of one image may be found: what the lockfile records for its repository, then its moving tags in the
/// order in which they are given.
pub fn cache_sources(image: &Image, previous: Option<&Reference>, tags: &[Tag]) -> Vec<Reference> {
    let recorded = previous.and_then(|reference| {
        // BuildKit believes what an image says its layers were made from, so nobody's word counts but
        // that of whoever may push the image itself.
        let own = *reference.repository() == image.repository;
        own.then(|| Some(image.repository.with_digest(reference.digest()?.clone())))?
    });
    let tagged = tags.iter().map(|tag| image.repository.with_tag(tag.clone()));
    recorded.into_iter().chain(tagged).collect()
}
