//! Which image depends on which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dockit_hashing::dockerfile::{
    Dockerfile, DockerfileError, ImageUseKind, ResolveOptions, ResolvedDockerfile,
};
use dockit_registry::{Platform, Reference};
use petgraph::graphmap::DiGraphMap;

use crate::config::{Problem, Problems, nearest};
use crate::image_name::ImageName;
use crate::platform_args::platform_args;
use crate::project::{Image, Project};

/// The images of a project, their parsed Dockerfiles, and the edges between them.
///
/// An edge comes from a `FROM`, a `COPY --from`, a `RUN --mount=from=` of a reachable stage, or from
/// `needs`. There is no cycle.
#[derive(Debug)]
pub struct ImageGraph {
    nodes: BTreeMap<ImageName, Node>,
    order: Vec<ImageName>,
}

/// An image, its Dockerfile, and what it is built on.
#[derive(Debug)]
pub struct Node {
    image: Image,
    dockerfile: Dockerfile,
    uses: Vec<Use>,
    edges: Vec<Edge>,
}

/// What an image use of a Dockerfile means. Same order as
/// [`ResolvedDockerfile::image_uses`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Another image of the project.
    Image(ImageName),
    /// An image from elsewhere, for this platform.
    Base(Base),
}

/// An image from elsewhere that a build reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Base {
    /// What the Dockerfile names; with tag `latest` where it names neither tag nor digest.
    pub reference: Reference,
    /// The platform whose manifest is used.
    pub platform: Platform,
    /// Whether it is a `# syntax=` frontend, which runs on the engine's own platform.
    pub frontend: bool,
}

/// An edge to a dependency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The image that is depended on.
    pub dependency: ImageName,
    /// What makes the edge.
    pub kind: EdgeKind,
}

/// What makes an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EdgeKind {
    /// `FROM`.
    From,
    /// `COPY --from` or `ADD --from`.
    CopyFrom,
    /// `RUN --mount=from=`.
    MountFrom,
    /// `needs` in the configuration.
    Needs,
}

impl EdgeKind {
    /// The word for this kind in text and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::CopyFrom => "copy-from",
            Self::MountFrom => "mount-from",
            Self::Needs => "needs",
        }
    }
}

impl Node {
    /// The image as configured.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Edges to dependencies, sorted, each dependency and kind once.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Dependencies by name, each once.
    pub fn dependencies(&self) -> BTreeSet<&ImageName> {
        self.edges.iter().map(|edge| &edge.dependency).collect()
    }

    /// What the Dockerfile's image uses mean, in their order.
    pub fn uses(&self) -> &[Use] {
        &self.uses
    }

    /// Images from elsewhere that the build reads.
    pub fn bases(&self) -> impl Iterator<Item = &Base> {
        self.uses.iter().filter_map(|used| match used {
            Use::Base(base) => Some(base),
            Use::Image(_) => None,
        })
    }

    /// The Dockerfile resolved for this image's target, arguments and platform.
    pub fn resolved(&self) -> ResolvedDockerfile<'_> {
        self.resolved_with(&configured_args(&self.image)).expect(
            "the same Dockerfile was resolved with the same options when the graph was made",
        )
    }
}

impl Node {
    /// Arguments that enter the key, with their values; see [`ResolvedDockerfile::args`].
    ///
    /// Values are computed without the unkeyed arguments, so that none of those gets in through
    /// another one's default.
    pub(crate) fn keyed_args(&self) -> Vec<(String, Option<String>)> {
        let image = &self.image;
        // Where the Dockerfile insists on an unkeyed argument, its value does enter.
        let resolved = self.resolved_with(&image.args).unwrap_or_else(|_| self.resolved());
        let args = resolved.args().iter();
        args.filter(|(name, _)| !image.unkeyed_args.contains_key(name)).cloned().collect()
    }

    /// Arguments to build with, so that the engine computes the very values that were keyed: all
    /// that are configured, and what the platform predefines, lest the engine fill in its own.
    pub(crate) fn build_args(&self) -> BTreeMap<String, String> {
        let resolved = self.resolved();
        let mut args = configured_args(&self.image);
        args.extend(resolved.build_args().iter().cloned());
        for (name, value) in platform_args(&self.image.platform) {
            if args.contains_key(&name) {
                continue;
            }
            // A given value would replace a default of the Dockerfile.
            let mut with = configured_args(&self.image);
            with.insert(name.clone(), value.clone());
            if self.resolved_with(&with).is_ok_and(|with| same_inputs(&with, &resolved)) {
                args.insert(name, value);
            }
        }
        args
    }

