//! Why a promotion did not begin.

use std::path::PathBuf;

use dockit_registry::Reference;

use crate::error::Error;
use crate::lockfile::LockfileError;
use crate::version::VersionError;

/// Why a promotion did not begin, or could not be finished. Unless it says otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromoteError {
    /// The project, the selection or the options are wrong.
    #[error(transparent)]
    Project(#[from] Error),
    /// Registries refused, or hold something else than is needed.
    #[error("{}", lines(.failures))]
    Registry {
        /// What was asked for, and what came back.
        failures: Vec<(Reference, dockit_registry::Error)>,
    },
    /// What is to be promoted is not there.
    #[error("{}", .sources.iter().map(|source| format!("{source} is absent"))
        .collect::<Vec<_>>().join("\n"))]
    Absent {
        /// The manifests.
        sources: Vec<Reference>,
    },
    /// Tags that the promotion would create could not be removed again if it failed.
    #[error("new tags could not be removed again if the promotion failed:\n{}", .reasons.join("\n"))]
    NotRemovable {
        /// For each repository, why, indented.
        reasons: Vec<String>,
    },
    /// Another process promotes in this project.
    #[error("another promotion of this project is in progress")]
    InProgress,
    /// An earlier promotion was interrupted.
    #[error("promotion {id} was interrupted: {}", .journal.display())]
    Unfinished {
        /// What it is called.
        id: String,
        /// Where it is written what it wanted, and what was there before.
        journal: PathBuf,
    },
    /// There is nothing to finish.
    #[error("no promotion was interrupted")]
    NothingUnfinished,
    /// An interrupted promotion cannot go on: somebody else moved its tags.
    #[error("{}", .tags.iter().map(|tag| format!("{tag} was moved by somebody else meanwhile"))
        .collect::<Vec<_>>().join("\n"))]
    Moved {
        /// The tags.
        tags: Vec<Reference>,
    },
    /// The journal cannot be read or written.
    #[error("{}: {message}", file.display())]
    Journal {
        /// The file or directory.
        file: PathBuf,
        /// What is wrong.
        message: String,
    },
}

fn lines(failures: &[(Reference, dockit_registry::Error)]) -> String {
    let lines: Vec<String> =
        failures.iter().map(|(reference, error)| format!("{reference}: {error}")).collect();
    lines.join("\n")
}

impl From<LockfileError> for PromoteError {
    fn from(error: LockfileError) -> Self {
        Self::Project(error.into())
    }
}

impl From<VersionError> for PromoteError {
    fn from(error: VersionError) -> Self {
        Self::Project(error.into())
    }
}
