//! Which image depends on which.

mod meaning;
mod node;
mod order;

use std::collections::{BTreeMap, BTreeSet};

pub use crate::selection::{UnknownImage, UnknownKind};
pub use node::{Base, Edge, EdgeKind, Node, Recipe, Use};

use crate::config::Problems;
use crate::image_name::ImageName;
use crate::project::Project;

/// The images of a project, their parsed Dockerfiles, and the edges between them.
///
/// An edge comes from a `FROM`, a `COPY --from`, a `RUN --mount=from=` of a reachable stage, or from
/// `needs`. There is no cycle.
#[derive(Debug)]
pub struct ImageGraph {
    nodes: BTreeMap<ImageName, Node>,
    order: Vec<ImageName>,
}

impl ImageGraph {
    /// Reads the Dockerfiles of a project and finds the edges.
    ///
    /// # Errors
    ///
    /// All of: Dockerfiles and build contexts that are not there, Dockerfiles that do not parse,
    /// references that are none, cycles.
    pub fn new(project: &Project) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut nodes = BTreeMap::new();
        for image in project.images.values().filter(|image| !image.is_index()) {
            match node::read(project, image) {
                Ok(node) => {
                    nodes.insert(image.name.clone(), node);
                }
                Err(found) => problems.extend(found),
            }
        }
        for image in project.images.values().filter(|image| image.is_index()) {
            let parts: Vec<&Node> = image.parts().filter_map(|part| nodes.get(&part)).collect();
            // Where parts are missing, that is told already.
            if let Some(node) = node::index(image, &parts) {
                nodes.insert(image.name.clone(), node);
            }
        }
        let order = match order::topological_order(&nodes) {
            Ok(order) => order,
            Err(cycle) => {
                problems.push(order::cycle_problem(project, &nodes, &cycle));
                Vec::new()
            }
        };
        Problems::check(problems, Self { nodes, order })
    }

    /// Every image after all of its dependencies; images of equal depth by name.
    pub fn order(&self) -> &[ImageName] {
        &self.order
    }

    /// The image of this name.
    pub fn node(&self, name: &ImageName) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Nodes in topological order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> + Clone {
        self.order.iter().map(|name| &self.nodes[name])
    }

    /// `names` and everything they depend on, in topological order.
    pub fn with_dependencies(&self, names: &BTreeSet<ImageName>) -> Vec<&Node> {
        let mut wanted: BTreeSet<&ImageName> = BTreeSet::new();
        for name in self.order.iter().rev() {
            if names.contains(name) || wanted.contains(name) {
                wanted.insert(name);
                wanted.extend(self.nodes[name].dependencies());
            }
        }
        self.order
            .iter()
            .filter(|name| wanted.contains(name))
            .map(|name| &self.nodes[name])
            .collect()
    }

    /// `names` and everything that depends on them, directly or through others.
    pub fn with_dependents(&self, names: &BTreeSet<ImageName>) -> BTreeSet<ImageName> {
        let mut wanted = names.clone();
        for name in &self.order {
            if self.nodes[name].dependencies().iter().any(|needed| wanted.contains(*needed)) {
                wanted.insert(name.clone());
            }
        }
        wanted
    }

    /// Images that depend directly on this one, by name.
    pub fn dependents(&self, name: &ImageName) -> Vec<&ImageName> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.dependencies().contains(name))
            .map(|(dependent, _)| dependent)
            .collect()
    }
}
