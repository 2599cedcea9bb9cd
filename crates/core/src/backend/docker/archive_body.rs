//! Streaming the archive of a build context to the engine, however large it is.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use dockit_hashing::context::{Archive, ContextError, Listing};
use futures_util::stream::Stream;
use tokio::task::JoinHandle;

use crate::backend::{BackendError, BackendErrorKind, channel};

/// An archive being packed by a thread of its own.
pub(super) struct Packing(JoinHandle<Result<(), ContextError>>);

/// Starts packing. The stream ends with an error where packing failed, so that the engine never
/// takes half an archive for a whole one.
pub(super) fn pack(
    context: PathBuf,
    listing: Arc<Listing>,
    dockerfile: Vec<u8>,
) -> (Packing, impl Stream<Item = io::Result<Bytes>> + Send + 'static) {
    let (mut out, stream) = channel::pipe();
    let packing = tokio::task::spawn_blocking(move || {
        let archive = Archive::new(&context, &listing, &dockerfile);
        let result = archive.write_to(&mut out);
        match &result {
            // The engine may close the connection once it knows enough; its answer says why.
            Ok(()) => drop(out.flush()),
            Err(error) => out.fail(io::Error::other(error.to_string())),
        }
        result
    });
    (Packing(packing), stream)
}

impl Packing {
    /// The packing's own result, once the stream was read or dropped.
    pub(super) async fn finish(self) -> Result<(), BackendError> {
        match self.0.await {
            // The engine stopped reading: its own answer says why.
            Ok(Err(error)) if error.is_broken_pipe() => Ok(()),
            Ok(Err(error)) => Err(BackendError::new(BackendErrorKind::Context, error.to_string())),
            Ok(Ok(())) => Ok(()),
            Err(error) => Err(BackendError::new(BackendErrorKind::Context, error.to_string())),
        }
    }
}
