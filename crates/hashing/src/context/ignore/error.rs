//! What is wrong with an ignore file.

use std::error::Error;
use std::fmt;

use super::super::path::write_escaped;

/// A line of an ignore file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreError {
    line: usize,
    pattern: Box<[u8]>,
    problem: Problem,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoreErrorKind {
    /// BuildKit rejects the file as well.
    Invalid,
    /// BuildKit takes the pattern, or fails only on some paths.
    Unsupported,
}

/// What is wrong, without where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) kind: IgnoreErrorKind,
    pub(super) reason: &'static str,
}

impl Problem {
    pub(super) const fn invalid(reason: &'static str) -> Self {
        Self { kind: IgnoreErrorKind::Invalid, reason }
    }

    pub(super) const fn unsupported(reason: &'static str) -> Self {
        Self { kind: IgnoreErrorKind::Unsupported, reason }
    }
}

impl IgnoreError {
    pub(super) fn new(line: usize, pattern: &[u8], problem: Problem) -> Self {
        Self { line, pattern: pattern.into(), problem }
    }

    /// Whether BuildKit rejects it, too.
    pub fn kind(&self) -> IgnoreErrorKind {
        self.problem.kind
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The pattern as it was understood, with its `!`; empty when the line is too long to be read.
    pub fn pattern(&self) -> &[u8] {
        &self.pattern
    }

    /// What is wrong with it, as a fragment for people.
    pub fn reason(&self) -> &'static str {
        self.problem.reason
    }
}

impl Error for IgnoreError {}

impl fmt::Display for IgnoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: ", self.line)?;
        if !self.pattern.is_empty() {
            formatter.write_str("pattern \"")?;
            write_escaped(formatter, &self.pattern)?;
            formatter.write_str("\": ")?;
        }
        formatter.write_str(self.problem.reason)
    }
}
