//! Blobs as streams.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::error::Error;

/// The bytes of a blob, in pieces of any size.
///
/// Whoever makes one for a descriptor sees that it has the descriptor's size and digest: a stream that
/// ended without an error was the whole blob. Until then nothing is proved about its bytes.
pub type BlobStream = BoxStream<'static, Result<Bytes, Error>>;

/// A blob that can be read any number of times, as uploads must that may have to begin again.
#[async_trait]
pub trait BlobSource: Send + Sync {
    /// Begins to read from the start.
    ///
    /// # Errors
    ///
    /// The blob cannot be read.
    async fn open(&self) -> Result<BlobStream, Error>;
}

#[async_trait]
impl BlobSource for Bytes {
    async fn open(&self) -> Result<BlobStream, Error> {
        let bytes = self.clone();
        Ok(Box::pin(futures_util::stream::once(async move { Ok(bytes) })))
    }
}

/// How a blob came to where it was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It was there already.
    Present,
    /// The registry took it from another of its repositories; no byte was moved.
    Mounted,
    /// Its bytes were written.
    Written,
}
