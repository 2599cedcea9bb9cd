//! References in files: finding them, and keeping them true.
//!
//! [`look`] reads the files that the configuration names, finds what refers to the project's images, and
//! says of each reference what it should be; [`Pins::write`] changes those that are stale, in all files or
//! in none.

mod after;
mod cycle;
pub mod edit;
pub mod field;
mod files;
mod look;
pub mod rule;
pub mod scan;
mod survey;
pub mod targets;

use std::io;
use std::path::PathBuf;

pub use after::{AfterError, run_after};
pub use cycle::Cycle;
pub use look::{Finding, PinOptions, PinStatus, Pins, look};
pub use survey::Unreadable;

use crate::error::Error;
use crate::revision::RevisionError;

/// Why files could not be looked at or changed. None was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// git did not list the files.
    #[error(transparent)]
    Git(#[from] RevisionError),
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] Unreadable),
    /// A file cannot be changed.
    #[error(transparent)]
    Edit(#[from] edit::EditError),
    /// dockit's own directory cannot be written.
    #[error("{}: {}", .0.display(), .1)]
    State(PathBuf, io::Error),
    /// The files of a rule lie outside of the repository.
    #[error("line {line} of the configuration: {message}")]
    Pattern {
        /// The line of the rule.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A registry did not say what a tag is on.
    #[error(transparent)]
    Registry(#[from] dockit_registry::Error),
    /// What images are made of cannot be told.
    #[error(transparent)]
    Project(#[from] Error),
}
