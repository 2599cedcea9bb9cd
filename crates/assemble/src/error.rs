//! Why an image was not assembled.

use std::fmt;
use std::io;

/// A failure, with the line of the instruction where there is one.
#[derive(Debug)]
pub struct AssembleError {
    line: Option<u32>,
    kind: AssembleErrorKind,
    message: String,
}

/// Kinds of [`AssembleError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssembleErrorKind {
    /// An instruction runs a command, which only an engine can.
    NeedsCommands,
    /// An instruction cannot be done: a source that is not there, a user that nobody has.
    Instruction,
    /// A file of the build context changed since it was listed, or cannot be read.
    Context,
    /// An image that the Dockerfile names cannot be read, or is damaged.
    Image,
    /// The image cannot be written.
    Output,
}

impl AssembleError {
    /// An error that belongs to no instruction.
    pub fn new(kind: AssembleErrorKind, message: impl Into<String>) -> Self {
        Self { line: None, kind, message: message.into() }
    }

    /// The error that stopped the reading of a file's content or the writing of a layer: what
    /// [`FileContent`](crate::tree::FileContent) put into it, else one of this kind.
    pub fn from_io(kind: AssembleErrorKind, error: io::Error) -> Self {
        error.downcast().unwrap_or_else(|error| Self::new(kind, error.to_string()))
    }

    /// The same error of the instruction on this 1-based line, unless it has one.
    #[must_use]
    pub fn at(mut self, line: u32) -> Self {
        self.line = self.line.or(Some(line));
        self
    }

    /// What kind of failure.
    pub fn kind(&self) -> AssembleErrorKind {
        self.kind
    }

    /// The 1-based line of the instruction, where there is one.
    pub fn line(&self) -> Option<u32> {
        self.line
    }
}

impl fmt::Display for AssembleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "line {line}: {}", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

impl std::error::Error for AssembleError {}

impl From<AssembleError> for io::Error {
    fn from(error: AssembleError) -> Self {
        Self::other(error)
    }
}
