//! What a Dockerfile executes, as hashes; docs/key-format.md, "Program", has the bytes.

use super::flags::Flag;
use super::heredoc::Heredoc;
use super::instruction::{Arguments, Instruction};
use super::resolve::{Reference, ResolvedDockerfile};
use crate::content_hash::{ContentHash, Framer};

const DOMAIN: &str = "dockit-program-1";
const STEP_DOMAIN: &[u8] = b"dockit-instruction-1";

/// What a Dockerfile executes: its reachable stages, each instruction as a hash.
///
/// Comments, blank lines, line ends, the case of keywords, and stages that the target does not reach
/// are not in it. Names of stages and lines are, for people, but do not enter the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Of a `# syntax=` frontend, which is then the first image use: what follows its reference.
    pub frontend: Option<String>,
    /// The reachable stages in the order of the file.
    pub stages: Vec<ProgramStage>,
}

/// A reachable stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStage {
    /// The name after `AS`, in lower case. Not hashed.
    pub name: Option<String>,
    /// What it is built on.
    pub base: StageBase,
    /// `--platform`, expanded.
    pub platform: Option<String>,
    /// What the base stage's `ONBUILD` instructions run first.
    pub triggers: Vec<ProgramStep>,
    /// Its own instructions.
    pub steps: Vec<ProgramStep>,
}

/// What a stage is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageBase {
    /// Nothing.
    Scratch,
    /// Another stage, by its position among the reachable ones.
    Stage(usize),
    /// An image, by its position among the image uses.
    Image(usize),
}

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramStep {
    /// The 1-based line on which it begins. Not hashed.
    pub line: u32,
    /// The keyword in capitals. Not hashed here, but part of the hash below.
    pub keyword: String,
    /// The hash of the instruction: flags, arguments, heredocs. Names of images are not in it, nor are
    /// values of variables.
    pub hash: ContentHash,
}

impl Program {
    /// The hash of everything that counts.
    pub fn hash(&self) -> ContentHash {
        let mut framer = Framer::new(DOMAIN);
        option(&mut framer, self.frontend.as_deref());
        framer.list(self.stages.len());
        for stage in &self.stages {
            match stage.base {
                StageBase::Scratch => framer.number(0),
                StageBase::Stage(position) => framer.number(1).number(position as u64),
                StageBase::Image(position) => framer.number(2).number(position as u64),
            };
            option(&mut framer, stage.platform.as_deref());
            for steps in [&stage.triggers, &stage.steps] {
                framer.list(steps.len());
                for step in steps {
                    framer.hash(step.hash);
                }
            }
        }
        framer.finish()
    }
}

fn option(framer: &mut Framer, value: Option<&str>) {
    match value {
        None => framer.number(0),
        Some(value) => framer.number(1).str(value),
    };
}

pub(super) fn program(resolved: &ResolvedDockerfile<'_>) -> Program {
    let positions: Vec<usize> = resolved.stages().iter().map(|stage| stage.index).collect();
    let position = |index: usize| {
        positions.binary_search(&index).expect("what a reachable stage refers to is reachable")
    };
    let stages = resolved.stages().iter().map(|stage| {
        let mut references = stage.references.iter();
        let mut step = |instruction: &&Instruction| {
            let mut encoder = Encoder(Vec::new());
            encoder.string(STEP_DOMAIN);
            encoder.instruction(instruction, &mut |encoder, _| {
                let reference = references
                    .next()
                    .expect("resolving found a reference for each flag that has one");
                encoder.reference(reference, &positions);
            });
            ProgramStep {
                line: instruction.line,
                keyword: instruction.keyword.as_str().to_owned(),
                hash: ContentHash::of(&encoder.0),
            }
        };
        ProgramStage {
            name: stage.name.clone(),
            base: match stage.base {
                Reference::Scratch => StageBase::Scratch,
                Reference::Stage(index) => StageBase::Stage(position(index)),
                Reference::Image(index) => StageBase::Image(index),
            },
            platform: stage.platform.clone(),
            triggers: stage.triggers.iter().map(&mut step).collect(),
            steps: stage.instructions.iter().map(&mut step).collect(),
        }
    });
    let frontend = resolved.frontend().map(|frontend| frontend.options.clone());
    Program { frontend, stages: stages.collect() }
}

struct Encoder(Vec<u8>);

/// Writes the reference of a flag.
type WriteReference<'w> = dyn FnMut(&mut Encoder, &Flag) + 'w;

impl Encoder {
    fn tag(&mut self, tag: u8) {
        self.0.push(tag);
    }

    fn number(&mut self, number: usize) {
        self.0.extend_from_slice(&(number as u64).to_le_bytes());
    }

