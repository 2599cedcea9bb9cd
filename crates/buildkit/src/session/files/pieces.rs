//! A writer into a stream of packets, from a thread in which blocking does no harm.

use std::io::{self, Write};

use bytes::Bytes;
use tokio::sync::mpsc;
use tonic::Status;

/// Bytes in one piece; what BuildKit's own client has.
const PIECE: usize = 32 * 1024;

/// Takes bytes, and sends them in pieces. What is left at the end goes with [`flush`](Write::flush).
pub(super) struct Pieces<T, F: Fn(Bytes) -> T> {
    packets: mpsc::Sender<Result<T, Status>>,
    packet: F,
    piece: Vec<u8>,
    written: u64,
    is_cut: bool,
}

impl<T, F: Fn(Bytes) -> T> Pieces<T, F> {
    /// Each piece becomes a `packet`.
    pub(super) fn new(packets: mpsc::Sender<Result<T, Status>>, packet: F) -> Self {
        Self { packets, packet, piece: Vec::new(), written: 0, is_cut: false }
    }

    /// How many bytes it was given.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Whether there is nobody to send to.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl<T, F: Fn(Bytes) -> T> Write for Pieces<T, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        self.written += taken as u64;
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        // A piece without bytes would be the end of a file.
        if self.piece.is_empty() {
            return Ok(());
        }
        let packet = (self.packet)(std::mem::take(&mut self.piece).into());
        self.packets.blocking_send(Ok(packet)).map_err(|_| {
            self.is_cut = true;
            io::Error::new(io::ErrorKind::BrokenPipe, "the receiver is gone")
        })
    }
}
