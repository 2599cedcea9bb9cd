//! Streaming the archive of a build context to the engine, however large it is.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use dockit_hashing::context::{Archive, ContextError, Listing};
use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::{BackendError, BackendErrorKind};

/// Bytes in one piece of the body.
const CHUNK: usize = 256 * 1024;

/// Pieces that wait for the engine; packing waits when there are more.
const PENDING_CHUNKS: usize = 8;

/// An archive being packed by a thread of its own.
pub(super) struct Packing(JoinHandle<Result<(), ContextError>>);

/// Starts packing. The stream ends with an error where packing failed, so that the engine never
/// takes half an archive for a whole one.
pub(super) fn pack(
    context: PathBuf,
    listing: Arc<Listing>,
    dockerfile: Vec<u8>,
) -> (Packing, impl Stream<Item = io::Result<Bytes>> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(PENDING_CHUNKS);
    let packing = tokio::task::spawn_blocking(move || {
        let mut out = ChunkWriter { sender, chunk: Vec::with_capacity(CHUNK) };
        let archive = Archive::new(&context, &listing, &dockerfile);
        let result = archive.write_to(&mut out);
        let end = match &result {
            Ok(()) => out.flush(),
            Err(error) => out.send(Err(io::Error::other(error.to_string()))),
        };
        // The engine may close the connection once it knows enough; its answer says why.
        drop(end);
        result
    });
    let stream = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
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

struct ChunkWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl ChunkWriter {
    fn send(&mut self, chunk: io::Result<Bytes>) -> io::Result<()> {
        self.sender
            .blocking_send(chunk)
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the engine stopped reading"))
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.send(Ok(chunk.into()))
    }
}
