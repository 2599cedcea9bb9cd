//! Images whose keys differ between two states of a project, and why.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{ImageGraph, Node};
use crate::image_name::ImageName;
use crate::inputs::{Change, Document, How, What, changes};
use crate::key::{ImageKey, KeyOptions, Keys, compute_keys};
use crate::lockfile::Lockfile;
use crate::project::Project;

/// An image that is affected by a change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedImage {
    /// The image, as the configuration names it: of one for several platforms the index.
    pub image: ImageName,
    /// Its key before; none where there was no such image, or its key is not known.
    pub from: Option<ImageKey>,
    /// Its key now; none where it is not known.
    pub to: Option<ImageKey>,
    /// Whether there was no such image before.
    pub is_new: bool,
    /// What differs in its own inputs; of several platforms each change once.
    pub changes: Vec<Change>,
    /// Images that it depends on and that are affected themselves.
    pub through: BTreeSet<ImageName>,
    /// Why its keys cannot be compared, where they cannot.
    pub problem: Option<String>,
}

impl AffectedImage {
    /// One of which nothing is known yet.
    pub(crate) fn new(image: ImageName) -> Self {
        Self {
            image,
            from: None,
            to: None,
            is_new: false,
            changes: Vec::new(),
            through: BTreeSet::new(),
            problem: None,
        }
    }

    /// Whether something of its own differs, and not only what it depends on.
    pub fn is_direct(&self) -> bool {
        self.is_new
            || !self.changes.is_empty()
            || (self.through.is_empty() && self.problem.is_some())
    }
}

/// The keys of a state, as far as they are known.
#[derive(Debug, Default)]
pub(crate) struct KeyedState {
    keys: BTreeMap<ImageName, ImageKey>,
    documents: BTreeMap<ImageName, Document>,
    problems: BTreeMap<ImageName, String>,
    names: BTreeSet<ImageName>,
}

impl KeyedState {
    /// Computes the keys of all images. One that has none does not keep the others from theirs.
    pub(crate) fn of(
        project: &Project,
        graph: &ImageGraph,
        lockfile: &Lockfile,
        options: &KeyOptions,
    ) -> Self {
        let names: BTreeSet<ImageName> = graph.order().iter().cloned().collect();
        let mut state = Self { names: names.clone(), ..Self::default() };
        if let Ok(keys) = compute_keys(project, graph, &names, lockfile, options) {
            state.add(project, &keys);
            return state;
        }
        for name in names {
            let only = BTreeSet::from([name.clone()]);
            match compute_keys(project, graph, &only, lockfile, options) {
                Ok(keys) => state.add(project, &keys),
                Err(error) => drop(state.problems.insert(name, error.to_string())),
            }
        }
        state
    }

    /// A state of which no key is known, for this reason.
    pub(crate) fn unknown(project: &Project, problem: &str) -> Self {
        let names: BTreeSet<ImageName> = project.images.keys().cloned().collect();
        let problems = names.iter().map(|name| (name.clone(), problem.to_owned())).collect();
        Self { names, problems, ..Self::default() }
    }

    /// A state in which there is no image.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// Takes the key of an image away, which is not to be believed for this reason.
    pub(crate) fn disbelieve(&mut self, name: &ImageName, problem: String) {
        self.keys.remove(name);
        self.documents.remove(name);
        self.problems.insert(name.clone(), problem);
    }

    /// The images that there are.
    pub(crate) fn names(&self) -> &BTreeSet<ImageName> {
        &self.names
    }

    fn add(&mut self, project: &Project, keys: &Keys) {
        for name in &self.names {
            if let Some(key) = keys.key(name) {
                self.keys.insert(name.clone(), key);
            }
        }
        for (name, keyed) in keys.iter() {
            if !self.documents.contains_key(name) {
                let image = &project.images[name];
                let document = Document::of(project, image, keyed);
                self.documents.insert(name.clone(), document.without_secrets(&image.publish_args));
            }
        }
    }
}

/// What makes an image an affected one.
pub(crate) struct Criteria<'a> {
    /// Whether a change of an image's own inputs counts.
    pub(crate) counts: &'a dyn Fn(&Change) -> bool,
    /// Whether an image counts whose keys cannot be compared.
    pub(crate) unknown: &'a dyn Fn(&Node) -> bool,
}

