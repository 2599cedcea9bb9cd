//! Fetching an image that a registry holds into an engine's store.

use dockit_registry::{Digest, Platform, Reference, Registry};

use crate::backend::{BuildBackend, LocalImage};
use crate::execute::ImageError;

/// Fetches the image of this digest from the repository of `source`, for one platform, and gives it
/// these names in the engine's store. What the engine has already is not fetched again.
///
/// # Errors
///
/// The credentials cannot be read, the registry or the engine refused.
pub async fn into_engine(
    registry: &dyn Registry,
    engine: &dyn BuildBackend,
    source: &Reference,
    digest: &Digest,
    platform: &Platform,
    names: &[Reference],
) -> Result<LocalImage, ImageError> {
    let repository = source.repository();
    let credential = registry.credential(repository.host()).await?;
    let pinned = repository.with_digest(digest.clone());
    let local = engine.pull(&pinned, platform, &credential).await?;
    for name in names {
        engine.tag(&local, name).await?;
    }
    Ok(local)
}
