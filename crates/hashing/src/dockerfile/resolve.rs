//! What text and build arguments decide about a build.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Dockerfile;
use super::error::DockerfileError;
use super::expand::{expand, variables};
use super::instruction::{Instruction, end_of_word};
use super::program::Program;
use super::sources;
use super::stages::{self, Meaning, Stage, mount_options};

/// Arguments that BuildKit takes without a declaration, and that never change what is built.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// What a Dockerfile is resolved for.
#[derive(Clone, Copy, Debug)]
pub struct ResolveOptions<'a> {
    /// The stage to build, by name in any case; `None`: the last one.
    pub target: Option<&'a str>,
    /// Build arguments.
    pub args: &'a BTreeMap<String, String>,
    /// `TARGETPLATFORM`, `TARGETOS`, `TARGETARCH`, `TARGETVARIANT` and their `BUILD` siblings.
    pub platform_args: &'a BTreeMap<String, String>,
}

/// A Dockerfile seen from one target, with its arguments filled in.
#[derive(Clone, Debug)]
pub struct ResolvedDockerfile<'a> {
    dockerfile: &'a Dockerfile,
    uses: Vec<ImageUse>,
    /// Where each image use stands in the source.
    places: Vec<Range<usize>>,
    args: Vec<(String, Option<String>)>,
    undeclared: Vec<String>,
    program: Program,
    reads_root: bool,
    root_patterns: Vec<String>,
}

/// A mention of an image that the Dockerfile does not itself build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUse {
    /// The line on which the instruction begins, counted from 1.
    pub line: u32,
    /// Where it is mentioned.
    pub kind: ImageUseKind,
    /// The image's name, variables expanded.
    pub name: String,
    /// `--platform` of the `FROM`, variables expanded; `None`: the build's platform.
    pub platform: Option<String>,
}

/// Where an image is mentioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageUseKind {
    /// `# syntax=`: the frontend that reads the Dockerfile.
    Syntax,
    /// `FROM`.
    From,
    /// `COPY --from`.
    CopyFrom,
    /// `RUN --mount=from=`.
    MountFrom,
}

impl<'a> ResolvedDockerfile<'a> {
    /// Images that the reachable stages use, in the order of the text; a `# syntax=` comes first.
    pub fn image_uses(&self) -> &[ImageUse] {
        &self.uses
    }

    /// Arguments that reach the build: those that reachable stages declare, those that reachable
    /// `FROM`s use, and those that BuildKit itself acts on. Sorted by name; an argument with several
    /// declarations of different values has one entry for each. `None` is declared without a value.
    pub fn args(&self) -> &[(String, Option<String>)] {
        &self.args
    }

    /// Names of given arguments that have no effect, because nothing reachable declares them.
    pub fn undeclared_args(&self) -> Vec<&str> {
        self.undeclared.iter().map(String::as_str).collect()
    }

    /// The reachable instructions in the encoding that `docs/key-format.md` describes. What changes
    /// nothing is not in it: comments, blank lines, line ends, the case of keywords, names of stages.
    pub fn program(&self) -> Vec<u8> {
        self.program.encode()
    }

    /// The Dockerfile's bytes.
    pub fn source(&self) -> &'a [u8] {
        self.dockerfile.source()
    }

    /// Whether a reachable instruction may read a file of this name in the context's root. Without
    /// variables' values from base images, `true` where it cannot be known.
    pub fn may_read_root_file(&self, name: &[u8]) -> bool {
        self.reads_root
            || self.root_patterns.iter().any(|pattern| sources::may_match(pattern, name))
    }

    /// Whether the target's image has `ONBUILD` instructions, which run in builds on top of it.
    pub fn has_triggers(&self) -> bool {
        self.dockerfile
            .stages
            .iter()
            .flat_map(|stage| &stage.instructions)
            .any(|instruction| instruction.onbuild.is_some())
    }

    /// The Dockerfile's bytes, with each image use replaced by what `name` returns for its index;
    /// everything else byte for byte.
    pub fn rewrite(&self, name: &mut dyn FnMut(usize, &ImageUse) -> Option<String>) -> Vec<u8> {
        let mut edits: Vec<(&Range<usize>, String)> = self
            .uses
            .iter()
            .zip(&self.places)
            .enumerate()
            .filter_map(|(index, (used, place))| Some((place, name(index, used)?)))
            .collect();
        edits.sort_by_key(|(place, _)| place.start);
        let source = self.dockerfile.source();
        let mut rewritten = Vec::with_capacity(source.len());
        let mut at = 0;
        for (place, text) in edits {
            rewritten.extend_from_slice(&source[at..place.start]);
            rewritten.extend_from_slice(text.as_bytes());
            at = place.end;
        }
        rewritten.extend_from_slice(&source[at..]);
        rewritten
    }
}

