//! Between streams, which wait, and readers and writers, which block.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::mpsc;

use super::archive::ByteStream;

/// Bytes in one piece.
const CHUNK: usize = 256 * 1024;

/// Pieces that may wait for the other side.
const PENDING_CHUNKS: usize = 8;

/// A writer for a thread that may block, and the stream of what is written.
pub(super) fn pipe() -> (ChunkWriter, impl Stream<Item = io::Result<Bytes>> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(PENDING_CHUNKS);
    let stream = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    (ChunkWriter { sender, chunk: Vec::with_capacity(CHUNK) }, stream)
}

/// What is written here is a stream elsewhere. What was not flushed is lost.
pub(super) struct ChunkWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl ChunkWriter {
    /// Ends the stream with an error.
    pub(super) fn fail(&self, error: io::Error) {
        // Who reads no more knows enough.
        drop(self.sender.blocking_send(Err(error)));
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
        self.sender
            .blocking_send(Ok(chunk.into()))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the engine stopped reading"))
    }
}

/// A reader, for a thread that may block, of what a stream brings while the returned future runs.
pub(super) fn reader(mut stream: ByteStream) -> (ChunkReader, impl Future<Output = ()> + Send) {
    let (sender, receiver) = mpsc::channel(PENDING_CHUNKS);
    let feeding = async move {
        while let Some(piece) = stream.next().await {
            let failed = piece.is_err();
            // The reader has ended, and says why.
            if sender.send(piece).await.is_err() || failed {
                return;
            }
        }
    };
    (ChunkReader { receiver, chunk: Bytes::new() }, feeding)
}

/// The reading side.
pub(super) struct ChunkReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let taken = out.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut out[..taken]);
        Ok(taken)
    }
}
