//! What would be done for each image, and why. Pure data from pure data: no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dockit_registry::{Digest, Platform, Reference, Tag};

use crate::graph::{ImageGraph, Node};
use crate::image_name::ImageName;
use crate::key::{ImageKey, Keys};
use crate::lookup::{Lookups, Presence, content_reference};
use crate::moving_tags::{HeldTag, MovingTags, WantedTag};
use crate::project::Image;

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
    /// Moving tags that are to be on the image at the end of the run, and may not be there yet.
    pub tags: Vec<WantedTag>,
    /// Moving tags that stay where they are.
    pub held_tags: Vec<HeldTag>,
    /// Whether the content tag moves to what is built, if it is on something.
    pub replace: bool,
}

impl Step {
    /// What the content tag is to be moved away from.
    pub(crate) fn replaces(&self) -> Option<&Digest> {
        self.digest.as_ref().filter(|_| self.replace)
    }
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
    /// Nothing, which is a failure: it is absent, and nothing is to be built.
    Miss,
}

impl Action {
    /// The word for this action in text and JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Reuse => "reuse",
            Self::Retag(_) => "retag",
            Self::Build => "build",
            Self::Skip => "skip",
            Self::Miss => "miss",
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
    /// These, which it depends on, are replaced: its layers are built on the old ones.
    DependencyReplaced(Vec<ImageName>),
    /// What is never pushed is always built.
    PushNever,
    /// Moving tags are missing or elsewhere.
    StaleTags(Vec<Tag>),
    /// Absent, but everything that was asked for is present without it.
    NotNeeded,
    /// An index that is absent, in a run that does not push: nothing but a registry holds one.
    NotPushed,
    /// Absent, and a run for other platforms does not build it.
    OtherPlatform,
    /// Absent, and nothing is to be built.
    Missing(Absence),
}

/// What is known of an image that is absent in a run which builds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Absence {
    /// The registry, or the engine, said so.
    #[default]
    Absent,
    /// It still said so after this time.
    Waited(Duration),
    /// No other run can make it: at the commit that is checked out, the image has another key.
    OnlyHere {
        /// The commit.
        commit: String,
        /// The key there; none if there is no such image.
        key: Option<ImageKey>,
    },
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
            Self::DependencyReplaced(_) => "dependency-replaced",
            Self::PushNever => "push-never",
            Self::StaleTags(_) => "stale-tags",
            Self::NotNeeded => "not-needed",
            Self::NotPushed => "not-pushed",
            Self::OtherPlatform => "other-platform",
            Self::Missing(_) => "missing",
        }
    }

    /// What an image's absence means, as text.
    pub(crate) fn absence(&self, step: &Step) -> String {
        let Step { key, reference, .. } = step;
        match self {
            Self::Missing(Absence::Waited(time)) => {
                format!("after {} s still no image has its key {key} ({reference})", time.as_secs())
            }
            Self::Missing(Absence::OnlyHere { commit, key: there }) => {
                let there = there.map_or("not there".to_owned(), |key| key.to_string());
                format!(
                    "no image has its key {key} ({reference}), and no other run makes one: the work \
                     tree is not as committed, and at {commit} the key is {there}"
                )
            }
            _ => format!("no image has its key {key} ({reference})"),
        }
    }
}

/// What a run is asked to do.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// The images asked for; with an index its parts.
    pub selected: BTreeSet<ImageName>,
    /// Build the selected images even if they are present.
    pub rebuild: bool,
    /// Build these again as well, and move content tags to what is built; those of selected images that
    /// depend on them too.
    pub replace: BTreeSet<ImageName>,
    /// Build the selected images whatever any store holds.
    pub push_never: bool,
    /// Build nothing: what the selected images depend on is not looked at, and what is absent stays so.
    pub no_build: bool,
    /// Whether the run pushes: an index is only put together where it does.
    pub push: bool,
    /// The platforms whose parts of the selected indexes are built; empty: all.
    pub platforms: BTreeSet<Platform>,
    /// Moving tags of the selected images, where the run pushes.
    pub tags: MovingTags,
}

impl PlanOptions {
    /// The images whose presence decides: with [`push_never`](Self::push_never) nobody asks for the
    /// selected ones.
    pub fn to_look_up(&self, graph: &ImageGraph) -> BTreeSet<ImageName> {
        self.nodes(graph)
            .into_iter()
            .map(|node| &node.image().name)
            .filter(|name| !(self.push_never && self.selected.contains(*name)))
            .cloned()
            .collect()
    }