impl Dockerfile {
    /// Resolves the Dockerfile for a target and its arguments.
    ///
    /// # Errors
    ///
    /// An unknown target, a `FROM` that expands to nothing, a substitution that is wrong, a frontend
    /// that is not `docker/dockerfile`, an `ONBUILD` that names an image.
    pub fn resolve(
        &self,
        options: &ResolveOptions<'_>,
    ) -> Result<ResolvedDockerfile<'_>, DockerfileError> {
        let mut resolver = Resolver::new(self, options)?;
        resolver.frontend()?;
        for index in resolver.reachable.clone() {
            resolver.stage(index)?;
        }
        Ok(resolver.finish())
    }
}

struct Resolver<'a, 'o> {
    dockerfile: &'a Dockerfile,
    options: &'o ResolveOptions<'o>,
    escape: char,
    /// Values of global arguments, and of those that the platform predefines.
    global: BTreeMap<String, String>,
    /// Names of declared global arguments.
    declared_global: BTreeSet<String>,
    reachable: Vec<usize>,
    uses: Vec<ImageUse>,
    places: Vec<Range<usize>>,
    args: BTreeMap<String, Vec<Option<String>>>,
    program: Program,
    reads_root: bool,
    root_patterns: Vec<String>,
}

impl<'a, 'o> Resolver<'a, 'o> {
    fn new(
        dockerfile: &'a Dockerfile,
        options: &'o ResolveOptions<'o>,
    ) -> Result<Self, DockerfileError> {
        let first_line = dockerfile.stages.first().map_or(1, |stage| stage.from.line);
        let target = stages::target(&dockerfile.stages, options.target)
            .map_err(|message| DockerfileError::new(first_line, message))?;
        if options.args.contains_key("BUILDKIT_SYNTAX") {
            let message = "BUILDKIT_SYNTAX is not supported: write a `# syntax=` line";
            return Err(DockerfileError::new(first_line, message));
        }
        let mut global = options.platform_args.clone();
        let stage_name = dockerfile.stages[target].name.clone();
        global.insert("TARGETSTAGE".to_owned(), stage_name.unwrap_or("default".to_owned()));
        let mut resolver = Self {
            dockerfile,
            options,
            escape: dockerfile.directives.escape,
            global,
            declared_global: BTreeSet::new(),
            reachable: Vec::new(),
            uses: Vec::new(),
            places: Vec::new(),
            args: BTreeMap::new(),
            program: Program::default(),
            reads_root: false,
            root_patterns: Vec::new(),
        };
        resolver.global_args()?;
        resolver.reachable = resolver.reach(target)?;
        for (name, value) in options.args {
            if name == "SOURCE_DATE_EPOCH" || name.starts_with("BUILDKIT_") {
                resolver.note(name, Some(value.clone()));
            }
        }
        Ok(resolver)
    }

    fn global_args(&mut self) -> Result<(), DockerfileError> {
        for instruction in &self.dockerfile.global {
            for (name, default) in declarations(instruction, self.escape)? {
                let value = match (self.options.args.get(&name), default) {
                    (Some(value), _) => Some(value.clone()),
                    (None, Some(default)) => Some(self.expand_global(&default, instruction.line)?),
                    (None, None) => self.global.get(&name).cloned(),
                };
                if let Some(value) = value {
                    self.global.insert(name.clone(), value);
                }
                self.declared_global.insert(name);
            }
        }
        Ok(())
    }

    fn expand_global(&self, word: &str, line: u32) -> Result<String, DockerfileError> {
        expand(word, self.escape, &|name| self.global.get(name).cloned())
            .map_err(|message| DockerfileError::new(line, message))
    }

    /// The stages that a target needs, in the order of the text.
    fn reach(&self, target: usize) -> Result<Vec<usize>, DockerfileError> {
        let stages = &self.dockerfile.stages;
        let mut reached = BTreeSet::new();
        let mut pending = vec![target];
        while let Some(index) = pending.pop() {
            if !reached.insert(index) {
                continue;
            }
            let stage = &stages[index];
            let base = self.base_name(stage)?;
            if let Meaning::Stage(base) = stages::base(stages, index, &base) {
                pending.push(base);
            }
            for instruction in &stage.instructions {
                for (_, _, meaning) in self.mentions(index, instruction)? {
                    if let Meaning::Stage(source) = meaning {
                        pending.push(source);
                    }
                }
            }
        }
        Ok(reached.into_iter().collect())
    }

    fn base_name(&self, stage: &Stage) -> Result<String, DockerfileError> {
        let written = &stage.base.text;
        let name = self.expand_global(written, stage.from.line)?;
        if name.is_empty() {
            let unset: Vec<String> = variables(written, self.escape)
                .into_iter()
                .filter(|name| self.global.get(name).is_none_or(String::is_empty))
                .map(|name| format!("${name}"))
                .collect();
            let message = format!(
                "FROM {written} names no image: {} has no value (an ARG before the first FROM gives \
                 it one)",
                unset.join(", ")
            );
            return Err(DockerfileError::new(stage.from.line, message));
        }
        Ok(name)
    }

