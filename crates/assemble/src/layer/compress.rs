//! Compressing a layer, on several threads, to bytes that are the same on every machine.
//!
//! A layer is cut into pieces of a fixed size, and each is compressed by itself: to a member of a gzip
//! file (RFC 1952, 2.2) or to a frame of Zstandard (RFC 8878, 3.1). Readers take a sequence of them for
//! what they hold together; that of gzip is what eStargz and BGZF files are as well. So the bytes
//! follow from the content alone, not from how many threads there were.
//!
//! Neither compressor chooses what it does by the processor's abilities: they use its instructions only for
//! checksums and for copying. (zlib-ng and zlib-rs choose hash functions by them, and so their output.)

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use dockit_registry::Digest;
use dockit_registry::layout::NewBlob;
use dockit_registry::manifest::Descriptor;
use sha2::{Digest as _, Sha256};

use crate::assemble::Compression;

/// What gzip's default is in other programs, too.
const GZIP_LEVEL: i32 = 6;

/// What Zstandard's default is. Its strategy, and so its result, is the same on every processor; those of
/// levels 5 to 12 depend on whether there are vector instructions.
const ZSTD_LEVEL: i32 = 3;

/// Bytes that become one member of a gzip file: at this size, what each member has to learn anew costs
/// less than a hundredth.
const GZIP_PIECE: usize = 1024 * 1024;

/// Bytes that become one frame. Twice the window of the level.
const ZSTD_PIECE: usize = 4 * 1024 * 1024;

impl Compression {
    /// The media type of a layer that is packed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    fn encoder(self) -> io::Result<Encoder> {
        match self {
            Self::None => Ok(Encoder::None),
            Self::Gzip => {
                let level = libdeflater::CompressionLvl::new(GZIP_LEVEL)
                    .expect("a level that the library has");
                Ok(Encoder::Gzip(libdeflater::Compressor::new(level)))
            }
            Self::Zstd => {
                let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
                compressor.include_checksum(true)?;
                Ok(Encoder::Zstd(compressor))
            }
        }
    }

    fn piece(self) -> usize {
        match self {
            Self::None | Self::Gzip => GZIP_PIECE,
            Self::Zstd => ZSTD_PIECE,
        }
    }
}

/// Compresses one piece after another.
enum Encoder {
    None,
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    fn encode(&mut self, piece: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(piece),
            Self::Gzip(compressor) => {
                let mut packed = vec![0; compressor.gzip_compress_bound(piece.len())];
                let size = compressor
                    .gzip_compress(&piece, &mut packed)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                packed.truncate(size);
                Ok(packed)
            }
            Self::Zstd(compressor) => compressor.compress(&piece),
        }
    }
}

/// Takes the bytes of a layer, and writes them compressed. Holds a few pieces for each thread.
pub(super) struct Compressor<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    compression: Compression,
    threads: usize,
    /// What is not compressed yet: at most one piece.
    piece: Vec<u8>,
    hasher: Sha256,
    state: State<'scope>,
}

enum State<'scope> {
    /// All is done here: what fits into one piece is not worth a thread.
    Alone(Encoder, Box<NewBlob>),
    Shared(Shared<'scope>),
    Failed,
}

/// Threads at work.
struct Shared<'scope> {
    jobs: SyncSender<Job>,
    /// Where the results come, in the order of the pieces.
    order: SyncSender<Receiver<io::Result<Vec<u8>>>>,
    writer: ScopedJoinHandle<'scope, io::Result<NewBlob>>,
}

struct Job {
    piece: Vec<u8>,
    result: Sender<io::Result<Vec<u8>>>,
}

impl<'scope, 'env> Compressor<'scope, 'env> {
    pub(super) fn new(
        scope: &'scope Scope<'scope, 'env>,
        compression: Compression,
        threads: usize,
        blob: NewBlob,
    ) -> io::Result<Self> {
        Ok(Self {
            scope,
            compression,
            threads,
            piece: Vec::new(),
            hasher: Sha256::new(),
            state: State::Alone(compression.encoder()?, Box::new(blob)),
        })
    }

    /// Finishes the blob. Returns what it is, and the digest of what was written here.
    pub(super) fn finish(mut self) -> io::Result<(Descriptor, Digest)> {
        self.give_away()?;
        let blob = match std::mem::replace(&mut self.state, State::Failed) {
            State::Alone(_, blob) => *blob,
            State::Shared(shared) => shared.finish()?,
            State::Failed => return Err(failed()),
        };
        let descriptor = blob.finish(self.compression.media_type()).map_err(io::Error::other)?;
        let written = match self.compression {
            // The blob was hashed as it was written.
            Compression::None => descriptor.digest.clone(),
            _ => digest(self.hasher),
        };
        Ok((descriptor, written))
    }

    /// Has the piece compressed.
    fn give_away(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.piece);
        match &mut self.state {
            State::Alone(encoder, blob) => blob.write_all(&encoder.encode(piece)?),
            State::Shared(shared) => {
                let (result, coming) = mpsc::channel();
                if shared.order.send(coming).is_ok()
                    && shared.jobs.send(Job { piece, result }).is_ok()
                {
                    return Ok(());
                }
                // The writer has ended, and knows why.
                match std::mem::replace(&mut self.state, State::Failed) {
                    State::Shared(shared) => shared.finish().and_then(|_| Err(failed())),
                    _ => Err(failed()),
                }
            }
            State::Failed => Err(failed()),
        }
    }

    /// Starts the threads.
    fn share(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Alone(_, blob) => {
                let shared = Shared::start(self.scope, self.compression, self.threads, *blob)?;
                self.state = State::Shared(shared);
            }
            state => self.state = state,
        }
        Ok(())
    }
}

impl Write for Compressor<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.compression.piece();
        // A full piece waits for the next byte, so that a layer of one piece starts no thread.
        if self.piece.len() == size {
            if self.threads > 1 && self.compression != Compression::None {
                self.share()?;
            }
            self.give_away()?;
        }
        let taken = bytes.len().min(size - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.compression != Compression::None {
            self.hasher.update(&bytes[..taken]);
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'scope> Shared<'scope> {
    fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        compression: Compression,
        threads: usize,
        mut blob: NewBlob,
    ) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel::<Job>(threads);
        // Pieces that are compressed, or are being: as many more may wait for one that takes long.
        let (order, results) = mpsc::sync_channel::<Receiver<io::Result<Vec<u8>>>>(2 * threads);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads {
            let waiting = Arc::clone(&waiting);
            let mut encoder = compression.encoder()?;
            scope.spawn(move || {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Job { piece, result }) = next else {
                        return;
                    };
                    // If nobody waits for it, the writer has failed.
                    let _ = result.send(encoder.encode(piece));
                }
            });
        }
        let writer = scope.spawn(move || {
            for result in results {
                let packed = result.recv().map_err(|_| failed())??;
                blob.write_all(&packed)?;
            }
            Ok(blob)
        });
        Ok(Self { jobs, order, writer })
    }

    fn finish(self) -> io::Result<NewBlob> {
        let Self { jobs, order, writer } = self;
        drop((jobs, order));
        writer.join().map_err(|_| failed())?
    }
}

fn failed() -> io::Error {
    io::Error::other("a thread that compresses has failed")
}

/// The digest that a hasher ended with.
pub(super) fn digest(hasher: Sha256) -> Digest {
    let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}").parse().expect("64 hex digits")
}
