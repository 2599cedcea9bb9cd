//! What one instruction does.

use super::super::environment::Environment;
use super::super::error::DockerfileError;
use super::super::flags::Flag;
use super::super::instruction::{Arguments, Instruction};
use super::super::keyword::Keyword;
use super::super::program::StageBase;
use super::super::steps::{CommandLine, StepKind};
use super::words::Words;
use super::{copying, healthcheck, ports, signal};

/// Whether resolving found a reference for the flag.
pub(super) fn has_reference(flag: &Flag) -> bool {
    matches!(flag, Flag::From(_) | Flag::Mount(_))
}

/// A `RUN` without that word.
pub(super) fn command_text(instruction: &Instruction) -> String {
    match &instruction.arguments {
        Arguments::Text(text) => text.clone(),
        Arguments::Json(words) => serde_json::Value::from(words.as_slice()).to_string(),
        _ => String::new(),
    }
}

/// What an instruction does that is no `ARG`. `from` is what the last of its flags refers to that names
/// a stage or an image.
pub(super) fn kind(
    instruction: &Instruction,
    from: Option<StageBase>,
    environment: &Environment,
) -> Result<StepKind, DockerfileError> {
    let words = Words { instruction, environment };
    let kind = match (instruction.keyword, &instruction.arguments) {
        (Keyword::Add, arguments) => StepKind::Add(copying::step(words, arguments, from)?),
        (Keyword::Copy, arguments) => StepKind::Copy(copying::step(words, arguments, from)?),
        (Keyword::Cmd, arguments) => StepKind::Cmd(command_line(arguments)),
        (Keyword::Entrypoint, arguments) => StepKind::Entrypoint(command_line(arguments)),
        (Keyword::Run, _) => StepKind::Run(command_text(instruction)),
        (Keyword::Shell, Arguments::Json(shell)) => StepKind::Shell(shell.clone()),
        (Keyword::Env, Arguments::Pairs(pairs)) => StepKind::Env(expand_pairs(words, pairs)?),
        (Keyword::Label, Arguments::Pairs(pairs)) => StepKind::Label(expand_pairs(words, pairs)?),
        (Keyword::Expose, Arguments::Words(texts)) => StepKind::Expose(ports::ports(words, texts)?),
        (Keyword::Volume, Arguments::Words(texts) | Arguments::Json(texts)) => {
            let texts: Vec<String> = texts.iter().map(|text| text.trim().to_owned()).collect();
            let volumes = words.expand_all(&texts)?;
            if volumes.iter().any(String::is_empty) {
                return Err(words.invalid("VOLUME cannot be an empty string"));
            }
            StepKind::Volume(volumes)
        }
        (Keyword::Healthcheck, Arguments::Health(command)) => {
            StepKind::Healthcheck(healthcheck::healthcheck(words, command.as_deref())?)
        }
        (Keyword::Maintainer, Arguments::Text(text)) => StepKind::Maintainer(text.clone()),
        (Keyword::Stopsignal, Arguments::Text(text)) => {
            let name = words.expand(text)?;
            if !signal::is_signal(&name) {
                return Err(words.invalid(format!("STOPSIGNAL {name:?} is no signal")));
            }
            StepKind::StopSignal(name)
        }
        (Keyword::User, Arguments::Text(text)) => StepKind::User(words.expand(text)?),
        (Keyword::Workdir, Arguments::Text(text)) => StepKind::Workdir(words.expand(text)?),
        (Keyword::Onbuild, _) => StepKind::Onbuild(instruction.trigger.clone()),
        (keyword, arguments) => {
            unreachable!("{} is not parsed into {arguments:?}", keyword.as_str())
        }
    };
    Ok(kind)
}

pub(super) fn command_line(arguments: &Arguments) -> CommandLine {
    match arguments {
        Arguments::Json(words) => CommandLine::Exec(words.clone()),
        Arguments::Text(text) => CommandLine::Shell(text.clone()),
        other => unreachable!("a command is not parsed into {other:?}"),
    }
}

fn expand_pairs(
    words: Words<'_>,
    pairs: &[(String, String)],
) -> Result<Vec<(String, String)>, DockerfileError> {
    let expand = |(name, value): &(String, String)| Ok((words.expand(name)?, words.expand(value)?));
    pairs.iter().map(expand).collect()
}
