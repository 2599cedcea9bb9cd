//! A file system as instructions see it, and what they change in it.

mod changes;
mod context;
mod links;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::links::TooManyLinks;

/// The time of everything that has no other: 1980-01-02T00:00:00Z, which is the earliest that all
/// archive formats take, wherever they are unpacked.
pub const FIXED_TIME: i64 = 315_619_200;

/// Bytes of the longest path. No system takes longer ones, so no layer that has one can be unpacked.
pub const LONGEST_PATH: usize = 4096;

/// Names in the longest path. Nobody has directories so deep within each other, but an archive may, and
/// trees are walked by functions that call themselves.
pub const MOST_NAMES: usize = 512;

/// Everything in a file system, by path. The root is the empty path; no path begins or ends with `/`.
///
/// Cloning one is cheap: clones share everything until they are changed, and then all but what lies
/// on the way to the change.
#[derive(Clone, Debug)]
pub struct Tree {
    root: Arc<Entry>,
}

/// A node, and what it holds if it is a directory.
#[derive(Clone, Debug)]
struct Entry {
    node: Node,
    children: BTreeMap<Arc<[u8]>, Arc<Entry>>,
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
    /// The same number, from [`new_hard_link`], for all names of one file; 0 if it has only one.
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
    /// They are not what they were, or cannot be read, or `out` failed. An error that is none of
    /// `out` may hold an [`AssembleError`](crate::AssembleError), which
    /// [`AssembleError::from_io`](crate::AssembleError::from_io) takes out.
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// What a layer changes.
#[derive(Clone, Debug)]
pub enum Change {
    /// This is at the path afterwards, whatever was there. Of a directory, its attributes; what it holds
    /// stays.
    Put(Vec<u8>, Node),
    /// Nothing of what was there before the layer is there afterwards.
    Remove(Vec<u8>),
    /// Nothing of what the directory held before the layer is in it afterwards.
    Clear(Vec<u8>),
}

impl Change {
    /// Where it changes something.
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Put(path, _) | Self::Remove(path) | Self::Clear(path) => path,
        }
    }
}

/// A number that no other file with several names has in this process.
pub fn new_hard_link() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A path has more than [`LONGEST_PATH`] bytes or [`MOST_NAMES`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a path has more than {LONGEST_PATH} bytes or {MOST_NAMES} names")]
pub struct PathTooLong;

impl Default for Tree {
    fn default() -> Self {
        Self { root: Arc::new(Entry::new(Node::implicit_directory())) }
    }
}

impl Tree {
    /// What is at a path. No link is followed.
    pub fn get(&self, path: &[u8]) -> Option<&Node> {
        self.entry(path).map(|entry| &entry.node)
    }

    /// What a directory holds, by name; nothing if it is none. No link is followed.
    pub fn children(&self, path: &[u8]) -> impl Iterator<Item = (&[u8], &Node)> {
        let entry = self.entry(path);
        let children = entry.into_iter().flat_map(|entry| &entry.children);
        children.map(|(name, child)| (&**name, &child.node))
    }

    /// Everything but the root: a directory comes before what it holds, in the order of names.
    pub fn walk(&self, found: &mut dyn FnMut(&[u8], &Node)) {
        self.root.walk(&mut Vec::new(), found);
    }

    /// Puts a node at a path, whatever was there. Of a directory that is there, what it holds stays.
    /// Directories that are missing on the way are made, in the place of what else is there.
    ///
    /// # Errors
    ///
    /// The path is too long.
    pub fn put(&mut self, path: &[u8], node: Node) -> Result<(), PathTooLong> {
        if path.len() > LONGEST_PATH || components(path).count() > MOST_NAMES {
            return Err(PathTooLong);
        }
        let mut entry = Arc::make_mut(&mut self.root);
        for name in components(path) {
            if !entry.node.is_directory() {
                *entry = Entry::new(Node::implicit_directory());
            }
            let child = entry
                .children
                .entry(name.into())
                .or_insert_with(|| Arc::new(Entry::new(Node::implicit_directory())));
            entry = Arc::make_mut(child);
        }
        if !node.is_directory() {
            entry.children.clear();
        }
        entry.node = node;
        Ok(())
    }

    /// Removes what is at a path, with everything below. The root stays, empty.
    pub fn remove(&mut self, path: &[u8]) {
        let Some((directory, name)) = split(path) else {
            return self.clear(path);
        };
        if self.get(path).is_some()
            && let Some(entry) = self.entry_mut(directory)
        {
            entry.children.remove(name);
        }
    }

    /// Removes what a directory holds.
    pub fn clear(&mut self, path: &[u8]) {
        if self.children(path).next().is_some()
            && let Some(entry) = self.entry_mut(path)
        {
            entry.children.clear();
        }
    }

    /// Changes attributes of what is at a path, if something is.
    pub fn update(&mut self, path: &[u8], change: impl FnOnce(&mut Meta)) {
        if let Some(entry) = self.entry_mut(path) {
            change(&mut entry.node.meta);
        }
    }

    fn entry(&self, path: &[u8]) -> Option<&Entry> {
        components(path).try_fold(&*self.root, |entry, name| Some(&**entry.children.get(name)?))
    }

    fn entry_mut(&mut self, path: &[u8]) -> Option<&mut Entry> {
        components(path).try_fold(Arc::make_mut(&mut self.root), |entry, name| {
            Some(Arc::make_mut(entry.children.get_mut(name)?))
        })
    }
}

impl Entry {
    fn new(node: Node) -> Self {
        Self { node, children: BTreeMap::new() }
    }

    fn walk(&self, path: &mut Vec<u8>, found: &mut dyn FnMut(&[u8], &Node)) {
        for (name, child) in &self.children {
            let length = path.len();
            push(path, name);
            found(path, &child.node);
            child.walk(path, found);
            path.truncate(length);
        }
    }
}

impl Node {
    /// A directory that nobody described.
    pub fn implicit_directory() -> Self {
        let meta = Meta { mode: 0o755, modified: FIXED_TIME, ..Meta::default() };
        Self { kind: NodeKind::Directory, meta }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, NodeKind::Directory)
    }
}

/// The names on the way to a path; none for the root.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

/// The directory that holds a path, and its name in there; none for the root.
pub(crate) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    Some(match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    })
}

/// The path of a name in a directory.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    push(&mut path, name);
    path
}

fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

impl fmt::Debug for FileNode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FileNode({} bytes)", self.size)
    }
}
