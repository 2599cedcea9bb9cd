//! Why a secret cannot be had, without anything of it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use dockit_hashing::dockerfile::SecretMountKind;

use crate::image_name::ImageName;

/// All that is missing, before anything is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretErrors {
    /// In the order of the builds; what several images need, under the first of them.
    pub errors: Vec<SecretError>,
}

/// A secret or an agent that an image needs and that is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretError {
    /// The image.
    pub image: ImageName,
    /// What it is.
    pub kind: SecretMountKind,
    /// What the Dockerfile calls it.
    pub id: String,
    /// Where it was looked for, in words; none if nothing says where it is.
    pub source: Option<String>,
    /// What is wrong.
    pub problem: SecretProblem,
}

/// Kinds of [`SecretError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretProblem {
    /// The Dockerfile requires it, and nothing says where it is.
    NotConfigured,
    /// There is no such file, variable or socket, or it cannot be read.
    Unreadable(String),
    /// It is empty.
    Empty,
    /// It is larger than BuildKit takes, which is this many bytes.
    TooLarge(usize),
    /// The command did not end well.
    Failed(Option<i32>),
    /// The command did not end in this time.
    TimedOut(Duration),
    /// The file is in the build context of this image: what is copied from there would be in a key, in
    /// lists that are published, and in layers.
    InContext(PathBuf),
    /// No agent takes the key: it is none, or it has a passphrase.
    NoKey,
    /// No agent could be started.
    NoAgent(String),
}

impl std::error::Error for SecretErrors {}

impl fmt::Display for SecretErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let line = if index == 0 { "" } else { "\n" };
            write!(formatter, "{line}{error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { image, kind, id, source, problem } = self;
        let what = match kind {
            SecretMountKind::Secret => "secret",
            SecretMountKind::Ssh => "ssh agent",
        };
        write!(formatter, "image {image}: the {what} {id:?}")?;
        if let Some(source) = source {
            write!(formatter, " ({source})")?;
        }
        write!(formatter, " {problem}")
    }
}

impl fmt::Display for SecretProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured => {
                formatter.write_str("is required by the Dockerfile, and not configured")
            }
            Self::Unreadable(reason) => write!(formatter, "cannot be had: {reason}"),
            Self::Empty => formatter.write_str("is empty"),
            Self::TooLarge(limit) => write!(formatter, "is larger than {} KiB", limit / 1024),
            Self::Failed(Some(code)) => {
                write!(formatter, "cannot be had: it ended with exit code {code}")
            }
            Self::Failed(None) => formatter.write_str("cannot be had: it was ended by a signal"),
            Self::TimedOut(limit) => {
                write!(formatter, "cannot be had: not done within {} seconds", limit.as_secs())
            }
            Self::InContext(path) => write!(
                formatter,
                "would be copied with the build context, as {}: what is in there is keyed and goes \
                 into layers",
                path.display()
            ),
            Self::NoKey => formatter.write_str("is no private key, or has a passphrase"),
            Self::NoAgent(reason) => write!(formatter, "cannot be started: {reason}"),
        }
    }
}
