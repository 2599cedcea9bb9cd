//! Stages, and what their instructions refer to.

use super::error::DockerfileError;
use super::instruction::{Flag, Instruction, Text};

/// A `FROM` and the instructions after it.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) from: Instruction,
    /// The image or stage as written.
    pub(super) base: Text,
    /// `AS name`, in lower case.
    pub(super) name: Option<String>,
    pub(super) instructions: Vec<Instruction>,
}

/// Splits instructions into the global `ARG`s and the stages.
pub(super) fn group(
    instructions: Vec<Instruction>,
) -> Result<(Vec<Instruction>, Vec<Stage>), DockerfileError> {
    let mut global = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    for instruction in instructions {
        if instruction.keyword == "from" {
            stages.push(stage(instruction)?);
        } else if let Some(stage) = stages.last_mut() {
            stage.instructions.push(instruction);
        } else if instruction.keyword == "arg" {
            global.push(instruction);
        } else {
            let message = format!(
                "no build stage in current context: {} stands before the first FROM",
                instruction.keyword.to_uppercase()
            );
            return Err(DockerfileError::new(instruction.line, message));
        }
    }
    if stages.is_empty() {
        return Err(DockerfileError::new(1, "no build stage: there is no FROM"));
    }
    Ok((global, stages))
}

fn stage(from: Instruction) -> Result<Stage, DockerfileError> {
    let error = |message: String| DockerfileError::new(from.line, message);
    let super::instruction::Arguments::Shell(text) = &from.arguments else {
        return Err(error("FROM has no JSON form".to_owned()));
    };
    let mut words = text.words().into_iter();
    let base = words.next().unwrap_or_default();
    let name = match (words.next(), words.next()) {
        (None, _) => None,
        (Some(word), Some(name)) if word.text.eq_ignore_ascii_case("as") => {
            let name = name.text.to_lowercase();
            let mut characters = name.chars();
            let valid = characters.next().is_some_and(|first| first.is_ascii_lowercase())
                && characters.all(|next| next.is_ascii_alphanumeric() || "_-.".contains(next));
            if !valid {
                let message = format!(
                    "invalid stage name {name:?}: it begins with a letter and holds letters, \
                     digits, `_`, `-` and `.`"
                );
                return Err(error(message));
            }
            Some(name)
        }
        (Some(word), _) => {
            return Err(error(format!("FROM expects AS before a stage name, not {:?}", word.text)));
        }
    };
    Ok(Stage { base, name, from: from.clone(), instructions: Vec::new() })
}

/// What a name refers to, seen from a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Stage(usize),
    Image,
    Scratch,
}

/// `FROM name`: the latest earlier stage of that name, in lower case as stages' names are.
pub(super) fn base(stages: &[Stage], at: usize, name: &str) -> Meaning {
    if name == "scratch" {
        return Meaning::Scratch;
    }
    let found = stages[..at].iter().rposition(|stage| stage.name.as_deref() == Some(name));
    found.map_or(Meaning::Image, Meaning::Stage)
}

/// `COPY --from=name`: an earlier stage by index or by name in any case, or else an image.
pub(super) fn copy_source(stages: &[Stage], at: usize, name: &str) -> Result<Meaning, String> {
    if let Ok(index) = name.parse::<usize>() {
        if index >= at {
            return Err(format!("--from={name}: there are {at} stages before this one"));
        }
        return Ok(Meaning::Stage(index));
    }
    Ok(mount_source(stages, at, name))
}

/// `RUN --mount=from=name`: as [`copy_source`], but a number is an image's name.
pub(super) fn mount_source(stages: &[Stage], at: usize, name: &str) -> Meaning {
    let name = name.to_lowercase();
    if name == "scratch" {
        return Meaning::Scratch;
    }
    let found = stages[..at].iter().rposition(|stage| stage.name.as_deref() == Some(&*name));
    found.map_or(Meaning::Image, Meaning::Stage)
}

/// The stage that a build without, or with this, target ends on.
pub(super) fn target(stages: &[Stage], target: Option<&str>) -> Result<usize, String> {
    let Some(target) = target else {
        return Ok(stages.len() - 1);
    };
    let wanted = target.to_lowercase();
    let found = stages.iter().rposition(|stage| stage.name.as_deref() == Some(&*wanted));
    found.ok_or_else(|| {
        let names: Vec<&str> = stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
        if names.is_empty() {
            format!("target stage {target:?} not found: the Dockerfile names no stage")
        } else {
            format!("target stage {target:?} not found: there are {}", names.join(", "))
        }
    })
}

/// One `key=value` of a `--mount` flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountOption {
    /// In lower case.
    pub(super) key: String,
    /// The value, without quotes around it.
    pub(super) value: Option<Text>,
}

/// The options of a `--mount` flag. A comma within quotes belongs to a value.
pub(super) fn mount_options(flag: &Flag) -> Vec<MountOption> {
    let raw = &flag.raw;
    let mut options = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    for (index, character) in raw.text.char_indices().chain([(raw.text.len(), ',')]) {
        if character == '"' {
            quoted = !quoted;
        }
        if character == ',' && (!quoted || index == raw.text.len()) {
            options.push(mount_option(&raw.slice(start..index)));
            start = index + 1;
        }
    }
    options
}

fn mount_option(part: &Text) -> MountOption {
    let key_end = part.text.find('=').unwrap_or(part.text.len());
    let key = part.text[..key_end].trim_matches(['"', ' ']).to_lowercase();
    let value = (key_end < part.text.len()).then(|| {
        let quotes = ['"', '\''];
        let value = &part.text[key_end + 1..];
        let start = part.text.len() - value.trim_start_matches(quotes).len();
        let end = start.max(part.text.trim_end_matches(quotes).len());
        part.slice(start..end)
    });
    MountOption { key, value }
}