    /// The images of the plan, dependencies first.
    fn nodes<'a>(&self, graph: &'a ImageGraph) -> Vec<&'a Node> {
        let mut nodes = graph.with_dependencies(&self.selected);
        if self.no_build {
            // Where an index has to be there, nobody asks for its parts beside it.
            nodes.retain(|node| {
                let image = node.image();
                let with_index = image.is_part() && self.selected.contains(image.declared_name());
                self.selected.contains(&image.name) && !with_index
            });
        }
        nodes
    }

    /// Whether a part is built for its index.
    fn wants(&self, graph: &ImageGraph, part: &ImageName) -> bool {
        self.platforms.is_empty()
            || graph.node(part).is_none_or(|node| self.platforms.contains(&node.image().platform))
    }
}

impl Plan {
    /// Decides for the selected images and everything they depend on.
    ///
    /// A selected image is built when it is absent. A dependency is built when it is absent and
    /// something that is built needs it; if all that needs it is present, nobody misses it. So it is with
    /// the parts of an index.
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
        let nodes = options.nodes(graph);
        let outdated = graph.with_dependents(&options.replace);
        let mut decided: BTreeMap<&ImageName, (Action, Reason)> = BTreeMap::new();
        let mut needed_by: BTreeMap<&ImageName, BTreeSet<&ImageName>> = BTreeMap::new();
        // From dependents to dependencies, so that whether something needs an image is known.
        for node in nodes.iter().rev() {
            let image = node.image();
            let name = &image.name;
            let selected = options.selected.contains(name);
            let asked = options.rebuild || options.replace.contains(name);
            let (action, mut reason) =
                if image.is_index() && !(image.is_pushed(options.push) || options.no_build) {
                    // Its parts are built as they are.
                    match lookups.get(name) {
                        Some(presence @ Presence::Registry { .. }) => {
                            decide_one(presence, selected, None)
                        }
                        _ => (Action::Skip, Reason::NotPushed),
                    }
                } else if selected && asked && !image.is_index() {
                    (Action::Build, Reason::Rebuild)
                } else if selected && options.push_never {
                    (Action::Build, Reason::PushNever)
                } else {
                    let presence = lookups.get(name).expect("what presence decides was looked up");
                    // An index that is there, or asks for its parts, decides about them.
                    let by_index = image.is_part()
                        && decided.get(image.declared_name()).is_some_and(|(action, _)| {
                            matches!(action, Action::Reuse | Action::Retag(_) | Action::Build)
                        });
                    match decide_one(presence, selected && !by_index, needed_by.get(name)) {
                        (Action::Reuse | Action::Retag(_), _)
                            if selected && outdated.contains(name) =>
                        {
                            (Action::Build, Reason::DependencyReplaced(Vec::new()))
                        }
                        decision => decision,
                    }
                };
            if action == Action::Skip && image.is_part() && !options.wants(graph, name) {
                reason = Reason::OtherPlatform;
            }
            let action = match action {
                Action::Build if options.no_build => {
                    reason = Reason::Missing(Absence::Absent);
                    Action::Miss
                }
                action => action,
            };
            if action == Action::Build {
                let dependencies = node.dependencies().into_iter();
                for dependency in dependencies
                    .filter(|dependency| !image.is_index() || options.wants(graph, dependency))
                {
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
                match &mut reason {
                    Reason::Absent { after } => *after = built_dependencies(node, &building),
                    Reason::DependencyReplaced(replaced) => {
                        *replaced = built_dependencies(node, &building);
                        replaced.retain(|name| outdated.contains(name));
                    }
                    _ => {}
                }
                let mut step = step(node, keys, lookups, options, action, reason);
                step.replace = step.selected && outdated.contains(&step.image);
                step
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
    let key = keys.key(&image.name).expect("every image of the plan has a key");
    let digest = match lookups.get(&image.name) {
        Some(Presence::Registry { digest, .. }) => Some(digest.clone()),
        _ => None,
    };
    let (tags, held_tags) = tags(image, lookups, options, &action);
    Step {
        image: image.name.clone(),
        action,
        reason,
        key,
        reference: content_reference(image, &key),
        digest,
        selected: options.selected.contains(&image.name),
        tags,
        held_tags,
        replace: false,
    }
}

/// What may move at the end: of an image that is there, what is known not to be on it; of one that is
/// built, everything.
fn tags(
    image: &Image,
    lookups: &Lookups,
    options: &PlanOptions,
    action: &Action,
) -> (Vec<WantedTag>, Vec<HeldTag>) {
    let Some(all) = options.tags.get(&image.name) else {
        return Default::default();
    };
    let found = lookups.held(&image.name);
    let held = all.held.iter().chain(found).cloned().collect();
    let moves = |wanted: &&WantedTag| match action {
        Action::Retag(stale) => stale.contains(&wanted.tag),
        Action::Build => found.iter().all(|held| held.tag.as_ref() != Some(&wanted.tag)),
        Action::Reuse | Action::Skip | Action::Miss => false,
    };
    (all.wanted.iter().filter(moves).cloned().collect(), held)
}
