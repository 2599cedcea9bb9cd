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

use crate::contract::{Expected, ExpectedEntries};

/// Makes a test of every item of the contract, and of what takes another registry, or skopeo.
macro_rules! registry_tests {
    ($start:expr $(, $module:ident::$test:ident)* $(,)?) => {
        crate::contract::contract_tests!($start $(, $module::$test)*);

        #[tokio::test]
        async fn an_image_is_copied_between_registries() {
            crate::copies::an_image_is_copied_between_registries(&$start).await;
        }

        #[tokio::test]
        async fn skopeo_reads_what_we_put() {
            crate::skopeo::skopeo_reads_what_we_put(&$start).await;
        }

        #[tokio::test]
        async fn we_read_what_skopeo_put() {
            crate::skopeo::we_read_what_skopeo_put(&$start).await;
        }
    };
}
pub(crate) use registry_tests;

/// What Debian's `docker-registry` 2.8.2 does.
fn distribution() -> Expected {
    Expected {
        delete_tag: TagDeletion::BySubstitute,
        delete_manifest: ManifestDeletion::RemovesTags,
        mounts: true,
        shares_blobs: false,
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