    fn string(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.number(items.len());
        for item in items {
            write(self, item);
        }
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.tag(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn reference(&mut self, reference: &Reference, positions: &[usize]) {
        match reference {
            Reference::Scratch => self.tag(0),
            Reference::Stage(index) => {
                self.tag(1);
                let position = positions
                    .binary_search(index)
                    .expect("what a reachable stage refers to is reachable");
                self.number(position);
            }
            Reference::Image(index) => {
                self.tag(2);
                self.number(*index);
            }
        }
    }

    fn instruction(&mut self, instruction: &Instruction, reference: &mut WriteReference<'_>) {
        self.string(instruction.keyword.as_str().to_ascii_lowercase().as_bytes());
        self.tag(u8::from(escape_matters(instruction)));
        self.list(&instruction.flags, |encoder, flag| {
            encoder.flag(flag, reference);
        });
        self.arguments(&instruction.arguments, &instruction.trigger);
        self.list(&instruction.heredocs, Self::heredoc);
    }

    fn flag(&mut self, flag: &Flag, reference: &mut WriteReference<'_>) {
        match flag {
            Flag::Plain(text) => {
                self.tag(0);
                self.string(text.as_bytes());
            }
            Flag::From(_) => {
                self.tag(1);
                reference(self, flag);
            }
            Flag::Mount(mount) => {
                self.tag(2);
                let from = mount.from.as_ref().map(|(index, _)| *index);
                self.number(mount.fields.len());
                for (index, field) in mount.fields.iter().enumerate() {
                    self.string(if from == Some(index) { b"" } else { field.as_bytes() });
                }
                self.option(from, Self::number);
                reference(self, flag);
            }
        }
    }

    /// `text` is that of a trigger.
    fn arguments(&mut self, arguments: &Arguments, text: &str) {
        match arguments {
            Arguments::Text(text) => {
                self.tag(0);
                self.string(text.as_bytes());
            }
            Arguments::Words(words) => {
                self.tag(1);
                self.list(words, |encoder, word| encoder.string(word.as_bytes()));
            }
            Arguments::Json(words) => {
                self.tag(2);
                self.list(words, |encoder, word| encoder.string(word.as_bytes()));
            }
            Arguments::Pairs(pairs) => {
                self.tag(3);
                self.list(pairs, |encoder, (name, value)| {
                    encoder.string(name.as_bytes());
                    encoder.string(value.as_bytes());
                });
            }
            Arguments::Declarations(declarations) => {
                self.tag(4);
                self.list(declarations, |encoder, (name, default)| {
                    encoder.string(name.as_bytes());
                    encoder.option(default.as_ref(), |encoder, default| {
                        encoder.string(default.as_bytes());
                    });
                });
            }
            Arguments::Health(command) => {
                self.tag(5);
                self.option(command.as_deref(), |encoder, command| {
                    encoder.arguments(command, text);
                });
            }
            Arguments::Trigger(trigger) => {
                self.tag(6);
                // The image's configuration holds it as it is written.
                self.string(text.as_bytes());
                self.instruction(trigger, &mut |encoder, flag| {
                    encoder.tag(3);
                    let name = flag.mention().map_or("", |mention| mention.name.as_str());
                    encoder.string(name.as_bytes());
                });
            }
        }
    }

    fn heredoc(&mut self, heredoc: &Heredoc) {
        self.string(heredoc.name.as_bytes());
        self.tag(u8::from(heredoc.expand));
        self.tag(u8::from(heredoc.chomp));
        self.string(&heredoc.body);
    }
}

/// Whether the same text means something else under the usual escape token.
fn escape_matters(instruction: &Instruction) -> bool {
    let special = |text: &str| text.contains(['\\', '`']);
    let in_arguments = || match &instruction.arguments {
        _ if !instruction.keyword.expands_arguments() => false,
        Arguments::Text(text) => special(text),
        Arguments::Words(words) | Arguments::Json(words) => words.iter().any(|word| special(word)),
        Arguments::Pairs(pairs) => {
            pairs.iter().any(|(name, value)| special(name) || special(value))
        }
        Arguments::Declarations(declarations) => declarations
            .iter()
            .any(|(name, default)| special(name) || default.as_deref().is_some_and(special)),
        Arguments::Health(_) | Arguments::Trigger(_) => false,
    };
    let in_flags = || {
        instruction.flags.iter().any(|flag| match flag {
            Flag::Plain(text) => special(text),
            Flag::From(_) => false,
            Flag::Mount(mount) => mount.fields.iter().any(|field| special(field)),
        })
    };
    instruction.escape != '\\' && (in_flags() || in_arguments())
}
