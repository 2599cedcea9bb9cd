//! A file system as instructions see it, and what they change in it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

/// Everything in a file system, by path. The root is the empty path; no path begins or ends with `/`.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// By path, sorted by the bytes of whole paths.
    pub nodes: BTreeMap<Vec<u8>, Node>,
}

/// What is at a path.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Everything else that is kept of it.
    pub meta: Meta,
}

/// What is at a path, without its attributes.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A regular file.
    File(FileNode),
    /// A symbolic link.
    Symlink {
        /// The link's text, raw.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A regular file.
#[derive(Clone)]
pub struct FileNode {
    /// Bytes in it.
    pub size: u64,
    /// What they are.
    pub content: Arc<dyn FileContent>,
    /// The same number, unless 0, for all names of one file of an image.
    pub hard_link: u64,
}

/// Attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, with set-uid, set-gid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds since 1970.
    pub modified: i64,
    /// Nanoseconds besides.
    pub modified_nanos: u32,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The bytes of a file, wherever they lie. They can be read any number of times.
pub trait FileContent: Send + Sync {
    /// Writes all of them.
    ///
    /// # Errors
    ///
    /// They are not what they were, or cannot be read, or `out` failed.
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// What a layer changes.
#[derive(Clone, Debug)]
pub enum Change {
    /// This is at the path afterwards, whatever was there. Of a directory, its attributes; what it holds
    /// stays.
    Put(Vec<u8>, Node),
    /// Nothing is there afterwards.
    Remove(Vec<u8>),
}

impl std::fmt::Debug for FileNode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "FileNode({} bytes)", self.size)
    }
}
