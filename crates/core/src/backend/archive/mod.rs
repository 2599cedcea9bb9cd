//! Whole images in and out of an engine: a rare ability beside building.
//!
//! What goes in and comes out is the archive that `docker save` writes: the image's configuration, its
//! layers unpacked, and `manifest.json`, which names them.

mod export;
mod load;

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

pub use export::export_to_layout;
pub use load::load_from_layout;

use super::{BackendError, LocalImage};

/// The bytes of an archive. An error in it ends whatever takes them.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// An engine that gives and takes whole images as archives.
#[async_trait]
pub trait ArchiveBackend: Send + Sync {
    /// An image of the engine's store, as `docker save` writes it.
    ///
    /// # Errors
    ///
    /// The engine cannot be asked; what goes wrong later ends the stream with an error.
    async fn export(&self, image: &LocalImage) -> Result<ByteStream, BackendError>;

    /// Takes an archive with one image, whose configuration has the identifier `config`, and says what it is
    /// called here. It gets no name.
    ///
    /// # Errors
    ///
    /// The engine refused, or the stream ended with an error.
    async fn load(&self, config: &str, archive: ByteStream) -> Result<LocalImage, BackendError>;

    /// The image with this identifier, if it is in the engine's store.
    ///
    /// # Errors
    ///
    /// The engine cannot be asked.
    async fn find_id(&self, id: &str) -> Result<Option<LocalImage>, BackendError>;
}
