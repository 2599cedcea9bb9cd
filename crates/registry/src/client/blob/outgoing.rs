//! A blob on its way out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};

use crate::blob::{BlobSource, BlobStream};
use crate::client::transport::StreamBody;
use crate::error::Error;
use crate::manifest::Descriptor;
use crate::verifier::Verifier;

/// A blob as the body of a request.
///
/// Its last piece is held back until the source has ended and the bytes are known to be the blob's: a
/// registry never gets the whole of a wrong blob. What the source failed with is kept, so that it is not
/// taken for a failure of the registry.
pub(super) struct Outgoing<'a> {
    blob: &'a Descriptor,
    source: &'a dyn BlobSource,
    failure: Arc<Mutex<Option<Error>>>,
    sent: Arc<AtomicU64>,
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(blob: &'a Descriptor, source: &'a dyn BlobSource) -> Self {
        Self { blob, source, failure: Arc::default(), sent: Arc::default() }
    }

    /// How many bytes were handed on, all attempts together.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Keeps what the source failed with.
    pub(super) fn failed_with(&self, error: Error) -> Error {
        Self::keep(&self.failure, &error);
        error
    }

    /// What the source failed with, if it did.
    pub(super) fn failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The pieces, in which the last one comes only if all of them are the blob.
    pub(super) async fn pieces(&self) -> Result<BlobStream, Error> {
        let sent = Arc::clone(&self.sent);
        let stream = self.source.open().await?.inspect(move |piece| {
            let length = piece.as_ref().map_or(0, |piece| piece.len() as u64);
            sent.fetch_add(length, Ordering::Relaxed);
        });
        let state = (stream, Some(Verifier::new(self.blob)), None);
        Ok(Box::pin(stream::try_unfold(state, |(mut stream, verifier, mut held)| async move {
            let Some(mut verifier) = verifier else {
                return Ok(None);
            };
            loop {
                match stream.next().await {
                    Some(piece) => {
                        let piece = piece?;
                        verifier.update(&piece)?;
                        if let Some(last) = held.replace(piece) {
                            return Ok(Some((last, (stream, Some(verifier), held))));
                        }
                    }
                    None => {
                        verifier.finish()?;
                        return Ok(held.take().map(|last| (last, (stream, None, None))));
                    }
                }
            }
        })))
    }

    fn keep(failure: &Mutex<Option<Error>>, error: &Error) {
        *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
    }
}

#[async_trait]
impl StreamBody for Outgoing<'_> {
    fn length(&self) -> u64 {
        self.blob.size
    }

    async fn open(&self) -> Result<BlobStream, Error> {
        let failure = Arc::clone(&self.failure);
        let pieces = self.pieces().await.inspect_err(|error| Self::keep(&failure, error))?;
        Ok(Box::pin(pieces.inspect(move |piece| {
            if let Err(error) = piece {
                Self::keep(&failure, error);
            }
        })))
    }
}
