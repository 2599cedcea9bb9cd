//! Why a build context cannot be listed or packed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failure, and the path that it is about.
#[derive(Debug)]
pub struct ContextError {
    path: PathBuf,
    kind: ContextErrorKind,
}

/// Kinds of [`ContextError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ContextErrorKind {
    /// The context is no directory.
    NotADirectory,
    /// A file or directory that is part of the context cannot be read. (BuildKit would silently
    /// send it empty.)
    Unreadable(io::Error),
    /// A file changed while it was read, or since it was listed.
    Changed,
    /// A fifo, socket or device is part of the context.
    Special(&'static str),
    /// The ignore file has a pattern that is wrong, or that engines understand differently.
    Ignore {
        /// Line of the pattern, counted from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// The context holds a file with the name that the archive gives to the Dockerfile.
    ReservedName,
    /// The archive cannot be written to where it should go.
    Write(io::Error),
}

impl ContextError {
    pub(super) fn new(path: impl Into<PathBuf>, kind: ContextErrorKind) -> Self {
        Self { path: path.into(), kind }
    }

    pub(super) fn unreadable(path: impl Into<PathBuf>, error: io::Error) -> Self {
        Self::new(path, ContextErrorKind::Unreadable(error))
    }

    /// The path that the failure is about.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> &ContextErrorKind {
        &self.kind
    }
}

impl fmt::Display for ContextError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            ContextErrorKind::NotADirectory => {
                write!(formatter, "{path} is not a directory, so it cannot be a build context")
            }
            ContextErrorKind::Unreadable(error) => write!(formatter, "cannot read {path}: {error}"),
            ContextErrorKind::Changed => {
                write!(formatter, "{path} changed while it was read; nothing was built from it")
            }
            ContextErrorKind::Special(what) => write!(
                formatter,
                "{path} is a {what}, which cannot be part of a build context; exclude it in \
                 .dockerignore"
            ),
            ContextErrorKind::Ignore { line, message } => {
                write!(formatter, "{path}:{line}: {message}")
            }
            ContextErrorKind::ReservedName => write!(
                formatter,
                "{path} has the name that dockit gives to the Dockerfile; exclude it in \
                 .dockerignore or rename it"
            ),
            ContextErrorKind::Write(error) => {
                write!(formatter, "cannot write the archive: {error}")
            }
        }
    }
}

impl std::error::Error for ContextError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ContextErrorKind::Unreadable(error) | ContextErrorKind::Write(error) => Some(error),
            _ => None,
        }
    }
}
