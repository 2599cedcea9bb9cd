//! The files of a build context.

use std::io::{self, Write};

/// Files that a build may read, and nothing else.
///
/// Entries have numbers: from 0 on, in the order in which BuildKit wants them. That is the order of the
/// components of their paths, each compared by its bytes: `a`, `a/b`, `a.b` ([`compare_paths`]). Every
/// directory that holds an entry is an entry too, before it; the root is none.
///
/// Called from a thread in which blocking does no harm.
pub trait FileTree: Send + Sync {
    /// How many entries there are. BuildKit counts them with 32 bits.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry with this number, which is less than [`len`](Self::len).
    fn entry(&self, number: usize) -> Entry<'_>;

    /// Writes the content of a regular file to `out`.
    ///
    /// # Errors
    ///
    /// `out` failed, or the file cannot be read, or it is no longer what it was when it was listed. The
    /// build then fails with [`ErrorKind::Context`](crate::ErrorKind::Context) and this error's text.
    fn write_content(&self, number: usize, out: &mut dyn Write) -> io::Result<()>;
}

/// Something in a build context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where it is: raw bytes relative to the root, with `/` between components, without `.` and `..`.
    pub path: &'a [u8],
    /// What it is.
    pub kind: EntryKind<'a>,
    /// Unix permission bits: the lower twelve.
    pub mode: u32,
    /// When it was changed last, in seconds since 1970. `COPY` keeps it.
    pub modified: i64,
}

/// Kinds of [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryKind<'a> {
    /// A directory.
    Directory,
    /// A regular file with so many bytes.
    File {
        /// Bytes in it.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Its text, raw.
        target: &'a [u8],
    },
}

/// The order of a [`FileTree`].
pub fn compare_paths(one: &[u8], other: &[u8]) -> std::cmp::Ordering {
    one.split(|byte| *byte == b'/').cmp(other.split(|byte| *byte == b'/'))
}

/// A tree without entries, for a Dockerfile that copies nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl FileTree for NoFiles {
    fn len(&self) -> usize {
        0
    }

    fn entry(&self, number: usize) -> Entry<'_> {
        unreachable!("there is no entry {number}")
    }

    fn write_content(&self, _: usize, _: &mut dyn Write) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::NotFound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_ordered_by_their_components() {
        let mut paths: Vec<&[u8]> =
            vec![b"b", b"a.b", b"a/b", b"a", b"a/b/c", b"a/b.c", b"a-", b"A", b"a/\xff", b"\xff"];
        paths.sort_by(|one, other| compare_paths(one, other));
        let wanted: Vec<&[u8]> =
            vec![b"A", b"a", b"a/b", b"a/b/c", b"a/b.c", b"a/\xff", b"a-", b"a.b", b"b", b"\xff"];
        assert_eq!(paths, wanted);
    }
}