    /// Each `--from` and `from=` of an instruction: kind, text, meaning.
    fn mentions(
        &self,
        at: usize,
        instruction: &Instruction,
    ) -> Result<Vec<(ImageUseKind, super::instruction::Text, Meaning)>, DockerfileError> {
        let stages = &self.dockerfile.stages;
        let error = |message: String| DockerfileError::new(instruction.line, message);
        if let Some(inner) = &instruction.onbuild {
            let from_mount = |flag: &super::instruction::Flag| {
                flag.name == "mount"
                    && mount_options(flag).iter().any(|option| option.key == "from")
            };
            if inner.flag("from").is_some() || inner.flags.iter().any(from_mount) {
                return Err(error("ONBUILD with --from is not supported".to_owned()));
            }
            return Ok(Vec::new());
        }
        let mut mentions = Vec::new();
        for flag in &instruction.flags {
            if instruction.keyword == "copy" && flag.name == "from" {
                let name = flag.value.clone().unwrap_or_default();
                no_variables("--from", &name).map_err(error)?;
                let meaning = stages::copy_source(stages, at, &name).map_err(error)?;
                mentions.push((ImageUseKind::CopyFrom, flag.raw.clone(), meaning));
            }
            if instruction.keyword == "run" && flag.name == "mount" {
                for option in mount_options(flag) {
                    let Some(value) = option.value.filter(|_| option.key == "from") else {
                        continue;
                    };
                    no_variables("--mount from", &value.text).map_err(error)?;
                    let meaning = stages::mount_source(stages, at, &value.text);
                    mentions.push((ImageUseKind::MountFrom, value, meaning));
                }
            }
        }
        Ok(mentions)
    }

    fn frontend(&mut self) -> Result<(), DockerfileError> {
        let Some((name, place, line)) = self.dockerfile.directives.syntax.clone() else {
            return Ok(());
        };
        let image = name.split_whitespace().next().unwrap_or_default().to_owned();
        let repository = image.split('@').next().unwrap_or_default();
        let repository = repository
            .rsplit_once(':')
            .map_or(repository, |(name, tag)| if tag.contains('/') { repository } else { name });
        let known = ["docker/dockerfile", "docker/dockerfile-upstream"];
        if !known.contains(&repository.strip_prefix("docker.io/").unwrap_or(repository)) {
            let message =
                format!("the frontend {image:?} is not supported: what it reads is unknown");
            return Err(DockerfileError::new(line, message));
        }
        let place = place.start..place.start + image.len();
        self.mention(line, ImageUseKind::Syntax, image, None, place);
        Ok(())
    }

    fn mention(
        &mut self,
        line: u32,
        kind: ImageUseKind,
        name: String,
        platform: Option<String>,
        place: Range<usize>,
    ) -> usize {
        self.uses.push(ImageUse { line, kind, name, platform });
        self.places.push(place);
        self.uses.len() - 1
    }

    fn note(&mut self, name: &str, value: Option<String>) {
        let values = self.args.entry(name.to_owned()).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }

    fn stage(&mut self, index: usize) -> Result<(), DockerfileError> {
        let stage = &self.dockerfile.stages[index];
        let line = stage.from.line;
        let platform = match stage.from.flag("platform") {
            Some(flag) => {
                self.note_global(&flag.raw.text);
                Some(self.expand_global(&flag.raw.text, line)?).filter(|text| !text.is_empty())
            }
            None => None,
        };
        let name = self.base_name(stage)?;
        self.note_global(&stage.base.text);
        let base = match stages::base(&self.dockerfile.stages, index, &name) {
            Meaning::Image => {
                let place = stage.base.span();
                let used = self.mention(line, ImageUseKind::From, name, platform.clone(), place);
                self.program.image(used)
            }
            Meaning::Stage(base) => self.program.stage(self.position(base)),
            Meaning::Scratch => self.program.scratch(),
        };
        self.program.begin_stage(base, platform.as_deref());
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        for instruction in &stage.instructions {
            match instruction.keyword.as_str() {
                "arg" => self.stage_args(instruction, &mut env)?,
                "env" => environment(instruction, self.escape, &mut env)?,
                _ => {}
            }
            self.context_sources(instruction, &env);
            let mut sources = Vec::new();
            for (kind, text, meaning) in self.mentions(index, instruction)? {
                sources.push(match meaning {
                    Meaning::Stage(source) => self.program.stage(self.position(source)),
                    Meaning::Scratch => self.program.scratch(),
                    Meaning::Image => {
                        let name = super::instruction::unquote(&text.text, self.escape);
                        let used = self.mention(instruction.line, kind, name, None, text.span());
                        self.program.image(used)
                    }
                });
            }
            self.program.instruction(instruction, &sources);
        }
        Ok(())
    }

