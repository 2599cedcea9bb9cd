//! What a Dockerfile means for one target, one set of arguments and one platform.

use std::collections::{BTreeMap, BTreeSet};

use super::Dockerfile;
use super::arguments::{Collector, GlobalScope, ReachingArguments, platform_scope};
use super::directives::Frontend;
use super::environment::Environment;
use super::error::{DockerfileError, DockerfileErrorKind};
use super::flags::Mention;
use super::graph::{Candidate, candidates, reachable, refuse_trigger_from_image};
use super::instruction::{Arguments, Instruction};
use super::program::{self, Program};
use super::rewrite;
use super::sources::{Bases, named_sources};
use super::stages::Target;

/// What decides the meaning of a Dockerfile besides its text.
#[derive(Clone, Copy, Debug)]
pub struct ResolveOptions<'a> {
    /// Name of the stage to build, in any case; the last stage without it. A number is a name.
    pub target: Option<&'a str>,
    /// Build arguments by name, keyed and unkeyed alike.
    pub args: &'a BTreeMap<String, String>,
    /// `TARGETPLATFORM`, `TARGETOS`, `BUILDPLATFORM` and so on, as the caller defines them.
    /// `TARGETSTAGE` is set here: the target as given, else the last stage's name, else `default`.
    pub platform_args: &'a BTreeMap<String, String>,
}

/// A Dockerfile for one target, one set of arguments and one platform.
///
/// Only stages that the target needs count: by `FROM`, `COPY --from`, `RUN --mount=from=` and the
/// `ONBUILD` triggers of the stages that they are based on.
#[derive(Clone, Debug)]
pub struct ResolvedDockerfile<'a> {
    dockerfile: &'a Dockerfile,
    stages: Vec<ResolvedStage<'a>>,
    uses: Vec<ImageUse>,
    /// Where the uses stand, in the same order.
    mentions: Vec<Mention>,
    arguments: ReachingArguments,
    globals: GlobalScope,
    given: BTreeMap<String, String>,
    /// Those of them that decide nothing here.
    hidden: BTreeSet<String>,
}

/// One mention of an image that the Dockerfile does not itself build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUse {
    /// The 1-based line of the mention.
    pub line: u32,
    /// What kind of mention it is.
    pub kind: ImageUseKind,
    /// The name with every variable expanded.
    pub name: String,
    /// `--platform` of the `FROM`, expanded; `None` is the build's platform.
    pub platform: Option<String>,
}

/// The places where a Dockerfile mentions an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ImageUseKind {
    /// `# syntax=`: the frontend that reads the Dockerfile.
    Syntax,
    /// `FROM`.
    From,
    /// `COPY --from=`.
    CopyFrom,
    /// `RUN --mount=from=`.
    MountFrom,
}

impl<'a> ResolvedDockerfile<'a> {
    /// The images that the reachable stages use, in the order of the file; a frontend comes first.
    ///
    /// Each mention counts, so that a name may come several times. `scratch` is no image.
    pub fn image_uses(&self) -> &[ImageUse] {
        &self.uses
    }

    /// The arguments that can reach the build, with their effective values, sorted by name.
    ///
    /// These are the arguments that an `ARG` of a reachable stage declares or that a reachable
    /// `FROM` expands; and, where given, those that the builder obeys without declaration
    /// (`SOURCE_DATE_EPOCH`, `BUILDKIT_*`). `None` is an argument without value, or with a default
    /// that the environment of a base image decides: the program and the base then decide it.
    ///
    /// A name is there once if all its declarations have the same value, else once for each
    /// declaration, in the order of the file.
    ///
    /// These are values to key, not to hand to a builder: see
    /// [`build_args`](Self::build_args).
    pub fn args(&self) -> &[(String, Option<String>)] {
        &self.arguments.args
    }

    /// What to hand to a builder so that it computes the values in [`args`](Self::args), sorted by
    /// name.
    ///
    /// Given arguments that reach the build; given proxy arguments, which `RUN` sees without
    /// declaration; and what the caller says of the platform, where an `ARG` asks for it and no
    /// declaration of the same name has another value. Defaults are left to the builder: one given
    /// value would replace the defaults of all stages.
    pub fn build_args(&self) -> &[(String, String)] {
        &self.arguments.passed
    }

