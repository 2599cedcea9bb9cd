//! Which layers a build may take over: those of earlier images of the same name, and those that a
//! repository of their own keeps (`cache-registry`), by branch.
//!
//! What is not there is no error, and what is there changes no key: a layer is taken over only
//! where the engine computes the same from the same, so this makes builds quicker and nothing else.
//! Images whose keys hide something from the engine ([`KeyInputs::hidden_from_engine`]) use none
//! and keep none.
//!
//! [`KeyInputs::hidden_from_engine`]: crate::key::KeyInputs::hidden_from_engine

use std::collections::BTreeMap;

use dockit_registry::{Platform, Reference, Tag};

use crate::image_name::ImageName;
use crate::lockfile::Lockfile;
use crate::moving_tags::TagFacts;
use crate::project::{Image, Project};
use crate::tag_template::{Placeholder, TagTemplate};

/// By image, where its layers may be found, best first, and where they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheSources {
    images: BTreeMap<ImageName, Vec<Reference>>,
    kept: BTreeMap<ImageName, KeptLayers>,
}

/// Layers in a repository of their own, under the names of branches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptLayers {
    /// Where they may be, best first: the run's branch, then the default one.
    pub from: Vec<Reference>,
    /// Where a run that pushes leaves them; `None`: what its branch is called is not known.
    pub to: Option<Reference>,
}

impl CacheSources {
    /// For all images of a project that have a registry, in a run of which this is known.
    pub fn of(project: &Project, lockfile: &Lockfile, facts: &TagFacts<'_>) -> Self {
        let images =
            || project.images.values().filter(|image| image.has_registry && !image.is_index());
        let sources = images().map(|image| {
            // What a part was before is in what its index was.
            let called = project.images.get(image.declared_name()).unwrap_or(image);
            let previous = lockfile.image(&called.name).map(|locked| &locked.reference);
            let tags = facts.earlier_tags(called, project);
            (image.name.clone(), cache_sources(image, previous, &tags))
        });
        let branches = facts.branches(project);
        let kept = images().filter_map(|image| {
            let kept = kept_layers(image, branches.own.as_deref(), &branches.defaults);
            Some((image.name.clone(), kept?))
        });
        Self {
            images: sources.filter(|(_, sources)| !sources.is_empty()).collect(),
            kept: kept.collect(),
        }
    }

    /// Earlier images of one image.
    pub fn get(&self, image: &ImageName) -> &[Reference] {
        self.images.get(image).map_or(&[], Vec::as_slice)
    }

    /// The layers of one image that are kept, if the project has a place for them.
    pub fn kept(&self, image: &ImageName) -> Option<&KeptLayers> {
        self.kept.get(image)
    }
}

/// Where the layers of one image are kept, for a run on the branch `own` of a project with these
/// default branches.
fn kept_layers(image: &Image, own: Option<&str>, defaults: &[String]) -> Option<KeptLayers> {
    let repository = image.cache_repository.as_ref()?;
    let place = |branch: &str| {
        let tag = branch_tag(branch, &image.platform)?;
        Some(repository.with_tag(tag))
    };
    let to = own.and_then(place);
    let mut from: Vec<Reference> = to.iter().cloned().collect();
    for place in defaults.iter().filter_map(|branch| place(branch)) {
        if !from.contains(&place) {
            from.push(place);
        }
    }
    Some(KeptLayers { from, to })
}

/// A branch as a tag, of each platform another one. `None`: a tag of that form means something
/// else.
fn branch_tag(branch: &str, platform: &Platform) -> Option<Tag> {
    let platform = match platform.to_string() {
        default if default == Platform::linux_amd64().to_string() => String::new(),
        other => format!("-{}", other.replace('/', "-")),
    };
    let template: TagTemplate = format!("{{branch}}{platform}").parse().ok()?;
    template.expand(&BTreeMap::from([(Placeholder::Branch, branch.to_owned())])).ok()
}

/// Where layers of one image may be found: what the lockfile records for its repository, then its
/// moving tags in the order in which they are given.
pub fn cache_sources(image: &Image, previous: Option<&Reference>, tags: &[Tag]) -> Vec<Reference> {
    let recorded = previous.and_then(|reference| {
        // BuildKit believes what an image says its layers were made from, so nobody's word counts
        // but that of whoever may push the image itself.
        let own = *reference.repository() == image.repository;
        own.then(|| Some(image.repository.with_digest(reference.digest()?.clone())))?
    });
    let tagged = tags.iter().map(|tag| image.repository.with_tag(tag.clone()));
    recorded.into_iter().chain(tagged).collect()
}
