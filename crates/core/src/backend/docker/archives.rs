//! Whole images in and out of the engine.

use async_trait::async_trait;
use bollard::query_parameters::ImportImageOptionsBuilder;
use futures_util::StreamExt as _;
use std::io;

use super::DockerEngine;
use super::failure::describe;
use crate::backend::archive::{ArchiveBackend, ByteStream};
use crate::backend::{BackendError, BackendErrorKind, LocalImage};

/// How the engine ends its word on what it has loaded.
const LOADED: [&str; 2] = ["Loaded image ID: ", "Loaded image: "];

#[async_trait]
impl ArchiveBackend for DockerEngine {
    async fn export(&self, image: &LocalImage) -> Result<ByteStream, BackendError> {
        // An error in the middle of the stream cannot say that there is none.
        self.present(&image.id).await?;
        let client = self.client().await?.clone();
        let id = image.id.clone();
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        // The stream of the engine borrows the client.
        tokio::spawn(async move {
            let mut pieces = std::pin::pin!(client.export_image(&id));
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(|error| io::Error::other(describe(&error)));
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        let next = |mut receiver: tokio::sync::mpsc::Receiver<_>| async move {
            receiver.recv().await.map(|piece| (piece, receiver))
        };
        Ok(futures_util::stream::unfold(receiver, next).boxed())
    }

    async fn load(&self, config: &str, archive: ByteStream) -> Result<LocalImage, BackendError> {
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let body = bollard::body_try_stream(archive);
        let mut events = self.client().await?.import_image(options, body, None);
        let mut called = None;
        while let Some(event) = self.next_word(&mut events).await? {
            let info = event.map_err(|error| self.failed(BackendErrorKind::Engine, &error))?;
            if let Some(refusal) = info.error_detail.and_then(|error| error.message) {
                return Err(BackendError::new(BackendErrorKind::Engine, refusal));
            }
            let said = info.stream.as_deref().and_then(loaded).map(str::to_owned);
            called = said.or(called);
        }
        drop(events);
        if let Some(local) = self.inspect(config).await? {
            return Ok(local);
        }
        match called {
            Some(called) => self.present(&called).await,
            // The stream of an engine that dies simply ends.
            None => Err(self.unavailable("the engine took an image and did not say so".to_owned())),
        }
    }

    async fn find_id(&self, id: &str) -> Result<Option<LocalImage>, BackendError> {
        self.inspect(id).await
    }
}

/// What the engine calls what it has loaded.
fn loaded(line: &str) -> Option<&str> {
    let line = line.trim();
    LOADED.iter().find_map(|start| line.strip_prefix(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_loaded_is_read_from_the_last_word() {
        for (line, expected) in [
            ("Loaded image ID: sha256:ab\n", Some("sha256:ab")),
            ("Loaded image: localhost/a:b\n", Some("localhost/a:b")),
            ("Loading layer", None),
        ] {
            assert_eq!(loaded(line), expected);
        }
    }
}
