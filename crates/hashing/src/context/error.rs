//! Why a build context cannot be listed or packed.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::ignore::{IgnoreError, IgnoreErrorKind};
use super::path::write_escaped;

/// Why a build context cannot be listed or packed, and which path stands in the way.
///
/// Its text holds everything there is to say, the operating system's words included; paths in it
/// are escaped without loss.
#[derive(Debug)]
pub struct ContextError {
    kind: ContextErrorKind,
    path: Option<PathBuf>,
    cause: Cause,
}

/// What went wrong with a build context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextErrorKind {
    /// There is nothing at the context's root.
    NotFound,
    /// The context's root is no directory.
    NotADirectory,
    /// A file or directory of the context, or its ignore file, cannot be read. BuildKit would send
    /// such a file as an empty one.
    Unreadable,
    /// A file changed, appeared or vanished between two looks at it.
    Changed,
    /// The ignore file is one that BuildKit rejects, too.
    InvalidIgnoreFile,
    /// The ignore file has a pattern whose meaning is BuildKit's accident; see
    /// [`ignore`](super::ignore).
    UnsupportedPattern,
    /// A named pipe, socket or device is part of the context.
    SpecialFile(SpecialFile),
    /// The context has a file of the name under which the archive holds the Dockerfile.
    ReservedName,
    /// More than 255 symbolic links lead to something that the build reads, or they lead in a
    /// circle.
    TooManyLinks,
    /// The archive's receiver did not take it.
    Io,
}

/// What is neither directory, nor regular file, nor symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecialFile {
    /// A named pipe; opening one may wait forever.
    Fifo,
    /// A socket, which BuildKit would send as an empty file.
    Socket,
    /// A character or block device.
    Device,
    /// Something else that the operating system has.
    Other,
}

#[derive(Debug)]
enum Cause {
    None,
    Io(io::Error),
    Ignore(IgnoreError),
}

impl ContextError {
    /// What went wrong.
    pub fn kind(&self) -> ContextErrorKind {
        self.kind
    }

    /// The path that stands in the way; none when the archive's receiver failed.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What the operating system said, or the archive's receiver.
    pub fn io_error(&self) -> Option<&io::Error> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            Cause::None | Cause::Ignore(_) => None,
        }
    }

    /// The line of the ignore file and what is wrong with it.
    pub fn ignore_error(&self) -> Option<&IgnoreError> {
        match &self.cause {
            Cause::Ignore(error) => Some(error),
            Cause::None | Cause::Io(_) => None,
        }
    }

    /// Whether the archive's receiver went away while the archive was written.
    pub fn is_broken_pipe(&self) -> bool {
        self.kind == ContextErrorKind::Io
            && self.io_error().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(super) fn new(kind: ContextErrorKind, path: impl Into<PathBuf>) -> Self {
        Self { kind, path: Some(path.into()), cause: Cause::None }
    }

    pub(super) fn changed(path: &Path) -> Self {
        Self::new(ContextErrorKind::Changed, path)
    }

    /// The context's root could not be looked at.
    pub(super) fn root(path: &Path, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ContextErrorKind::NotFound,
            io::ErrorKind::NotADirectory => ContextErrorKind::NotADirectory,
            _ => ContextErrorKind::Unreadable,
        };
        Self { kind, path: Some(path.to_owned()), cause: Cause::Io(error) }
    }

    /// Something that was there a moment ago could not be read.
    pub(super) fn reading(path: &Path, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ContextErrorKind::Changed,
            _ => ContextErrorKind::Unreadable,
        };
        Self { kind, path: Some(path.to_owned()), cause: Cause::Io(error) }
    }

    pub(super) fn ignore(path: &Path, error: IgnoreError) -> Self {
        let kind = match error.kind() {
            IgnoreErrorKind::Invalid => ContextErrorKind::InvalidIgnoreFile,
            IgnoreErrorKind::Unsupported => ContextErrorKind::UnsupportedPattern,
        };
        Self { kind, path: Some(path.to_owned()), cause: Cause::Ignore(error) }
    }

    pub(super) fn writing(error: io::Error) -> Self {
        Self { kind: ContextErrorKind::Io, path: None, cause: Cause::Io(error) }
    }
}

impl Error for ContextError {}

impl fmt::Display for ContextError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write_escaped(formatter, path.as_os_str().as_encoded_bytes())?;
            formatter.write_str(": ")?;
        }
        match self.kind {
            ContextErrorKind::NotFound => formatter.write_str("no such build context"),
            ContextErrorKind::NotADirectory => {
                formatter.write_str("a build context is a directory")
            }
            ContextErrorKind::Unreadable => formatter.write_str("cannot be read"),
            ContextErrorKind::Changed => {
                formatter.write_str("changed while the build context was read")
            }
            // The cause says it all.
            ContextErrorKind::InvalidIgnoreFile | ContextErrorKind::UnsupportedPattern => Ok(()),
            ContextErrorKind::SpecialFile(special) => write!(
                formatter,
                "{special} cannot be part of a build context; a line in .dockerignore excludes it"
            ),
            ContextErrorKind::ReservedName => formatter.write_str(
                "this name is reserved for the Dockerfile in the archive; \
                 a line in .dockerignore excludes the file",
            ),
            ContextErrorKind::TooManyLinks => {
                formatter.write_str("too many symbolic links to follow")
            }
            ContextErrorKind::Io => formatter.write_str("the archive could not be written"),
        }?;
        match &self.cause {
            Cause::None => Ok(()),
            Cause::Io(error) => write!(formatter, ": {error}"),
            Cause::Ignore(error) => write!(formatter, "{error}"),
        }
    }
}

impl fmt::Display for SpecialFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::Other => "a special file",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_permission_is_unreadable_and_a_vanished_one_has_changed() {
        let kind = |error: io::ErrorKind| {
            ContextError::reading(Path::new("x"), io::Error::from(error)).kind()
        };
        assert_eq!(kind(io::ErrorKind::PermissionDenied), ContextErrorKind::Unreadable);
        assert_eq!(kind(io::ErrorKind::Other), ContextErrorKind::Unreadable);
        assert_eq!(kind(io::ErrorKind::NotFound), ContextErrorKind::Changed);
    }

    #[test]
    fn only_the_receivers_broken_pipe_is_one() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(ContextError::writing(broken()).is_broken_pipe());
        assert!(!ContextError::reading(Path::new("x"), broken()).is_broken_pipe());
        assert!(!ContextError::writing(io::ErrorKind::Other.into()).is_broken_pipe());
    }
}