    /// Configured arguments that change nothing, because nothing reachable declares them.
    pub(crate) fn undeclared_args(&self) -> Vec<String> {
        let resolved = self.resolved();
        let without_effect = |name: &&str| {
            let mut without = configured_args(&self.image);
            without.remove(*name);
            // A global ARG can work through the one that uses it.
            self.resolved_with(&without).is_ok_and(|without| same_inputs(&without, &resolved))
        };
        resolved.undeclared_args().into_iter().filter(without_effect).map(str::to_owned).collect()
    }

    fn resolved_with(
        &self,
        args: &BTreeMap<String, String>,
    ) -> Result<ResolvedDockerfile<'_>, DockerfileError> {
        resolve(&self.image, &self.dockerfile, args)
    }
}

fn same_inputs(one: &ResolvedDockerfile<'_>, two: &ResolvedDockerfile<'_>) -> bool {
    one.args() == two.args() && one.image_uses() == two.image_uses()
}

/// Keyed and unkeyed ones alike.
fn configured_args(image: &Image) -> BTreeMap<String, String> {
    let mut args = image.args.clone();
    args.extend(image.unkeyed_args.clone());
    args
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
        for image in project.images.values() {
            match read_node(project, image) {
                Ok(node) => {
                    nodes.insert(image.name.clone(), node);
                }
                Err(found) => problems.extend(found),
            }
        }
        let order = match topological_order(&nodes) {
            Ok(order) => order,
            Err(cycle) => {
                problems.push(cycle_problem(project, &nodes, &cycle));
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
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
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

    /// Images that depend directly on this one, by name.
    pub fn dependents(&self, name: &ImageName) -> Vec<&ImageName> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.dependencies().contains(name))
            .map(|(dependent, _)| dependent)
            .collect()
    }

    /// Images of the project for names that a person gave.
    ///
    /// # Errors
    ///
    /// A name that is no image, with the nearest one.
    pub fn select(&self, names: &[String]) -> Result<BTreeSet<ImageName>, UnknownImage> {
        if names.is_empty() {
            return Ok(self.nodes.keys().cloned().collect());
        }
        names
            .iter()
            .map(|name| {
                self.nodes.keys().find(|known| known.as_str() == name).cloned().ok_or_else(|| {
                    UnknownImage {
                        name: name.clone(),
                        nearest: nearest(name, self.nodes.keys().map(ImageName::as_str)),
                    }
                })
            })
            .collect()
    }
}

/// A name that is no image of the project.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no image is called {name:?}")]
pub struct UnknownImage {
    /// What was asked for.
    pub name: String,
    /// The nearest image name.
    pub nearest: Option<String>,
}

fn resolve<'a>(
    image: &Image,
    dockerfile: &'a Dockerfile,
    args: &BTreeMap<String, String>,
) -> Result<ResolvedDockerfile<'a>, DockerfileError> {
    let platform_args = platform_args(&image.platform);
    let target = image.target.as_deref();
    dockerfile.resolve(&ResolveOptions { target, args, platform_args: &platform_args })
}