    /// Given arguments that have no effect, by name. Proxy arguments always have one.
    pub fn undeclared_args(&self) -> Vec<&str> {
        self.arguments.undeclared.iter().map(String::as_str).collect()
    }

    /// What the reachable stages execute.
    ///
    /// Argument values and the names of images are not in it: [`args`](Self::args) and
    /// [`image_uses`](Self::image_uses) belong beside it in a key.
    pub fn program(&self) -> Program {
        program::program(self)
    }

    /// The Dockerfile with the mention of each image use replaced by what `name` returns for its
    /// position in [`image_uses`](Self::image_uses); `None` leaves it.
    ///
    /// All other bytes stay as they are. Names must be plain references: blanks, quotes, commas,
    /// `$` and escape tokens in them would change the instruction.
    pub fn rewrite(&self, name: &mut dyn FnMut(usize, &ImageUse) -> Option<String>) -> Vec<u8> {
        rewrite::rewrite(self.dockerfile.source(), &self.uses, &self.mentions, name)
    }

    /// The Dockerfile's bytes.
    pub fn source(&self) -> &'a [u8] {
        self.dockerfile.source()
    }

    /// Whether the target's image has `ONBUILD` triggers, which run in builds on top of it.
    pub fn has_triggers(&self) -> bool {
        // What the target needs stands before it in the file.
        self.stages.last().is_some_and(|stage| {
            stage
                .instructions
                .iter()
                .any(|instruction| matches!(instruction.arguments, Arguments::Trigger(_)))
        })
    }

    /// The 1-based line of a reachable stage's `FROM`, by its position among them.
    pub fn stage_line(&self, position: usize) -> Option<u32> {
        self.stages.get(position).map(|stage| stage.line)
    }

    pub(super) fn stages(&self) -> &[ResolvedStage<'a>] {
        &self.stages
    }

    /// What an `ARG` without default finds where it gives no value itself, sorted by name: arguments
    /// that are declared before the first `FROM`, and those that are predefined. An `ONBUILD` of a base
    /// image may declare any of them.
    pub fn global_args(&self) -> impl Iterator<Item = (&str, &str)> {
        self.globals.values().iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Takes given arguments for not known where it is asked what is [read](Self::context_inputs) and
    /// what the image's [configuration](Self::image_config) is: those that no key tells apart, so that
    /// another build may have had other values.
    #[must_use]
    pub fn hide(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.hidden.extend(names);
        self
    }

    pub(super) fn hidden(&self) -> &BTreeSet<String> {
        &self.hidden
    }

    pub(super) fn globals(&self) -> &GlobalScope {
        &self.globals
    }

    /// Arguments as they were given.
    pub(super) fn given(&self) -> &BTreeMap<String, String> {
        &self.given
    }

    pub(super) fn escape(&self) -> char {
        self.dockerfile.stages.escape
    }

    pub(super) fn frontend(&self) -> Option<&Frontend> {
        self.dockerfile.frontend.as_ref()
    }
}

/// A reachable stage.
#[derive(Clone, Debug)]
pub(super) struct ResolvedStage<'a> {
    /// Position in the file.
    pub(super) index: usize,
    /// Of its `FROM`.
    pub(super) line: u32,
    pub(super) name: Option<String>,
    pub(super) base: Reference,
    /// Expanded.
    pub(super) platform: Option<String>,
    /// What the base stage's `ONBUILD` instructions run first.
    pub(super) triggers: Vec<&'a Instruction>,
    pub(super) instructions: Vec<&'a Instruction>,
    /// One for each `--from` and each `--mount`, in order.
    pub(super) references: Vec<Reference>,
}

/// What a `FROM`, a `--from` or a mount means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    Scratch,
    /// By position in the file.
    Stage(usize),
    /// By position among the image uses.
    Image(usize),
}

