//! The registries that the contract is checked against.

mod acr;
#[cfg(feature = "azure")]
mod acr_identity;
#[cfg(feature = "aws")]
pub(crate) mod ecr;
mod gitlab;
mod google;
mod htpasswd;
mod plain;
mod token;

use dockit_registry::{ErrorKind, ManifestDeletion, TagDeletion, TimeSource};

use super::{Expected, ExpectedEntries};

/// What Debian's `docker-registry` 2.8.2 does.
fn distribution() -> Expected {
    Expected {
        delete_tag: TagDeletion::BySubstitute,
        delete_manifest: ManifestDeletion::RemovesTags,
        mounts: true,
        tags_of_missing_repository: Err(ErrorKind::NotFound),
        creates_repositories: true,
        entries: ExpectedEntries {
            time_source: TimeSource::ConfigCreated,
            sizes: true,
            media_types: true,
            untagged: false,
            of_missing_repository: Err(ErrorKind::NotFound),
        },
    }
}