fn read_node(project: &Project, image: &Image) -> Result<Node, Vec<Problem>> {
    let problem = |file: &Path, line: usize, message: String| {
        vec![Problem { file: file.to_owned(), line, message, suggestion: None }]
    };
    let in_config = |message| problem(&project.config_file, image.line, message);
    let bytes = std::fs::read(&image.dockerfile).map_err(|error| {
        let path = image.dockerfile.display();
        in_config(match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("image {:?}: there is no Dockerfile {path}", image.name.as_str())
            }
            _ => format!("image {:?}: cannot read {path}: {error}", image.name.as_str()),
        })
    })?;
    if !image.context.is_dir() {
        return Err(in_config(format!(
            "image {:?}: there is no build context directory {}",
            image.name.as_str(),
            image.context.display()
        )));
    }
    let in_dockerfile =
        |error: DockerfileError| problem(&image.dockerfile, error.line() as usize, error.message());
    let dockerfile = Dockerfile::parse(&bytes).map_err(in_dockerfile)?;
    let resolved = resolve(image, &dockerfile, &configured_args(image)).map_err(in_dockerfile)?;
    let mut uses = Vec::new();
    let mut edges = BTreeSet::new();
    let mut problems = Vec::new();
    for used in resolved.image_uses() {
        let meaning = meaning(project, image, used.kind, &used.name, used.platform.as_deref());
        match meaning {
            Ok(meaning) => {
                if let Use::Image(dependency) = &meaning {
                    let kind = match used.kind {
                        ImageUseKind::CopyFrom => EdgeKind::CopyFrom,
                        ImageUseKind::MountFrom => EdgeKind::MountFrom,
                        _ => EdgeKind::From,
                    };
                    edges.insert(Edge { dependency: dependency.clone(), kind });
                }
                uses.push(meaning);
            }
            Err(message) => {
                problems.extend(problem(&image.dockerfile, used.line as usize, message));
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    edges.extend(
        image
            .needs
            .iter()
            .map(|dependency| Edge { dependency: dependency.clone(), kind: EdgeKind::Needs }),
    );
    Ok(Node { image: image.clone(), dockerfile, uses, edges: edges.into_iter().collect() })
}

/// What a name in a Dockerfile means.
///
/// A short name means the image of the project that has this name, whatever tag or digest stands
/// beside it; but never the image whose Dockerfile it stands in, so that an image `python` can be
/// built `FROM python:3.12`. A full reference means the image whose repository it is.
fn meaning(
    project: &Project,
    image: &Image,
    kind: ImageUseKind,
    name: &str,
    platform: Option<&str>,
) -> Result<Use, String> {
    let platform = match platform {
        Some(text) => text.parse().map_err(|error| format!("--platform={text}: {error}"))?,
        None => image.platform.clone(),
    };
    let reference: Reference =
        name.parse().map_err(|error| format!("{name:?} is no image reference: {error}"))?;
    let frontend = kind == ImageUseKind::Syntax;
    if !frontend {
        let short = without_tag(name);
        let meant = project.images.values().find(|candidate| {
            let by_name = candidate.name.as_str() == short && candidate.name != image.name;
            let by_repository =
                candidate.has_registry && candidate.repository == *reference.repository();
            by_name || by_repository
        });
        if let Some(meant) = meant {
            if platform != meant.platform {
                return Err(format!(
                    "{name:?} is the image {:?}, which is built for {}, not for {platform}",
                    meant.name.as_str(),
                    meant.platform
                ));
            }
            return Ok(Use::Image(meant.name.clone()));
        }
    }
    Ok(Use::Base(Base { reference: reference.or_latest(), platform, frontend }))
}

/// The name before `@digest` and `:tag`. A colon before the last `/` belongs to a host's port.
fn without_tag(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

/// Kahn's order by depth and name, or a cycle as a path of names that begins and ends alike.
fn topological_order(nodes: &BTreeMap<ImageName, Node>) -> Result<Vec<ImageName>, Vec<ImageName>> {
    let names: Vec<&ImageName> = nodes.keys().collect();
    let index: BTreeMap<&ImageName, usize> =
        names.iter().enumerate().map(|(index, name)| (*name, index)).collect();
    let mut graph: DiGraphMap<usize, ()> = DiGraphMap::new();
    for (name, node) in nodes {
        graph.add_node(index[name]);
        for dependency in node.dependencies() {
            if let Some(dependency) = index.get(dependency) {
                graph.add_edge(*dependency, index[name], ());
            }
        }
    }
    let sorted = match petgraph::algo::toposort(&graph, None) {
        Ok(sorted) => sorted,
        Err(cycle) => return Err(path_around(&graph, cycle.node_id(), &names)),
    };
    let mut depth = vec![0_usize; names.len()];
    for node in &sorted {
        let below = graph.neighbors_directed(*node, petgraph::Direction::Incoming);
        depth[*node] = below.map(|dependency| depth[dependency] + 1).max().unwrap_or(0);
    }
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|node| (depth[*node], *node));
    Ok(order.into_iter().map(|node| names[node].clone()).collect())
}

/// A shortest path from a node that lies on a cycle back to itself, in the direction "needs".
fn path_around(
    graph: &DiGraphMap<usize, ()>,
    start: usize,
    names: &[&ImageName],
) -> Vec<ImageName> {
    let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for dependency in graph.neighbors_directed(node, petgraph::Direction::Incoming) {
            if dependency == start {
                let mut path = vec![start, node];
                let mut at = node;
                while let Some(previous) = came_from.get(&at) {
                    path.push(*previous);
                    at = *previous;
                }
                path.reverse();
                return path.into_iter().map(|node| names[node].clone()).collect();
            }
            if let std::collections::btree_map::Entry::Vacant(entry) = came_from.entry(dependency) {
                entry.insert(node);
                queue.push_back(dependency);
            }
        }
    }
    vec![names[start].clone()]
}

fn cycle_problem(
    project: &Project,
    nodes: &BTreeMap<ImageName, Node>,
    cycle: &[ImageName],
) -> Problem {
    let mut message = String::from("images depend on each other in a cycle: ");
    for (position, name) in cycle.iter().enumerate() {
        if position > 0 {
            let kind = nodes[&cycle[position - 1]]
                .edges
                .iter()
                .find(|edge| edge.dependency == *name)
                .map_or("needs", |edge| edge.kind.as_str());
            message.push_str(&format!(" -{kind}-> "));
        }
        message.push_str(name.as_str());
    }
    let line = cycle.first().map_or(0, |name| nodes[name].image.line);
    Problem { file: project.config_file.clone(), line, message, suggestion: None }
}
