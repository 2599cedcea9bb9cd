//! The canonical encoding of what a build executes.
//!
//! Numbers are 8 bytes little-endian; a text is its length and its bytes; a list is its count and
//! its items; an optional text is 0, or 1 and the text.
//!
//! ```text
//! program     = list of stage
//! stage       = source, optional platform, list of instruction
//! source      = 0 (scratch) | 1, index among the reachable stages | 2, index among the image uses
//! instruction = keyword, list of flag, arguments, list of heredoc, list of source
//!             | "onbuild", instruction
//! flag        = name, optional value; of `--from` and `from=` only the fact, the source follows
//! arguments   = 0, list of text (JSON form) | 1, text (shell form)
//! heredoc     = name, expand (0 or 1), chomp (0 or 1), body
//! ```
//!
//! The text of a shell-form `RUN` and of the other instructions is spliced, but otherwise as written;
//! blanks between the words of `COPY`, `ADD`, `FROM` and their likes are one blank each.

use super::instruction::{Arguments, Flag, Instruction};
use super::stages::mount_options;

/// An encoded program in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    stages: Vec<StageProgram>,
}

#[derive(Clone, Debug)]
struct StageProgram {
    head: Vec<u8>,
    instructions: Vec<Vec<u8>>,
}

/// An encoded source.
#[derive(Clone, Debug)]
pub(super) struct Source(Vec<u8>);

impl Program {
    pub(super) fn scratch(&self) -> Source {
        Source(number(0).to_vec())
    }

    pub(super) fn stage(&self, index: usize) -> Source {
        Source([number(1), number(index as u64)].concat())
    }

    pub(super) fn image(&self, used: usize) -> Source {
        Source([number(2), number(used as u64)].concat())
    }

    pub(super) fn begin_stage(&mut self, base: Source, platform: Option<&str>) {
        let mut head = base.0;
        optional(&mut head, platform);
        self.stages.push(StageProgram { head, instructions: Vec::new() });
    }

    /// Adds an instruction to the stage that was begun last.
    pub(super) fn instruction(&mut self, instruction: &Instruction, sources: &[Source]) {
        if let Some(stage) = self.stages.last_mut() {
            stage.instructions.push(encode(instruction, sources));
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = number(self.stages.len() as u64).to_vec();
        for stage in &self.stages {
            bytes.extend_from_slice(&stage.head);
            bytes.extend(number(stage.instructions.len() as u64));
            for instruction in &stage.instructions {
                bytes.extend_from_slice(instruction);
            }
        }
        bytes
    }
}

fn encode(instruction: &Instruction, sources: &[Source]) -> Vec<u8> {
    let mut bytes = Vec::new();
    text(&mut bytes, &instruction.keyword);
    if let Some(inner) = &instruction.onbuild {
        bytes.extend(encode(inner, sources));
        return bytes;
    }
    bytes.extend(number(instruction.flags.len() as u64));
    for flag in &instruction.flags {
        text(&mut bytes, &flag.name);
        optional(&mut bytes, flag_value(&instruction.keyword, flag).as_deref());
    }
    match &instruction.arguments {
        Arguments::Json(items) => {
            bytes.extend(number(0));
            bytes.extend(number(items.len() as u64));
            for item in items {
                text(&mut bytes, item);
            }
        }
        Arguments::Shell(argument) => {
            bytes.extend(number(1));
            text(&mut bytes, &shell_form(&instruction.keyword, &argument.text));
        }
    }
    bytes.extend(number(instruction.heredocs.len() as u64));
    for heredoc in &instruction.heredocs {
        text(&mut bytes, &heredoc.name);
        bytes.extend(number(u64::from(heredoc.expand)));
        bytes.extend(number(u64::from(heredoc.chomp)));
        text(&mut bytes, &heredoc.body);
    }
    bytes.extend(number(sources.len() as u64));
    for source in sources {
        bytes.extend_from_slice(&source.0);
    }
    bytes
}

/// A flag's value; where it names a source, that name is left out.
fn flag_value(keyword: &str, flag: &Flag) -> Option<String> {
    match (keyword, flag.name.as_str()) {
        ("copy", "from") => Some(String::new()),
        ("run", "mount") => {
            let mut value = String::new();
            for option in mount_options(flag) {
                let written = option.value.map(|value| value.text);
                let shown = if option.key == "from" { Some(String::new()) } else { written };
                // Lengths keep `a=b,c` apart from one option of that value.
                value.push_str(&format!("{}:{}", option.key.len(), option.key));
                match shown {
                    Some(shown) => value.push_str(&format!("={}:{shown}", shown.len())),
                    None => value.push(';'),
                }
            }
            Some(value)
        }
        _ => flag.value.clone(),
    }
}

/// Blanks between words count only where a shell, or a label's value, sees them.
fn shell_form(keyword: &str, argument: &str) -> String {
    match keyword {
        "add" | "copy" | "expose" | "from" | "volume" | "stopsignal" => {
            argument.split_whitespace().collect::<Vec<_>>().join(" ")
        }
        _ => argument.to_owned(),
    }
}

fn number(value: u64) -> [u8; 8] {
    value.to_le_bytes()
}

fn text(bytes: &mut Vec<u8>, value: &str) {
    bytes.extend(number(value.len() as u64));
    bytes.extend_from_slice(value.as_bytes());
}

fn optional(bytes: &mut Vec<u8>, value: Option<&str>) {
    match value {
        Some(value) => {
            bytes.extend(number(1));
            text(bytes, value);
        }
        None => bytes.extend(number(0)),
    }
}
