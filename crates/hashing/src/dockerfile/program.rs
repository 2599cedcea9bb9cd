//! Writes the canonical encoding of what a build runs; the format is in the docs of the parent
//! module.

use super::flags::Flag;
use super::heredoc::Heredoc;
use super::instruction::{Arguments, Instruction};
use super::resolve::{Reference, ResolvedDockerfile};

const DOMAIN: &str = "dockit-program-1";

pub(super) fn encode(resolved: &ResolvedDockerfile<'_>) -> Vec<u8> {
    let mut encoder = Encoder(Vec::new());
    encoder.string(DOMAIN.as_bytes());
    encoder.option(resolved.frontend(), |encoder, frontend| {
        // The frontend is the first image use wherever there is one.
        encoder.number(0);
        encoder.string(frontend.options.as_bytes());
    });
    let stages = resolved.stages();
    let positions: Vec<usize> = stages.iter().map(|stage| stage.index).collect();
    encoder.list(stages, |encoder, stage| {
        encoder.reference(&stage.base, &positions);
        encoder.option(stage.platform.as_deref(), |encoder, platform| {
            encoder.string(platform.as_bytes());
        });
        let mut references = stage.references.iter();
        for instructions in [&stage.triggers, &stage.instructions] {
            encoder.list(instructions, |encoder, instruction| {
                encoder.instruction(instruction, &mut |encoder, _| {
                    let reference = references
                        .next()
                        .expect("resolving found a reference for each flag that has one");
                    encoder.reference(reference, &positions);
                });
            });
        }
    });
    encoder.0
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
        self.arguments(&instruction.arguments);
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

    fn arguments(&mut self, arguments: &Arguments) {
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
                self.option(command.as_deref(), Self::arguments);
            }
            Arguments::Trigger(trigger) => {
                self.tag(6);
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
