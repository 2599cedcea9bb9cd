//! Blobs to upload.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use dockit_registry::manifest::Descriptor;
use dockit_registry::{BlobSource, BlobStream, Digest, Error};
use futures_util::{StreamExt as _, stream};

/// Bytes that come in pieces, and how often they were asked for.
pub(crate) struct Pieces {
    bytes: Bytes,
    opened: AtomicUsize,
}

impl Pieces {
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), opened: AtomicUsize::new(0) }
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        describe(&self.bytes)
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl BlobSource for Pieces {
    async fn open(&self) -> Result<BlobStream, Error> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let bytes = self.bytes.clone();
        let pieces = (0..bytes.len())
            .step_by(100_000)
            .map(move |start| Ok(bytes.slice(start..bytes.len().min(start + 100_000))));
        Ok(stream::iter(pieces.collect::<Vec<_>>()).boxed())
    }
}

/// What points to these bytes.
pub(crate) fn describe(bytes: &[u8]) -> Descriptor {
    Descriptor::new("application/octet-stream".to_owned(), Digest::of(bytes), bytes.len() as u64)
}

/// All of a stream, or the error it ends with.
pub(crate) async fn collect(mut stream: BlobStream) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}
