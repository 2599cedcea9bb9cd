//! What would be done for each image, and why. Pure data from pure data: no I/O.

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::{Digest, Reference, Tag};

use crate::graph::{ImageGraph, Node};
use crate::image_name::ImageName;
use crate::key::{ImageKey, Keys};
use crate::lookup::{Lookups, Presence, content_reference};

/// Steps in topological order: every image after all of its dependencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One step for each selected image and each of their dependencies.
    pub steps: Vec<Step>,
}

/// What would be done for one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The image.
    pub image: ImageName,
    /// What is done.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The image's key.
    pub key: ImageKey,
    /// Its reference with the content tag.
    pub reference: Reference,
    /// The manifest's digest, where the registry holds the image.
    pub digest: Option<Digest>,
    /// Whether the image was asked for, and is not only here because others depend on it.
    pub selected: bool,
}

/// What is done for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: it is there.
    Reuse,
    /// It is there, and gets these moving tags.
    Retag(Vec<Tag>),
    /// It is built, and pushed if the run pushes.
    Build,
    /// Nothing: it is absent, and nothing that is built needs it.
    Skip,
}

impl Action {
    /// The word for this action in text and JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Reuse => "reuse",
            Self::Retag(_) => "retag",
            Self::Build => "build",
            Self::Skip => "skip",
        }
    }
}

/// Why an action was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// An image with this key is in the registry.
    Present,
    /// An image with this key is in the engine's store.
    InEngine,
    /// No image has this key.
    Absent {
        /// Dependencies that are absent as well, and are built before.
        after: Vec<ImageName>,
    },
    /// No image has this key, and images that are built need this one.
    NeededBy(Vec<ImageName>),
    /// A rebuild was asked for.
    Rebuild,
    /// What is never pushed is always built.
    PushNever,
    /// Moving tags are missing or elsewhere.
    StaleTags(Vec<Tag>),
    /// Absent, but everything that was asked for is present without it.
    NotNeeded,
}

impl Reason {
    /// The word for this reason in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::InEngine => "in-engine",
            Self::Absent { .. } => "absent",
            Self::NeededBy(_) => "needed-by",
            Self::Rebuild => "rebuild",
            Self::PushNever => "push-never",
            Self::StaleTags(_) => "stale-tags",
            Self::NotNeeded => "not-needed",
        }
    }
}

/// What a run is asked to do.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// The images asked for.
    pub selected: BTreeSet<ImageName>,
    /// Build the selected images even if they are present.
    pub rebuild: bool,
    /// Build the selected images whatever any store holds.
    pub push_never: bool,
}

impl PlanOptions {
    /// The images whose presence decides: with [`push_never`](Self::push_never) nobody asks for the
    /// selected ones.
    pub fn to_look_up(&self, graph: &ImageGraph) -> BTreeSet<ImageName> {
        graph
            .with_dependencies(&self.selected)
            .into_iter()
            .map(|node| &node.image().name)
            .filter(|name| !(self.push_never && self.selected.contains(*name)))
            .cloned()
            .collect()
    }
}

impl Plan {
    /// Decides for the selected images and everything they depend on.
    ///
    /// A selected image is built when it is absent. A dependency is built when it is absent and
    /// something that is built needs it; if all that needs it is present, nobody misses it.
    ///
    /// # Panics
    ///
    /// If `keys` or `lookups` lack an image: they come from the same graph and options.
    pub fn decide(
        graph: &ImageGraph,
        keys: &Keys,
        lookups: &Lookups,
        options: &PlanOptions,
    ) -> Self {
        let nodes = graph.with_dependencies(&options.selected);
        let mut decided: BTreeMap<&ImageName, (Action, Reason)> = BTreeMap::new();
        let mut needed_by: BTreeMap<&ImageName, BTreeSet<&ImageName>> = BTreeMap::new();
        // From dependents to dependencies, so that whether something needs an image is known.
        for node in nodes.iter().rev() {
            let name = &node.image().name;
            let selected = options.selected.contains(name);
            let (action, reason) = if selected && options.rebuild {
                (Action::Build, Reason::Rebuild)
            } else if selected && options.push_never {
                (Action::Build, Reason::PushNever)
            } else {
                let presence = lookups.get(name).expect("what presence decides was looked up");
                decide_one(presence, selected, needed_by.get(name))
            };
            if action == Action::Build {
                for dependency in node.dependencies() {
                    needed_by.entry(dependency).or_default().insert(name);
                }
            }
            decided.insert(name, (action, reason));
        }
        let building: BTreeSet<ImageName> = decided
            .iter()
            .filter(|(_, (action, _))| *action == Action::Build)
            .map(|(name, _)| (*name).clone())
            .collect();
        let steps = nodes
            .into_iter()
            .map(|node| {
                let (action, mut reason) = decided
                    .remove(&node.image().name)
                    .expect("every node was decided in the loop above");
                if let Reason::Absent { after } = &mut reason {
                    *after = built_dependencies(node, &building);
                }
                step(node, keys, lookups, options, action, reason)
            })
            .collect();
        Self { steps }
    }

    /// The step of an image.
    pub fn step(&self, name: &ImageName) -> Option<&Step> {
        self.steps.iter().find(|step| step.image == *name)
    }

    /// Whether anything has to be built.
    pub fn builds(&self) -> bool {
        self.steps.iter().any(|step| step.action == Action::Build)
    }
}

fn decide_one(
    presence: &Presence,
    selected: bool,
    needed_by: Option<&BTreeSet<&ImageName>>,
) -> (Action, Reason) {
    match presence {
        Presence::Registry { stale_tags, .. } if selected && !stale_tags.is_empty() => {
            (Action::Retag(stale_tags.clone()), Reason::StaleTags(stale_tags.clone()))
        }
        Presence::Registry { .. } => (Action::Reuse, Reason::Present),
        Presence::Engine(_) => (Action::Reuse, Reason::InEngine),
        Presence::Absent if selected => (Action::Build, Reason::Absent { after: Vec::new() }),
        Presence::Absent => match needed_by {
            Some(dependents) => {
                let dependents = dependents.iter().map(|name| (*name).clone()).collect();
                (Action::Build, Reason::NeededBy(dependents))
            }
            None => (Action::Skip, Reason::NotNeeded),
        },
    }
}

fn built_dependencies(node: &Node, building: &BTreeSet<ImageName>) -> Vec<ImageName> {
    node.dependencies().into_iter().filter(|name| building.contains(*name)).cloned().collect()
}

fn step(
    node: &Node,
    keys: &Keys,
    lookups: &Lookups,
    options: &PlanOptions,
    action: Action,
    reason: Reason,
) -> Step {
    let image = node.image();
    let key = keys.get(&image.name).expect("every image of the plan has a key").key;
    let digest = match lookups.get(&image.name) {
        Some(Presence::Registry { digest, .. }) => Some(digest.clone()),
        _ => None,
    };
    Step {
        image: image.name.clone(),
        action,
        reason,
        key,
        reference: content_reference(image, &key),
        digest,
        selected: options.selected.contains(&image.name),
    }
}
