//! Digests of files' contents, and reading files that somebody may be writing.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::error::{ContextError, ContextErrorKind};
use crate::content_hash::ContentHash;

/// Files up to this size are hashed whole; larger ones leaf by leaf.
const WHOLE_LIMIT: u64 = 1024 * 1024;

/// Size of a leaf.
const LEAF: usize = 64 * 1024;

/// Prefix of what is hashed over the leaves.
const TREE_DOMAIN: &[u8] = b"dockit-tree-v1";

/// The digest of a file's content. The two kinds are told apart in every listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileDigest {
    /// SHA-256 of the content, for files of at most 1 MiB.
    Whole(ContentHash),
    /// SHA-256 of `dockit-tree-v1`, the size as 8 bytes little-endian, and the SHA-256 of each
    /// 64 KiB leaf, for larger files: leaves can be hashed on several cores.
    Leaves(ContentHash),
}

/// Hashes what passes through, in the form that the size asks for.
enum Hasher {
    Whole(Sha256),
    Leaves { tree: Sha256, leaf: Sha256, filled: usize },
}

impl Hasher {
    fn new(size: u64) -> Self {
        if size <= WHOLE_LIMIT {
            return Self::Whole(Sha256::new());
        }
        let mut tree = Sha256::new();
        tree.update(TREE_DOMAIN);
        tree.update(size.to_le_bytes());
        Self::Leaves { tree, leaf: Sha256::new(), filled: 0 }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        match self {
            Self::Whole(hasher) => hasher.update(bytes),
            Self::Leaves { tree, leaf, filled } => {
                while !bytes.is_empty() {
                    let (now, later) = bytes.split_at(bytes.len().min(LEAF - *filled));
                    leaf.update(now);
                    *filled += now.len();
                    if *filled == LEAF {
                        tree.update(leaf.finalize_reset());
                        *filled = 0;
                    }
                    bytes = later;
                }
            }
        }
    }

    fn finish(self) -> FileDigest {
        match self {
            Self::Whole(hasher) => {
                FileDigest::Whole(ContentHash::from_bytes(hasher.finalize().into()))
            }
            Self::Leaves { mut tree, leaf, filled } => {
                if filled > 0 {
                    tree.update(leaf.finalize());
                }
                FileDigest::Leaves(ContentHash::from_bytes(tree.finalize().into()))
            }
        }
    }
}

/// Hashes a file; `buffer` is reused between files. One that changes meanwhile is read once more.
pub(super) fn hash_file(path: &Path, buffer: &mut [u8]) -> Result<(u64, FileDigest), ContextError> {
    match read_through(path, buffer, &mut io::sink()) {
        Err(error) if matches!(error.kind(), ContextErrorKind::Changed) => {
            read_through(path, buffer, &mut io::sink())
        }
        result => result,
    }
}

/// Copies a file of a known size to `out`, and returns the digest of what was copied.
pub(super) fn copy_file(
    path: &Path,
    expected_size: u64,
    out: &mut dyn Write,
) -> Result<FileDigest, ContextError> {
    let mut exactly = Exactly { out, left: expected_size };
    let mut buffer = vec![0; LEAF];
    let (size, digest) = read_through(path, &mut buffer, &mut exactly)?;
    if size != expected_size || exactly.left > 0 {
        return Err(ContextError::new(path, ContextErrorKind::Changed));
    }
    Ok(digest)
}

/// Passes on no more bytes than were announced: a file that grew must not shift what follows it.
struct Exactly<'a> {
    out: &'a mut dyn Write,
    left: u64,
}

impl Write for Exactly<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.out.write_all(&bytes[..fits])?;
        self.left -= fits as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn read_through(
    path: &Path,
    buffer: &mut [u8],
    out: &mut dyn Write,
) -> Result<(u64, FileDigest), ContextError> {
    let unreadable = |error| ContextError::unreadable(path, error);
    let changed = || ContextError::new(path, ContextErrorKind::Changed);
    let mut file = open(path).map_err(unreadable)?;
    let before = file.metadata().map_err(unreadable)?;
    if !before.is_file() {
        return Err(changed());
    }
    let size = before.len();
    let mut hasher = Hasher::new(size);
    let mut total: u64 = 0;
    loop {
        let read = match file.read(buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        total += read as u64;
        if total > size {
            return Err(changed());
        }
        hasher.update(&buffer[..read]);
        out.write_all(&buffer[..read])
            .map_err(|error| ContextError::new(path, ContextErrorKind::Write(error)))?;
    }
    let after = file.metadata().map_err(unreadable)?;
    if total != size || !same(&before, &after) {
        return Err(changed());
    }
    Ok((size, hasher.finish()))
}

/// Opens for reading without following a link and without waiting for a fifo's other end.
#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    let metadata = std::fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file any more"));
    }
    File::open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(unix)]
fn same(before: &Metadata, after: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let state = |metadata: &Metadata| {
        (
            metadata.size(),
            metadata.ino(),
            (metadata.mtime(), metadata.mtime_nsec()),
            (metadata.ctime(), metadata.ctime_nsec()),
        )
    };
    state(before) == state(after)
}

#[cfg(not(unix))]
fn same(before: &Metadata, after: &Metadata) -> bool {
    before.len() == after.len() && before.modified().ok() == after.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(content: &[u8]) -> FileDigest {
        let mut hasher = Hasher::new(content.len() as u64);
        for piece in content.chunks(10_007) {
            hasher.update(piece);
        }
        hasher.finish()
    }

    #[test]
    fn small_files_are_hashed_whole() {
        assert_eq!(digest_of(b"abc"), FileDigest::Whole(ContentHash::of(b"abc")));
        let limit = vec![7; WHOLE_LIMIT as usize];
        assert_eq!(digest_of(&limit), FileDigest::Whole(ContentHash::of(&limit)));
    }

    #[test]
    fn large_files_are_hashed_over_their_leaves() {
        for size in [WHOLE_LIMIT as usize + 1, 17 * LEAF, 17 * LEAF + 5] {
            let content: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            let mut expected = TREE_DOMAIN.to_vec();
            expected.extend((size as u64).to_le_bytes());
            for leaf in content.chunks(LEAF) {
                expected.extend(ContentHash::of(leaf).as_bytes());
            }
            assert_eq!(digest_of(&content), FileDigest::Leaves(ContentHash::of(&expected)));
        }
    }

    #[test]
    fn a_file_of_another_size_than_announced_is_refused_and_shifts_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, "12345").unwrap();
        for announced in [4, 6] {
            let mut out = Vec::new();
            let error = copy_file(&path, announced, &mut out).unwrap_err();
            assert!(matches!(error.kind(), ContextErrorKind::Changed), "{error}");
            assert!(out.len() as u64 <= announced);
        }
    }
}
