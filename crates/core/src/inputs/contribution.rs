//! A document, line by line, for people.

use dockit_hashing::context::{Entry, Escaped, FileDigest, Node};
use dockit_hashing::dockerfile::{ProgramStage, StageBase};

use super::change::{What, below};
use super::document::Document;
use crate::key::{ArgValue, Files, ImageUseInput, KeyedArg};

/// One thing that a key was computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contribution {
    /// What kind of input.
    pub what: What,
    /// Which one: a path, a name, a keyword with its line.
    pub subject: String,
    /// What is hashed of it: a value, a digest, modes and sizes. Nothing that could break a line.
    pub values: Vec<String>,
}

impl Document {
    /// Everything that is hashed, sorted by kind.
    pub fn contributions(&self) -> Vec<Contribution> {
        let inputs = &self.inputs;
        let mut all = Lines(Vec::new());
        all.add(What::Platform, inputs.platform.to_string(), []);
        for used in &inputs.uses {
            match used {
                ImageUseInput::Image { name, key } => {
                    all.add(What::Dependency, name.to_string(), [key.to_string()]);
                }
                ImageUseInput::Base { reference, platform, digest } => {
                    let values = [digest.to_string(), platform.to_string()];
                    all.add(What::BaseImage, reference.to_string(), values);
                }
            }
        }
        for need in &inputs.needs {
            let values = [need.key.to_string(), "needs".to_owned()];
            all.add(What::Dependency, need.name.to_string(), values);
        }
        for argument in &inputs.args {
            all.add(What::Argument, argument.name.clone(), [value(argument)]);
        }
        if let Some(frontend) = &inputs.program.frontend {
            all.add(What::Frontend, "options".to_owned(), [frontend.clone()]);
        }
        for (index, stage) in inputs.program.stages.iter().enumerate() {
            all.stage(index, stage);
        }
        if let Some(hash) = inputs.dockerfile {
            all.add(What::Dockerfile, "text".to_owned(), [format!("sha256:{hash}")]);
        }
        match &inputs.files {
            Files::Listed(listing) => {
                for entry in listing.entries() {
                    all.add(What::File, below(self.context.as_deref(), entry), node(entry));
                }
            }
            Files::Declared(values) => {
                for value in values {
                    all.add(What::DeclaredValue, value.name.clone(), [value.value.clone()]);
                }
            }
        }
        for extra in &inputs.extra {
            for entry in extra.listing.entries() {
                all.add(What::ExtraInput, extra.path_of(entry), node(entry));
            }
        }
        if let Some(epoch) = &inputs.epoch {
            all.add(What::Epoch, epoch.clone(), []);
        }
        for (name, value) in &inputs.options {
            all.add(What::BuildOption, name.clone(), [value.clone()]);
        }
        all.0
    }
}

struct Lines(Vec<Contribution>);

impl Lines {
    fn add(&mut self, what: What, subject: String, values: impl IntoIterator<Item = String>) {
        let one_line = |text: String| Escaped(text.as_bytes()).to_string();
        let values = values.into_iter().map(one_line).collect();
        self.0.push(Contribution { what, subject, values });
    }

    fn stage(&mut self, index: usize, stage: &ProgramStage) {
        let base = match stage.base {
            StageBase::Scratch => "from scratch".to_owned(),
            StageBase::Stage(position) => format!("from stage {}", position + 1),
            StageBase::Image(position) => format!("from image {}", position + 1),
        };
        let name = stage.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let values = [base].into_iter().chain(stage.platform.clone());
        self.add(What::Stage, format!("{}{name}", index + 1), values);
        let triggers = stage.triggers.iter().map(|step| (step, true));
        for (step, trigger) in triggers.chain(stage.steps.iter().map(|step| (step, false))) {
            let trigger = trigger.then(|| "ONBUILD of the stage below".to_owned());
            let subject = format!("{}, line {}", step.keyword, step.line);
            let values = [format!("sha256:{}", step.hash)].into_iter().chain(trigger);
            self.add(What::Instruction, subject, values);
        }
    }
}

fn value(argument: &KeyedArg) -> String {
    match &argument.value {
        None => "(no value)".to_owned(),
        Some(ArgValue::Plain(value)) => value.clone(),
        Some(ArgValue::Hash(hash)) => format!("(hidden) sha256:{hash}"),
    }
}

fn node(entry: &Entry) -> Vec<String> {
    match entry.node() {
        Node::File { mode, size, digest } => {
            let digest = match digest {
                FileDigest::Whole(hash) => format!("sha256:{hash}"),
                FileDigest::Leaves(hash) => format!("leaves:{hash}"),
            };
            vec![mode.to_string(), size.to_string(), digest]
        }
        Node::Symlink { target } => {
            vec!["link".to_owned(), String::from_utf8_lossy(target).into_owned()]
        }
        Node::Directory { mode } => vec![mode.to_string(), "directory".to_owned()],
        _ => Vec::new(),
    }
}
