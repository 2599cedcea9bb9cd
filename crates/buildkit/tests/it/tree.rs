//! A build context in memory, or made up.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use dockit_buildkit::{Entry, EntryKind, FileTree, compare_paths};

/// 1980-01-02T00:00:00Z.
pub(crate) const TIME: i64 = 315_619_200;

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Directory,
    File(Vec<u8>),
    /// A file of so many zeros, which is nowhere.
    Zeros(u64),
    /// A file that cannot be read any more, after so many bytes.
    Changed(usize),
    /// A file of 1000 bytes that has so many now.
    Resized(usize),
    Symlink(Vec<u8>),
}

#[derive(Debug, Default)]
pub(crate) struct Tree {
    entries: Vec<(Vec<u8>, u32, Node)>,
    /// How many bytes were asked for.
    pub(crate) written: AtomicU64,
}

impl Tree {
    /// A tree of these, in BuildKit's order.
    pub(crate) fn new(entries: impl IntoIterator<Item = (impl AsRef<[u8]>, u32, Node)>) -> Self {
        let entries = entries.into_iter();
        let mut entries: Vec<_> =
            entries.map(|(path, mode, node)| (path.as_ref().to_vec(), mode, node)).collect();
        entries.sort_by(|one, other| compare_paths(&one.0, &other.0));
        Self { entries, written: AtomicU64::new(0) }
    }

    /// A tree with a file.
    pub(crate) fn file(path: &str, content: &str) -> Self {
        Self::new([(path, 0o644, Node::File(content.into()))])
    }
}

impl FileTree for Tree {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&self, number: usize) -> Entry<'_> {
        let (path, mode, node) = &self.entries[number];
        let kind = match node {
            Node::Directory => EntryKind::Directory,
            Node::File(content) => EntryKind::File { size: content.len() as u64 },
            Node::Zeros(size) => EntryKind::File { size: *size },
            Node::Changed(_) => EntryKind::File { size: 1 << 20 },
            Node::Resized(_) => EntryKind::File { size: 1000 },
            Node::Symlink(target) => EntryKind::Symlink { target },
        };
        Entry { path, kind, mode: *mode, modified: TIME }
    }

    fn write_content(&self, number: usize, out: &mut dyn Write) -> io::Result<()> {
        let mut write = |bytes: &[u8]| {
            self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            out.write_all(bytes)
        };
        let (path, _, node) = &self.entries[number];
        match node {
            Node::File(content) => write(content),
            Node::Zeros(size) => {
                let piece = vec![0; 100_000];
                let mut left = *size;
                while left > 0 {
                    let length = left.min(piece.len() as u64);
                    write(&piece[..usize::try_from(length).unwrap()])?;
                    left -= length;
                }
                Ok(())
            }
            Node::Resized(now) => write(&vec![b'x'; *now]),
            Node::Changed(after) => {
                write(&vec![b'x'; *after])?;
                let path = path.escape_ascii();
                Err(io::Error::other(format!("{path} changed since it was listed")))
            }
            Node::Directory | Node::Symlink(_) => unreachable!("only files have content"),
        }
    }
}
