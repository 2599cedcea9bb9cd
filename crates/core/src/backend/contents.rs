//! What an image of an engine's store is made of: a rare ability beside building.

use async_trait::async_trait;
use dockit_registry::Digest;

use super::{BackendError, LocalImage};

/// An engine that says what its images are made of.
#[async_trait]
pub trait ContentsBackend: Send + Sync {
    /// What this image is made of.
    ///
    /// # Errors
    ///
    /// The engine cannot be asked, or has no such image.
    async fn contents(&self, image: &LocalImage) -> Result<EngineContents, BackendError>;
}

/// What an engine says about an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineContents {
    /// The bytes of all layers, unpacked.
    pub size: u64,
    /// The digests of the unpacked layers, the lowest first.
    pub layers: Vec<Digest>,
    /// What made the image, the oldest first.
    pub history: Vec<EngineHistory>,
}

/// One entry of an engine's history. Unlike an image's config, it does not say whether there is a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineHistory {
    /// The command.
    pub command: String,
    /// The bytes that it added, unpacked.
    pub size: u64,
}
