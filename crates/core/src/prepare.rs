//! Commands of the project that make inputs of builds.

use std::fmt;
use std::time::Duration;

use crate::config::Problem;
use crate::project::{Image, Project};
use crate::project_path::ProjectPath;

/// What runs before the keys of an image are taken: `prepare` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The command. It runs in the directory of the configuration file.
    pub run: PrepareCommand,
    /// What has to be there afterwards, sorted by path.
    pub outputs: Vec<ProjectPath>,
    /// How long it may take; without one, as long as it does.
    pub timeout: Option<Duration>,
}

/// A command of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PrepareCommand {
    /// A text for `sh -c`.
    Shell(String),
    /// A program and its arguments; never empty.
    Program(Vec<String>),
}

impl fmt::Display for PrepareCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(text) => formatter.write_str(text),
            Self::Program(words) => formatter.write_str(&words.join(" ")),
        }
    }
}

/// Outputs that are not there, each by the line of the configuration that names it.
pub(crate) fn missing_outputs(project: &Project, image: &Image) -> Vec<Problem> {
    let outputs = image.prepare.iter().flat_map(|prepare| &prepare.outputs);
    outputs
        .filter(|output| !output.location().exists())
        .map(|output| Problem {
            file: project.config_file.clone(),
            line: output.line(),
            message: format!(
                "image {:?}: there is no {output}, which its prepare command makes",
                image.name.as_str()
            ),
            suggestion: None,
        })
        .collect()
}
