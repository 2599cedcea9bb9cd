//! Commands that the configuration names.

use std::fmt;
use std::path::PathBuf;

use crate::process::Process;

/// A command of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommandLine {
    /// A text for `sh -c`.
    Shell(String),
    /// A program and its arguments; never empty.
    Program(Vec<String>),
}

impl CommandLine {
    /// The command as a process of this machine, in this directory.
    pub(crate) fn process(&self, directory: impl Into<PathBuf>) -> Process {
        match self {
            Self::Shell(text) => Process::new("sh", directory).args(["-c", text]),
            Self::Program(words) => Process::new(&words[0], directory).args(&words[1..]),
        }
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(text) => formatter.write_str(text),
            Self::Program(words) => formatter.write_str(&words.join(" ")),
        }
    }
}
