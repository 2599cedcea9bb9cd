//! Fetching an image that a registry holds into an engine's store.

mod size;

use dockit_registry::{Digest, Platform, Reference, Registry};

use crate::backend::{Engine, KEY_LABEL, LocalImage, PullProgress};
use crate::execute::ImageError;

pub use size::{PullSize, sizes};

/// An image that was fetched.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The image in the engine's store.
    pub image: LocalImage,
    /// What became of its names, in the order in which they were given, the short one last.
    pub names: Vec<NamePut>,
}

/// What became of a name in an engine's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePut {
    /// The name.
    pub name: Reference,
    /// The engine's identifier of the image that had it before.
    pub previous: Option<String>,
    /// Whether that image keeps it.
    pub kept: bool,
}

/// Fetches the image of this digest from the repository of `source`, for one platform, and gives it
/// these names in the engine's store. What the engine has already is not fetched again.
///
/// `short` is a name without a registry, which may be somebody else's: an image without
/// [`KEY_LABEL`] keeps it. Between the look and the tag another may still take it.
///
/// # Errors
///
/// The credentials cannot be read, the registry or the engine refused.
pub async fn into_engine(
    registry: &dyn Registry,
    engine: &dyn Engine,
    source: &Reference,
    digest: &Digest,
    platform: &Platform,
    names: &[Reference],
    short: Option<&Reference>,
) -> Result<Pulled, ImageError> {
    let pinned = source.repository().with_digest(digest.clone());
    into_engine_told(registry, engine, &pinned, platform, names, short, &|_, _| {}).await
}

/// As [`into_engine`] for an image by digest, and tells how far it is where the engine says so.
///
/// # Errors
///
/// As [`into_engine`].
pub async fn into_engine_told(
    registry: &dyn Registry,
    engine: &dyn Engine,
    pinned: &Reference,
    platform: &Platform,
    names: &[Reference],
    short: Option<&Reference>,
    told: &PullProgress<'_>,
) -> Result<Pulled, ImageError> {
    let credential = registry.credential(pinned.repository().host()).await?;
    let local = engine.pull_told(pinned, platform, &credential, told).await?;
    let mut put = Vec::new();
    for name in names.iter().chain(short) {
        let before: Option<LocalImage> = engine.find(name).await?;
        let foreign =
            |before: &LocalImage| before.id != local.id && !before.labels.contains_key(KEY_LABEL);
        let kept = Some(name) == short && before.as_ref().is_some_and(foreign);
        if !kept {
            engine.tag(&local, name).await?;
        }
        let previous = before.map(|before| before.id).filter(|id| *id != local.id);
        put.push(NamePut { name: name.clone(), previous, kept });
    }
    Ok(Pulled { image: local, names: put })
}
