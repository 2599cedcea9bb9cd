//! What packing a layer takes at least: reading the files, hashing what they hold, compressing it, and
//! hashing what that comes to.

use std::fs::{self, File};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use sha2::{Digest as _, Sha256};

/// Bytes that are compressed at once, as layers are.
const PIECE: u64 = 1024 * 1024;

/// As layers are compressed.
const LEVEL: i32 = 6;

/// A part of a file.
struct Part {
    path: PathBuf,
    offset: u64,
    length: u64,
}

/// The files below a directory, in pieces of about the same size.
pub struct Pieces(Vec<Vec<Part>>);

impl Pieces {
    /// Lists them.
    ///
    /// # Errors
    ///
    /// A directory cannot be read.
    pub fn of(root: &Path) -> io::Result<Self> {
        let mut pieces = vec![Vec::new()];
        let mut room = PIECE;
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory)? {
                let entry = entry?;
                let path = entry.path();
                if entry.file_type()?.is_dir() {
                    directories.push(path);
                    continue;
                }
                let size = entry.metadata()?.len();
                let mut offset = 0;
                while offset < size {
                    if room == 0 {
                        pieces.push(Vec::new());
                        room = PIECE;
                    }
                    let length = room.min(size - offset);
                    let part = Part { path: path.clone(), offset, length };
                    pieces.last_mut().expect("there is one from the start").push(part);
                    offset += length;
                    room -= length;
                }
            }
        }
        Ok(Self(pieces))
    }

    /// Reads, hashes, compresses and hashes on all cores, as if nothing had to be put in order, and tells
    /// the compressed bytes.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub fn read_hash_compress(&self) -> io::Result<usize> {
        let next = AtomicUsize::new(0);
        let run = || -> io::Result<usize> {
            let level =
                libdeflater::CompressionLvl::new(LEVEL).map_err(|_| io::Error::other("level"))?;
            let mut compressor = libdeflater::Compressor::new(level);
            let mut piece = vec![0; PIECE as usize];
            let mut packed = vec![0; compressor.gzip_compress_bound(piece.len())];
            let mut sum = 0;
            while let Some(parts) = self.0.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut filled = 0;
                for Part { path, offset, length } in parts {
                    let end = filled + *length as usize;
                    File::open(path)?.read_exact_at(&mut piece[filled..end], *offset)?;
                    filled = end;
                }
                std::hint::black_box(Sha256::digest(&piece[..filled]));
                let size = compressor
                    .gzip_compress(&piece[..filled], &mut packed)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                std::hint::black_box(Sha256::digest(&packed[..size]));
                sum += size;
            }
            Ok(sum)
        };
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(run)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| io::Error::other("panic"))?)
                .sum()
        })
    }
}
