//! One image of the graph: its Dockerfile, and what it is built on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use dockit_hashing::dockerfile::{
    Dockerfile, DockerfileError, ImageUseKind, ResolveOptions, ResolvedDockerfile,
};
use dockit_registry::{Platform, Reference};

use super::meaning::meaning;
use crate::config::Problem;
use crate::image_name::ImageName;
use crate::platform_args::platform_args;
use crate::project::{Image, Project};

/// An image, its Dockerfile, and what it is built on.
#[derive(Debug)]
pub struct Node {
    image: Image,
    dockerfile: Arc<Dockerfile>,
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
    /// From an index to its image for a platform.
    Part,
}

impl EdgeKind {
    /// The word for this kind in text and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::CopyFrom => "copy-from",
            Self::MountFrom => "mount-from",
            Self::Needs => "needs",
            Self::Part => "part",
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

/// A Dockerfile with all that decides its meaning, for a backend that reads it by itself.
#[derive(Clone, Debug)]
pub struct Recipe {
    dockerfile: Arc<Dockerfile>,
    target: Option<String>,
    args: BTreeMap<String, String>,
    platform_args: BTreeMap<String, String>,
}

impl Recipe {
    /// What it means.
    pub fn resolved(&self) -> ResolvedDockerfile<'_> {
        let target = self.target.as_deref();
        let options =
            ResolveOptions { target, args: &self.args, platform_args: &self.platform_args };
        self.dockerfile.resolve(&options).expect(
            "the same Dockerfile was resolved with the same options when the graph was made",
        )
    }
}

impl Node {
    /// The Dockerfile with all that decides its meaning.
    pub fn recipe(&self) -> Recipe {
        let image = &self.image;
        Recipe {
            dockerfile: Arc::clone(&self.dockerfile),
            target: image.target.clone(),
            args: configured_args(image),
            platform_args: platform_args(&image.platform, &image.build_platform),
        }
    }

    /// Arguments that enter the key, with their values; see [`ResolvedDockerfile::args`].
    ///
    /// Values are computed without the unkeyed arguments, so that none of those gets in through
    /// another one's default.
    pub(crate) fn keyed_args(&self) -> Vec<(String, Option<String>)> {
        let resolved = self.keyed();
        let unkeyed = self.image.unkeyed_names();
        let args = resolved.args().iter();
        args.filter(|(name, _)| !unkeyed.contains(name)).cloned().collect()
    }

    /// Every argument that a trigger of a base image may declare, with the value that it then has.
    pub(crate) fn trigger_args(&self) -> Vec<(String, Option<String>)> {
        let resolved = self.keyed();
        let mut args: BTreeMap<&str, &str> = resolved.global_args().collect();
        args.extend(self.image.args.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        for name in self.image.unkeyed_names() {
            args.remove(name.as_str());
        }
        args.into_iter().map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).collect()
    }

    fn keyed(&self) -> ResolvedDockerfile<'_> {
        let image = &self.image;
        // Where an unkeyed argument is insisted on, or chooses a stage or an image, values are those of
        // what is built.
        let built = self.resolved();
        self.resolved_with(&image.args)
            .ok()
            .filter(|keyed| {
                keyed.program() == built.program() && keyed.image_uses() == built.image_uses()
            })
            .unwrap_or(built)
    }

    /// Arguments to build with, so that the engine computes the very values that were keyed: all
    /// that are configured, and what the platform predefines, lest the engine fill in its own.
    pub(crate) fn build_args(&self) -> BTreeMap<String, String> {
        let resolved = self.resolved();
        let mut args = configured_args(&self.image);
        args.extend(resolved.build_args().iter().cloned());
        for (name, value) in platform_args(&self.image.platform, &self.image.build_platform) {
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

    /// The same as a problem of the project.
    pub(crate) fn problem(&self, error: &DockerfileError) -> Problem {
        Problem {
            file: self.image.dockerfile.clone(),
            line: error.line() as usize,
            message: error.message(),
            suggestion: None,
        }
    }

    fn resolved_with(
        &self,
        args: &BTreeMap<String, String>,
    ) -> Result<ResolvedDockerfile<'_>, DockerfileError> {
        resolve(&self.image, &self.dockerfile, args)
    }
}

/// A `BUILD…` argument that the engine would fill in itself: giving it the keyed value would replace
/// another declaration's default.
fn machine_dependent(image: &Image, resolved: &ResolvedDockerfile<'_>) -> Option<String> {
    let configured = configured_args(image);
    platform_args(&image.platform, &image.build_platform)
        .into_iter()
        .filter(|(name, _)| name.starts_with("BUILD") && !configured.contains_key(name))
        .find(|(name, value)| {
            let mut values =
                resolved.args().iter().filter(|(known, _)| known == name).map(|(_, value)| value);
            let given = resolved.build_args().iter().any(|(known, _)| known == name);
            !given
                && values.any(|known| known.as_ref() == Some(value))
                && resolved.args().iter().filter(|(known, _)| known == name).count() > 1
        })
        .map(|(name, _)| name)
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

/// Reads an image's Dockerfile and finds what it is built on.
pub(super) fn read(project: &Project, image: &Image) -> Result<Node, Vec<Problem>> {
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
    if let Some(name) = machine_dependent(image, &resolved) {
        let message = format!(
            "ARG {name} has a default in one place and none in another: without one it would be the \
             building machine's, which no key can cover"
        );
        return Err(problem(&image.dockerfile, 0, message));
    }
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
    let dockerfile = Arc::new(dockerfile);
    Ok(Node { image: image.clone(), dockerfile, uses, edges: edges.into_iter().collect() })
}

/// The node of an index, whose parts are nodes already. It uses nothing but them.
pub(super) fn index(image: &Image, parts: &[&Node]) -> Option<Node> {
    let edges =
        parts.iter().map(|part| Edge { dependency: part.image.name.clone(), kind: EdgeKind::Part });
    Some(Node {
        image: image.clone(),
        dockerfile: parts.first()?.dockerfile.clone(),
        uses: Vec::new(),
        edges: edges.collect(),
    })
}

fn resolve<'a>(
    image: &Image,
    dockerfile: &'a Dockerfile,
    args: &BTreeMap<String, String>,
) -> Result<ResolvedDockerfile<'a>, DockerfileError> {
    let platform_args = platform_args(&image.platform, &image.build_platform);
    let target = image.target.as_deref();
    dockerfile.resolve(&ResolveOptions { target, args, platform_args: &platform_args })
}
