//! What is wrong with a Dockerfile, and where.

use std::fmt;

/// The first problem of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerfileError {
    line: u32,
    message: String,
}

impl DockerfileError {
    pub(super) fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }

    /// The line, counted from 1, on which the instruction begins.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// What is wrong, as a lower-case fragment.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for DockerfileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for DockerfileError {}