pub(super) fn resolve<'a>(
    dockerfile: &'a Dockerfile,
    options: &ResolveOptions<'_>,
) -> Result<ResolvedDockerfile<'a>, DockerfileError> {
    if let Some(frontend) = dockerfile.frontend.as_ref().filter(|frontend| !frontend.is_known()) {
        return Err(frontend.unknown());
    }
    if options.args.contains_key("BUILDKIT_SYNTAX") {
        let message = "the argument BUILDKIT_SYNTAX is not supported: use # syntax=".to_owned();
        return Err(DockerfileError::new(1, DockerfileErrorKind::Unsupported(message)));
    }
    let stages = &dockerfile.stages;
    let target = stages.target(options.target)?;
    let platform = platform_scope(stages, options);
    let globals = GlobalScope::new(stages, &platform, options.args)?;
    let candidates = candidates(stages, &globals)?;
    let reachable = reachable(&candidates, target)?;

    let mut images = Images::default();
    if let Some(frontend) = &dockerfile.frontend {
        let Frontend { reference, span, .. } = frontend.clone();
        let mention = Mention { name: reference, span, quotes: String::new() };
        images.add(dockerfile.source(), ImageUseKind::Syntax, mention, None, None);
    }
    let mut collector = Collector::new(&globals, options.args);
    let mut environments: BTreeMap<usize, Environment> = BTreeMap::new();
    let mut resolved = Vec::with_capacity(reachable.len());
    for index in reachable {
        let candidate = &candidates[index];
        let mut environment = match candidate.base {
            Target::Scratch => Environment::default(),
            Target::Stage(base) => environments[&base].inherit(),
            Target::Image => Environment::of_image(),
        };
        collector.use_globals(&candidate.arguments);
        for instruction in candidate.instructions() {
            refuse_trigger_from_image(stages, instruction, index == target)?;
            collector.follow(instruction, &mut environment)?;
            named_sources(instruction, &environment, Bases::NotYet)?;
            if let Arguments::Trigger(trigger) = &instruction.arguments {
                // It runs elsewhere, with variables that are not known here.
                named_sources(trigger, &Environment::of_image(), Bases::NotYet)?;
            }
        }
        environments.insert(index, environment);
        resolved.push(resolve_stage(candidate, index, dockerfile.source(), &mut images));
    }
    let Images { uses, mentions } = images;
    let arguments = collector.finish(&platform);
    Ok(ResolvedDockerfile {
        dockerfile,
        stages: resolved,
        uses,
        mentions,
        arguments,
        globals,
        given: options.args.clone(),
        hidden: BTreeSet::new(),
    })
}

fn resolve_stage<'a>(
    candidate: &Candidate<'a>,
    index: usize,
    source: &[u8],
    images: &mut Images,
) -> ResolvedStage<'a> {
    let base = match candidate.base {
        Target::Scratch => Reference::Scratch,
        Target::Stage(base) => Reference::Stage(base),
        Target::Image => {
            let mention = candidate.stage.from.base.clone();
            let name = Some(candidate.base_name.clone());
            let platform = candidate.platform.clone();
            images.add(source, ImageUseKind::From, mention, name, platform)
        }
    };
    let references = candidate
        .sources
        .iter()
        .map(|found| match (found.target, found.mention) {
            (Target::Stage(stage), _) => Reference::Stage(stage),
            (Target::Image, Some(mention)) => {
                images.add(source, found.kind, mention.clone(), None, None)
            }
            (Target::Scratch | Target::Image, _) => Reference::Scratch,
        })
        .collect();
    ResolvedStage {
        index,
        line: candidate.stage.from.line,
        name: candidate.stage.from.name.clone(),
        base,
        platform: candidate.platform.clone(),
        triggers: candidate.triggers.clone(),
        instructions: candidate.stage.instructions.iter().collect(),
        references,
    }
}

#[derive(Default)]
struct Images {
    uses: Vec<ImageUse>,
    mentions: Vec<Mention>,
}

impl Images {
    /// `name` is the expanded name, where it may differ from the mention.
    fn add(
        &mut self,
        source: &[u8],
        kind: ImageUseKind,
        mention: Mention,
        name: Option<String>,
        platform: Option<String>,
    ) -> Reference {
        let feeds = source[..mention.span.start].iter().filter(|byte| **byte == b'\n').count();
        let line = u32::try_from(feeds + 1).unwrap_or(u32::MAX);
        let name = name.unwrap_or_else(|| mention.name.clone());
        self.uses.push(ImageUse { line, kind, name, platform });
        self.mentions.push(mention);
        Reference::Image(self.uses.len() - 1)
    }
}