/// The images of `graph` that are affected by the change from one state to the other, dependencies
/// first.
pub(crate) fn affected(
    graph: &ImageGraph,
    before: &KeyedState,
    now: &KeyedState,
    criteria: &Criteria<'_>,
) -> Vec<AffectedImage> {
    let mut found: BTreeMap<&ImageName, AffectedImage> = BTreeMap::new();
    for node in graph.nodes() {
        let image = node.image();
        let affected = if image.is_index() {
            index(node, &found, before, now)
        } else {
            built(graph, node, &found, before, now, criteria)
        };
        if let Some(affected) = affected {
            found.insert(&image.name, affected);
        }
    }
    let declared = graph.nodes().filter(|node| !node.image().is_part());
    declared.filter_map(|node| found.remove(&node.image().name)).collect()
}

fn built(
    graph: &ImageGraph,
    node: &Node,
    found: &BTreeMap<&ImageName, AffectedImage>,
    before: &KeyedState,
    now: &KeyedState,
    criteria: &Criteria<'_>,
) -> Option<AffectedImage> {
    let name = &node.image().name;
    let mut affected = AffectedImage::new(name.clone());
    (affected.from, affected.to) = (before.keys.get(name).copied(), now.keys.get(name).copied());
    affected.is_new = !before.names.contains(name);
    let mut problem = now.problems.get(name).or_else(|| before.problems.get(name)).cloned();
    if affected.is_new {
        affected.problem = problem;
        return Some(affected);
    }
    let documents = before.documents.get(name).zip(now.documents.get(name));
    if let Some((old, new)) = documents {
        if affected.from == affected.to {
            return None;
        }
        for change in changes(old, new) {
            let depends = change.what == What::Dependency && change.how == How::Changed;
            if !depends {
                if (criteria.counts)(&change) {
                    affected.changes.push(change);
                }
            } else if let Ok(dependency) = change.subject.parse::<ImageName>()
                && found.contains_key(&dependency)
            {
                affected.through.insert(declared(graph, &dependency));
            }
        }
        return (!affected.changes.is_empty() || !affected.through.is_empty()).then_some(affected);
    }
    let dependencies = node.dependencies().into_iter().filter(|name| found.contains_key(name));
    affected.through = dependencies.map(|name| declared(graph, name)).collect();
    if affected.through.is_empty() && !(criteria.unknown)(node) {
        return None;
    }
    affected.problem = problem.take().or_else(|| Some("its key is not known".to_owned()));
    Some(affected)
}

/// An index is what its parts are.
fn index(
    node: &Node,
    found: &BTreeMap<&ImageName, AffectedImage>,
    before: &KeyedState,
    now: &KeyedState,
) -> Option<AffectedImage> {
    let image = node.image();
    let mut affected = AffectedImage::new(image.name.clone());
    affected.from = before.keys.get(&image.name).copied();
    affected.to = now.keys.get(&image.name).copied();
    affected.is_new = !before.names.contains(&image.name);
    let mut any = affected.is_new;
    for part in image.parts() {
        let Some(part) = found.get(&part) else {
            continue;
        };
        any = true;
        for change in &part.changes {
            if !affected.changes.contains(change) {
                affected.changes.push(change.clone());
            }
        }
        affected.through.extend(part.through.iter().cloned());
        affected.problem = affected.problem.or_else(|| part.problem.clone());
    }
    // One that had other platforms before has other parts.
    (any || (affected.from.is_some() && affected.to.is_some() && parts_differ(image, before)))
        .then_some(affected)
}

fn parts_differ(image: &crate::project::Image, before: &KeyedState) -> bool {
    let now: BTreeSet<ImageName> = image.parts().collect();
    let is_part = |name: &&ImageName| {
        name.as_str().strip_prefix(image.name.as_str()).is_some_and(|rest| rest.starts_with('@'))
    };
    let then: BTreeSet<ImageName> = before.names.iter().filter(is_part).cloned().collect();
    now != then
}

/// The name in the configuration.
fn declared(graph: &ImageGraph, name: &ImageName) -> ImageName {
    graph.node(name).map_or(name, |node| node.image().declared_name()).clone()
}
