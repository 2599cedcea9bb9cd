//! What a build context holds, and its hash.

use std::fs::Metadata;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::ContextError;
use super::file_digest::{FileDigest, hash_file};
use super::walk::{Found, FoundNode, full_path};
use crate::content_hash::{ContentHash, Framer};

/// Bytes that are read at once.
const BUFFER: usize = 128 * 1024;

/// The entries of a build context, sorted by the bytes of their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    entries: Vec<Entry>,
}

/// A file, directory or link of a build context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path relative to the context as raw bytes, components joined by `/`.
    pub path: Vec<u8>,
    /// What is there.
    pub node: Node,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Node {
    /// A directory. Its mode is always 0755.
    Directory,
    /// A regular file.
    File {
        /// Its normalised mode.
        mode: FileMode,
        /// Its size in bytes.
        size: u64,
        /// The digest of its content.
        digest: FileDigest,
    },
    /// A symbolic link, which is not followed.
    Symlink {
        /// The link's text as raw bytes.
        target: Vec<u8>,
    },
}

/// A file's mode in the form that is the same on all machines: 0755 if its owner may execute it,
/// 0644 otherwise, and its setuid, setgid and sticky bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileMode(u32);

impl FileMode {
    /// Normalises 12 permission bits.
    pub fn normalise(bits: u32) -> Self {
        let permissions = if bits & 0o100 != 0 { 0o755 } else { 0o644 };
        Self(permissions | bits & 0o7000)
    }

    /// The 12 bits.
    pub fn bits(self) -> u32 {
        self.0
    }

    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        Self::normalise(metadata.permissions().mode())
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &Metadata) -> Self {
        Self(0o644)
    }
}

impl Listing {
    /// The entries, sorted by the bytes of their paths.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many regular files there are.
    pub fn files(&self) -> u64 {
        self.sizes().count() as u64
    }

    /// How many bytes the regular files have.
    pub fn bytes(&self) -> u64 {
        self.sizes().sum()
    }

    fn sizes(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().filter_map(|entry| match entry.node {
            Node::File { size, .. } => Some(size),
            _ => None,
        })
    }

    /// The hash of all entries, as `docs/key-format.md` says.
    pub fn hash(&self) -> ContentHash {
        let mut framer = Framer::new("dockit-listing-1");
        framer.number(self.entries.len() as u64);
        for entry in &self.entries {
            framer.bytes(&entry.path);
            match &entry.node {
                Node::Directory => {
                    framer.number(0);
                }
                Node::File { mode, size, digest } => {
                    framer.number(1).number(u64::from(mode.bits())).number(*size);
                    match digest {
                        FileDigest::Whole(hash) => framer.number(0).hash(*hash),
                        FileDigest::Leaves(hash) => framer.number(1).hash(*hash),
                    };
                }
                Node::Symlink { target } => {
                    framer.number(2).bytes(target);
                }
            }
        }
        framer.finish()
    }
}

/// Reads the files that a walk found, on all cores.
pub(super) fn hash_files(root: &Path, found: Vec<Found>) -> Result<Listing, ContextError> {
    let files: Vec<usize> = found
        .iter()
        .enumerate()
        .filter(|(_, found)| matches!(found.node, FoundNode::File { .. }))
        .map(|(index, _)| index)
        .collect();
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(files.len().max(1));
    let next = AtomicUsize::new(0);
    let hashed = Mutex::new(Vec::with_capacity(files.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut buffer = vec![0; BUFFER];
                let mut mine = Vec::new();
                while let Some(index) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let path = full_path(root, &found[*index].path);
                    let result = hash_file(&path, &mut buffer);
                    if result.is_err() {
                        next.store(files.len(), Ordering::Relaxed);
                    }
                    mine.push((*index, result));
                }
                hashed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).append(&mut mine);
            });
        }
    });
    let mut hashed = hashed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    hashed.sort_unstable_by_key(|(index, _)| *index);
    let mut hashed = hashed.into_iter();
    let mut entries = Vec::with_capacity(found.len());
    // With an error the files after it were not read: the first one in order ends the loop.
    for found in found {
        let node = match found.node {
            FoundNode::Directory => Node::Directory,
            FoundNode::Symlink { target } => Node::Symlink { target },
            FoundNode::File { mode } => {
                let Some((_, result)) = hashed.next() else {
                    unreachable!("every file was read, or an error was found before this one");
                };
                let (size, digest) = result?;
                Node::File { mode, size, digest }
            }
        };
        entries.push(Entry { path: found.path, node });
    }
    Ok(Listing { entries })
}