    /// The place of a reachable stage among the reachable ones.
    fn position(&self, stage: usize) -> usize {
        self.reachable.binary_search(&stage).expect("what a reachable stage refers to is reachable")
    }

    fn note_global(&mut self, word: &str) {
        for name in variables(word, self.escape) {
            let value = self.global.get(&name).cloned();
            self.note(&name, value);
        }
    }

    fn stage_args(
        &mut self,
        instruction: &Instruction,
        env: &mut BTreeMap<String, String>,
    ) -> Result<(), DockerfileError> {
        for (name, default) in declarations(instruction, self.escape)? {
            let value = match (self.options.args.get(&name), default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => Some(
                    expand(&default, self.escape, &|name| env.get(name).cloned())
                        .map_err(|message| DockerfileError::new(instruction.line, message))?,
                ),
                (None, None) => self.global.get(&name).cloned(),
            };
            self.note(&name, value.clone());
            match value {
                Some(value) => env.insert(name, value),
                None => env.remove(&name),
            };
        }
        Ok(())
    }

    /// Notes what an instruction may read in the context's root.
    fn context_sources(&mut self, instruction: &Instruction, env: &BTreeMap<String, String>) {
        for source in sources::of(instruction) {
            // A variable may come from the base image, whose environment is not known here.
            let known = |name: &str| env.get(name).cloned();
            let complete =
                variables(&source, self.escape).iter().all(|name| env.contains_key(name));
            match expand(&source, self.escape, &known) {
                Ok(pattern) if complete => self.root_patterns.push(pattern),
                _ => self.reads_root = true,
            }
        }
    }

    fn finish(self) -> ResolvedDockerfile<'a> {
        let proxy = |name: &str| PROXIES.contains(&name.to_ascii_uppercase().as_str());
        let undeclared = self
            .options
            .args
            .keys()
            .filter(|name| !self.args.contains_key(*name) && !proxy(name))
            .cloned()
            .collect();
        let args = self
            .args
            .into_iter()
            .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)))
            .collect();
        ResolvedDockerfile {
            dockerfile: self.dockerfile,
            uses: self.uses,
            places: self.places,
            args,
            undeclared,
            program: self.program,
            reads_root: self.reads_root,
            root_patterns: self.root_patterns,
        }
    }
}

fn no_variables(what: &str, name: &str) -> Result<(), String> {
    if name.contains('$') {
        return Err(format!(
            "{what}={name}: variables are not expanded here; name a stage instead"
        ));
    }
    if name.is_empty() {
        return Err(format!("{what} names nothing"));
    }
    Ok(())
}

/// The names of an `ARG` instruction, with their defaults as written.
fn declarations(
    instruction: &Instruction,
    escape: char,
) -> Result<Vec<(String, Option<String>)>, DockerfileError> {
    let text = instruction.text();
    let mut declarations = Vec::new();
    for word in words(&text, escape) {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (word, None),
        };
        if name.is_empty() || name.contains(['$', '"', '\'']) {
            let message = format!("ARG {word}: {name:?} is no name");
            return Err(DockerfileError::new(instruction.line, message));
        }
        declarations.push((name.to_owned(), default));
    }
    Ok(declarations)
}

/// Applies an `ENV` instruction.
fn environment(
    instruction: &Instruction,
    escape: char,
    env: &mut BTreeMap<String, String>,
) -> Result<(), DockerfileError> {
    let error = |message: String| DockerfileError::new(instruction.line, message);
    let text = instruction.text();
    let words = words(&text, escape);
    let first = words.first().copied().unwrap_or_default();
    let pairs: Vec<(&str, &str)> = if first.contains('=') {
        words
            .iter()
            .map(|word| {
                word.split_once('=')
                    .ok_or_else(|| error(format!("ENV {word}: expected NAME=value")))
            })
            .collect::<Result<_, _>>()?
    } else {
        // The old form: one name, and the rest of the line is its value.
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| error(format!("ENV {text} needs a value: ENV {text}=value")))?;
        vec![(name, value.trim_start())]
    };
    // All values of one instruction see the environment from before it.
    let before = env.clone();
    for (name, value) in pairs {
        let value = expand(value, escape, &|name| before.get(name).cloned()).map_err(error)?;
        env.insert(name.to_owned(), value);
    }
    Ok(())
}

/// Words separated by blanks that are neither quoted nor escaped.
fn words(text: &str, escape: char) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = rest.split_at(end_of_word(rest, escape));
        words.push(word);
        rest = after.trim_start();
    }
    words
}
