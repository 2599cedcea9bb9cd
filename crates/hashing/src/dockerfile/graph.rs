//! Which stages a target needs.

use std::collections::BTreeSet;

use super::arguments::GlobalScope;
use super::error::{DockerfileError, DockerfileErrorKind};
use super::flags::{Flag, Mention};
use super::instruction::{Arguments, Instruction};
use super::resolve::ImageUseKind;
use super::stages::{Stage, Stages, Target};

/// A stage before it is known whether it is reachable.
pub(super) struct Candidate<'a> {
    pub(super) stage: &'a Stage,
    pub(super) base_name: String,
    pub(super) base: Target,
    pub(super) platform: Option<String>,
    /// Global arguments that the `FROM` names.
    pub(super) arguments: BTreeSet<String>,
    pub(super) triggers: Vec<&'a Instruction>,
    pub(super) sources: Vec<Source<'a>>,
}

/// What one `--from` or `--mount` names.
pub(super) struct Source<'a> {
    pub(super) kind: ImageUseKind,
    pub(super) mention: Option<&'a Mention>,
    pub(super) target: Target,
    pub(super) line: u32,
}

/// Every stage, with what it refers to. What is wrong in any stage is an error, as it fails the
/// build.
pub(super) fn candidates<'a>(
    stages: &'a Stages,
    globals: &GlobalScope,
) -> Result<Vec<Candidate<'a>>, DockerfileError> {
    let mut candidates: Vec<Candidate<'a>> = Vec::with_capacity(stages.stages.len());
    for (index, stage) in stages.stages.iter().enumerate() {
        let from = &stage.from;
        let expand = |what: &str, text: &str| {
            let (value, names) = globals.expand(text, stages.escape, from.line)?;
            if value.is_empty() {
                return Err(expands_to_nothing(what, text, &names, from.line));
            }
            Ok((value, names))
        };
        let (base_name, mut arguments) = expand("FROM", &from.base.name)?;
        let mut platform = None;
        if let Some(text) = &from.platform {
            let (value, names) = expand("--platform", text)?;
            platform = Some(value);
            arguments.extend(names);
        }
        let base = stages.base(index, &base_name);
        let triggers = match base {
            Target::Stage(base) => triggers(&stages.stages[base]).collect(),
            Target::Scratch | Target::Image => Vec::new(),
        };
        let mut candidate = Candidate {
            stage,
            base_name,
            base,
            platform,
            arguments,
            triggers,
            sources: Vec::new(),
        };
        let mut sources = Vec::new();
        for instruction in candidate.instructions() {
            instruction_sources(stages, instruction, &mut sources)?;
        }
        if let Some(own) = sources.iter().find(|source| source.target == Target::Stage(index)) {
            let message = "circular dependency: the stage refers to itself".to_owned();
            return Err(DockerfileError::new(own.line, DockerfileErrorKind::StageOrder(message)));
        }
        candidate.sources = sources;
        candidates.push(candidate);
    }
    Ok(candidates)
}

/// What the `ONBUILD` instructions of a stage run in the stages that are based on it.
fn triggers(stage: &Stage) -> impl Iterator<Item = &Instruction> {
    stage.instructions.iter().filter_map(|instruction| match &instruction.arguments {
        Arguments::Trigger(trigger) => Some(&**trigger),
        _ => None,
    })
}

fn instruction_sources<'a>(
    stages: &Stages,
    instruction: &'a Instruction,
    sources: &mut Vec<Source<'a>>,
) -> Result<(), DockerfileError> {
    let line = instruction.line;
    for flag in &instruction.flags {
        let (kind, target) = match flag {
            Flag::Plain(_) => continue,
            Flag::From(mention) => (ImageUseKind::CopyFrom, stages.copy_source(mention, line)?),
            Flag::Mount(_) => (ImageUseKind::MountFrom, stages.mount_source(flag.mention(), line)?),
        };
        sources.push(Source { kind, mention: flag.mention(), target, line });
    }
    Ok(())
}

/// The stages that the target needs, in the order of the file.
pub(super) fn reachable(
    candidates: &[Candidate<'_>],
    target: usize,
) -> Result<BTreeSet<usize>, DockerfileError> {
    let mut reachable = BTreeSet::new();
    let mut pending = vec![target];
    while let Some(index) = pending.pop() {
        if !reachable.insert(index) {
            continue;
        }
        let candidate = &candidates[index];
        if let Target::Stage(base) = candidate.base {
            pending.push(base);
        }
        for source in &candidate.sources {
            let Target::Stage(other) = source.target else {
                continue;
            };
            if other > index {
                let name = source.mention.map_or("scratch", |mention| mention.name.as_str());
                let message = format!("stage {name:?} is used before it is defined");
                let kind = DockerfileErrorKind::StageOrder(message);
                return Err(DockerfileError::new(source.line, kind));
            }
            pending.push(other);
        }
    }
    Ok(reachable)
}

impl<'a> Candidate<'a> {
    /// What the stage runs: first the triggers.
    pub(super) fn instructions(&self) -> impl Iterator<Item = &'a Instruction> + use<'a> {
        self.triggers.clone().into_iter().chain(&self.stage.instructions)
    }
}

/// A trigger runs in whatever is built on the stage, so that no name put in its place would be right
/// for all of them. One of the target even runs with the stages of another file.
pub(super) fn refuse_trigger_from_image(
    stages: &Stages,
    instruction: &Instruction,
    of_target: bool,
) -> Result<(), DockerfileError> {
    let Arguments::Trigger(trigger) = &instruction.arguments else {
        return Ok(());
    };
    let mut sources = Vec::new();
    instruction_sources(stages, trigger, &mut sources)?;
    let refused = sources
        .iter()
        .filter_map(|source| Some((source, source.mention?)))
        .find(|(source, _)| of_target || source.target == Target::Image);
    match refused {
        None => Ok(()),
        Some((source, mention)) => {
            let name = &mention.name;
            let why = if source.target == Target::Image {
                "is no stage of this file"
            } else {
                "may be another stage, or none, where the trigger runs"
            };
            let message = format!("ONBUILD with --from is not supported: {name:?} {why}");
            let kind = DockerfileErrorKind::Unsupported(message);
            Err(DockerfileError::new(instruction.line, kind))
        }
    }
}

fn expands_to_nothing(
    what: &str,
    text: &str,
    names: &BTreeSet<String>,
    line: u32,
) -> DockerfileError {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let why = match names.as_slice() {
        [] => "it names no ARG that is declared before the first FROM".to_owned(),
        names => format!("no value for ARG {}", names.join(", ")),
    };
    DockerfileError::invalid(line, format!("{what} {text:?} expands to nothing: {why}"))
}
