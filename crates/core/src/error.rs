//! The error of the whole story.

use crate::backend::BackendError;
use crate::bases::ResolveError;
use crate::config::Problems;
use crate::graph::UnknownImage;
use crate::key::KeysError;
use crate::lockfile::LockfileError;
use crate::lookup::LookupErrors;
use crate::prepare::PrepareError;
use crate::secrets::SecretErrors;
use crate::version::VersionError;

/// Why a plan or a run could not be made. Nothing was built and nothing was pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration or a Dockerfile is wrong.
    #[error(transparent)]
    Config(#[from] Problems),
    /// A selected image does not exist.
    #[error(transparent)]
    UnknownImage(#[from] UnknownImage),
    /// The lockfile cannot be read or written.
    #[error(transparent)]
    Lockfile(#[from] LockfileError),
    /// What has to run before keys are taken did not end well.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Keys cannot be computed.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// What builds mount cannot be had.
    #[error(transparent)]
    Secrets(#[from] SecretErrors),
    /// Images from elsewhere cannot be resolved.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Lookups failed.
    #[error(transparent)]
    Lookup(#[from] LookupErrors),
    /// There is no engine.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The project's version is not there.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// Options that contradict each other or the project.
    #[error("{0}")]
    Usage(String),
    /// `--locked`, and the lockfile would have to change.
    #[error("the lockfile would change: {0}")]
    Locked(String),
}
