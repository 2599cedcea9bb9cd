//! What is in a build context, and the hash of it.

use std::fmt;
use std::sync::Arc;

use super::digest::FileDigest;
use super::mode::FileMode;
use super::path::ContextPath;
use crate::content_hash::{ContentHash, Framer};

const DOMAIN: &str = "dockit-listing-1";

/// Everything in a build context as it was when it was read, sorted by the bytes of the paths.
///
/// The root itself is no entry. Cloning one is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct Listing {
    entries: Arc<Vec<Entry>>,
    hash: ContentHash,
    files: u64,
    bytes: u64,
    reads_dockerfile: bool,
}

/// One path of a build context, and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(super) path: ContextPath,
    pub(super) node: Node,
}

/// What is at a path.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Node {
    /// A directory, empty or not.
    Directory {
        /// Its mode; [`FileMode::DIRECTORY`] unless modes are strict.
        mode: FileMode,
    },
    /// A regular file.
    File {
        /// Its mode, normalised unless modes are strict.
        mode: FileMode,
        /// Bytes in it.
        size: u64,
        /// The digest of its content.
        digest: FileDigest,
    },
    /// A symbolic link, wherever it leads. Its mode counts as 0777.
    Symlink {
        /// The link's text, raw.
        target: Box<[u8]>,
    },
}

impl Listing {
    /// Takes entries sorted by path, each path once, and whether the selection they were made of
    /// covers the archive's own Dockerfile.
    pub(super) fn new(entries: Vec<Entry>, reads_dockerfile: bool) -> Self {
        debug_assert!(entries.is_sorted_by(|one, next| one.path < next.path));
        let sizes = || {
            entries.iter().filter_map(|entry| match entry.node {
                Node::File { size, .. } => Some(size),
                Node::Directory { .. } | Node::Symlink { .. } => None,
            })
        };
        // What was only written down may have any sizes.
        let bytes = sizes().fold(0, u64::saturating_add);
        let files = sizes().count() as u64;
        let hash = hash(&entries);
        Self { entries: Arc::new(entries), hash, files, bytes, reads_dockerfile }
    }

    /// A listing that was written down. Whether it was ever that of a build context is not checked, nor
    /// is known whether it [reads the Dockerfile](Self::reads_dockerfile).
    ///
    /// # Errors
    ///
    /// The entries are not sorted by the bytes of their paths, or a path is there twice.
    pub fn from_entries(entries: Vec<Entry>) -> Result<Self, Unsorted> {
        let wrong = entries.windows(2).find(|pair| pair[0].path >= pair[1].path);
        match wrong {
            Some(pair) => Err(Unsorted { path: pair[1].path.clone() }),
            None => Ok(Self::new(entries, false)),
        }
    }

    /// What is there, sorted by the bytes of the paths: a directory comes before what it holds.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The hash of all entries; docs/key-format.md, "Context listing", has the bytes.
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// How many regular files there are.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// How many bytes are in all regular files together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the build can read the Dockerfile that the [`Archive`](super::Archive) holds, because
    /// it reads the context's root, or something that matches the name, or a link leads there. The
    /// Dockerfile's text is then an input like any file's content; it is not in the hash.
    pub fn reads_dockerfile(&self) -> bool {
        self.reads_dockerfile
    }
}

/// An entry that does not come after the one before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not listed in the order of paths, or is listed twice")]
pub struct Unsorted {
    path: ContextPath,
}

impl Entry {
    /// An entry that was written down.
    pub fn new(path: ContextPath, node: Node) -> Self {
        Self { path, node }
    }

    /// Where it is.
    pub fn path(&self) -> &ContextPath {
        &self.path
    }

    /// What it is.
    pub fn node(&self) -> &Node {
        &self.node
    }
}

fn hash(entries: &[Entry]) -> ContentHash {
    const DIRECTORY: u64 = 1;
    const FILE: u64 = 2;
    const SYMLINK: u64 = 3;
    const SYMLINK_MODE: u64 = 0o777;
    const WHOLE: u64 = 1;
    const LEAVES: u64 = 2;

    let mut framer = Framer::new(DOMAIN);
    framer.list(entries.len());
    for entry in entries {
        framer.bytes(entry.path.as_bytes());
        match &entry.node {
            Node::Directory { mode } => framer.number(DIRECTORY).number(mode.bits().into()),
            Node::File { mode, size, digest } => {
                let (kind, hash) = match digest {
                    FileDigest::Whole(hash) => (WHOLE, *hash),
                    FileDigest::Leaves(hash) => (LEAVES, *hash),
                };
                framer.number(FILE).number(mode.bits().into());
                framer.number(*size).number(kind).hash(hash)
            }
            Node::Symlink { target } => framer.number(SYMLINK).number(SYMLINK_MODE).bytes(target),
        };
    }
    framer.finish()
}

impl fmt::Debug for Listing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.entries.iter()).finish()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { mode } => write!(formatter, "Directory({mode})"),
            Self::File { mode, size, digest } => {
                write!(formatter, "File({mode}, {size} bytes, {digest:?})")
            }
            Self::Symlink { target } => write!(formatter, "Symlink({})", target.escape_ascii()),
        }
    }
}
