//! What pulls would transfer, learnt from manifests before anything is.

use std::collections::BTreeSet;

use dockit_registry::{
    Digest, Error, ErrorKind, ImageChoice, Platform, Reference, Registry, choose_image,
};

use crate::backend::Engine;
use crate::execute::ImageError;

/// What pulling an image would transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullSize {
    /// Bytes of its compressed layers and its config.
    pub whole: u64,
    /// What of that has to be transferred: neither with an image before it, nor there already. An engine
    /// may hold layers of other images besides, which nothing tells: so it is rather too much.
    pub transfer: u64,
    /// Whether the engine has the image.
    pub present: bool,
}

/// Finds out what pulling these images in this order would transfer, each by its digest for one
/// platform. Fetches manifests and nothing else.
///
/// # Errors
///
/// A manifest cannot be read, there is no image for the platform, or the engine does not say what it
/// has.
pub async fn sizes(
    registry: &dyn Registry,
    engine: &dyn Engine,
    images: &[(Reference, Platform)],
) -> Result<Vec<PullSize>, ImageError> {
    let mut counted: BTreeSet<Digest> = BTreeSet::new();
    let mut sizes = Vec::new();
    for (image, platform) in images {
        let top = registry.manifest(image).await?;
        let chosen = match choose_image(registry, image.repository(), &top, platform).await? {
            ImageChoice::Image(chosen) => chosen,
            _ => {
                let message = format!("{image} has no image for {platform}");
                return Err(Error::new(ErrorKind::WrongPlatform, message).into());
            }
        };
        // An engine calls an image by the digest of its config, or else of its manifest. One that is there
        // for another platform has another.
        let config = chosen.manifest.config.digest.clone();
        let is_it = |id: &str| id == config.as_str() || id == chosen.digest.as_str();
        let present = engine.find(image).await?.is_some_and(|local| is_it(&local.id));
        let blobs = std::iter::once(&chosen.manifest.config).chain(&chosen.manifest.layers);
        let mut size = PullSize { whole: 0, transfer: 0, present };
        for blob in blobs {
            size.whole = size.whole.saturating_add(blob.size);
            let is_first = counted.insert(blob.digest.clone());
            if is_first && !present {
                size.transfer = size.transfer.saturating_add(blob.size);
            }
        }
        sizes.push(size);
    }
    Ok(sizes)
}
