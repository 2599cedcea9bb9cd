//! Secrets and ssh agents for `RUN --mount=type=secret` and `type=ssh`: where they come from, and what is
//! had for one run.
//!
//! No key covers what is in them, and nothing that is written holds it: not the image's history, no log,
//! no report, no error. What a step prints is [masked](crate::masking).

mod agent;
mod error;
mod had;
mod sources;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::command_line::CommandLine;

pub use dockit_hashing::dockerfile::{SecretMount, SecretMountKind};
pub use error::{SecretError, SecretErrors, SecretProblem};
pub(crate) use had::masks;
pub use had::{BuildSecrets, ImageSecrets, SecretOptions, get};
pub use value::SecretValue;

/// Where a secret comes from: an entry of `secrets` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Where its value is.
    pub source: SecretSource,
    /// The line of the configuration that says so, counted from 1.
    pub line: usize,
}

/// Where an ssh agent comes from: an entry of `ssh` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshAgent {
    /// Which agent it is.
    pub source: SshSource,
    /// The line of the configuration that says so, counted from 1.
    pub line: usize,
}

/// Where the value of a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretSource {
    /// In a file, as it is.
    File(SecretFile),
    /// In a variable of the environment.
    Env(String),
    /// A command of this machine writes it to its standard output. It runs in the directory of the
    /// configuration file; one line end behind the value is none of it.
    Run(CommandLine),
}

/// A file that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretFile {
    /// By its absolute path.
    At(PathBuf),
    /// By its path in the home directory of who runs this: `~/…`.
    AtHome(PathBuf),
}

/// Which agent signs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SshSource {
    /// The one of the environment (`SSH_AUTH_SOCK`).
    Agent,
    /// The one that listens at this socket.
    Socket(SecretFile),
    /// One that is started for the run, and has this private key alone.
    Key(SecretSource),
}

impl fmt::Display for SecretFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(path) => write!(formatter, "{}", path.display()),
            Self::AtHome(path) => write!(formatter, "{}", Path::new("~").join(path).display()),
        }
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(formatter, "the file {file}"),
            Self::Env(name) => write!(formatter, "the variable {name}"),
            Self::Run(command) => write!(formatter, "the command `{command}`"),
        }
    }
}

impl fmt::Display for SshSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent => formatter.write_str("the agent of SSH_AUTH_SOCK"),
            Self::Socket(file) => write!(formatter, "the agent at {file}"),
            Self::Key(source) => write!(formatter, "the key of {source}"),
        }
    }
}
