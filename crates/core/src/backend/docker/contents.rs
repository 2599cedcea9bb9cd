//! What an image of the engine is made of.

use async_trait::async_trait;

use super::DockerEngine;
use crate::backend::contents::{ContentsBackend, EngineContents, EngineHistory};
use crate::backend::{BackendError, BackendErrorKind, LocalImage};

#[async_trait]
impl ContentsBackend for DockerEngine {
    async fn contents(&self, image: &LocalImage) -> Result<EngineContents, BackendError> {
        let client = self.client().await?;
        let failed = |error| self.failed(BackendErrorKind::Engine, &error);
        let found = client.inspect_image(&image.id).await.map_err(failed)?;
        let history = client.image_history(&image.id).await.map_err(failed)?;
        let layers = found.root_fs.and_then(|files| files.layers).unwrap_or_default();
        let layers = layers.iter().map(|layer| layer.parse()).collect::<Result<_, _>>();
        let layers = layers.map_err(|_| {
            let message = format!("{} has layers without digests", image.id);
            BackendError::new(BackendErrorKind::Engine, message)
        })?;
        let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
        Ok(EngineContents {
            size: bytes(found.size.unwrap_or(0)),
            layers,
            // The engine tells the newest first.
            history: history
                .into_iter()
                .rev()
                .map(|entry| EngineHistory { command: entry.created_by, size: bytes(entry.size) })
                .collect(),
        })
    }
}
