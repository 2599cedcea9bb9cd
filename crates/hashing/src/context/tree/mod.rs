//! How the files below a directory are reached.
//!
//! [`Tree`] has two implementations, which see the same: `linux` goes through descriptors of
//! directories, so that paths may have any length and no lookup starts at the root of the file
//! system; `plain` uses the standard library alone.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use super::error::{ContextError, ContextErrorKind, SpecialFile};
use super::path::ContextPath;
use super::stamp::Stamp;

#[cfg(target_os = "linux")]
mod linux;
mod plain;

pub(super) use self::plain::PlainTree;

/// The fastest tree that the operating system has.
#[cfg(target_os = "linux")]
pub(super) use self::linux::LinuxTree as SystemTree;
#[cfg(not(target_os = "linux"))]
pub(super) use self::plain::PlainTree as SystemTree;

/// What is below one directory, the root. No symbolic link is followed, save that the root may be
/// one.
pub(super) trait Tree: Sized + Sync {
    /// An open directory.
    type Directory: Send + Sync;
    /// An open regular file.
    type File: OpenFile + Send + Sync;

    /// Opens the root.
    fn open(root: &Path) -> io::Result<Self>;

    /// The root, as it was given.
    fn root(&self) -> &Path;

    /// Opens a directory to list it; none is the root. Where one on the way is open already, this
    /// may save lookups.
    fn directory(
        &self,
        way: Option<Way<'_, Self::Directory>>,
        path: Option<&ContextPath>,
    ) -> Result<Self::Directory, Failure>;

    /// Opens a directory to reach what is in it, which need not be enough to list it; none is the
    /// root.
    fn near(
        &self,
        way: Option<Way<'_, Self::Directory>>,
        path: Option<&ContextPath>,
    ) -> Result<Self::Directory, Failure> {
        self.directory(way, path)
    }

    /// What [`stat`](Self::stat) would say of an open directory.
    fn directory_stamp(&self, directory: &Self::Directory) -> io::Result<Stamp>;

    /// The device that holds the root, if the stamps of files on it tell every change; see
    /// [`stat_cache`](super::stat_cache).
    fn trusted_device(&self) -> Option<u64>;

    /// Calls `each` with the name and kind of everything in the directory, in no particular order.
    fn list(
        &self,
        directory: &Self::Directory,
        each: &mut dyn FnMut(&OsStr, io::Result<Kind>),
    ) -> io::Result<()>;

    /// Opens what must be a regular file. Where its directory is open already, this may save a
    /// lookup.
    fn file(
        &self,
        directory: Option<&Self::Directory>,
        path: &ContextPath,
    ) -> Result<Self::File, Failure>;

    /// The raw text of a symbolic link.
    fn link(
        &self,
        directory: Option<&Self::Directory>,
        path: &ContextPath,
    ) -> Result<Box<[u8]>, Failure>;

    /// The stamp of whatever is at the path; none is the root.
    fn stat(&self, path: Option<&ContextPath>) -> io::Result<Stamp>;

    /// The same, where the directory that holds it is open.
    fn stat_in(&self, directory: &Self::Directory, path: &ContextPath) -> io::Result<Stamp>;
}

/// An open directory on the way to a path.
pub(super) struct Way<'d, D> {
    pub(super) directory: &'d D,
    /// Where in the path begins what is left of the way; 0 if the directory is the root.
    pub(super) rest: usize,
}

/// A file that may be read by several threads.
pub(super) trait OpenFile {
    fn stamp(&self) -> io::Result<Stamp>;

    /// Reads what is there from `offset` on; no bytes mean that the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// What a directory says that a name in it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink,
    Special(SpecialFile),
}

impl Kind {
    /// What the type bits of a mode say.
    pub(super) fn of_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o040_000 => Self::Directory,
            0o100_000 => Self::File,
            0o120_000 => Self::Symlink,
            0o010_000 => Self::Special(SpecialFile::Fifo),
            0o140_000 => Self::Special(SpecialFile::Socket),
            0o020_000 | 0o060_000 => Self::Special(SpecialFile::Device),
            _ => Self::Special(SpecialFile::Other),
        }
    }
}

/// Why something could not be looked at.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is not what it was a moment ago.
    Changed,
    Special(SpecialFile),
    Io(io::Error),
}

impl Failure {
    pub(super) fn at(self, location: &Path) -> ContextError {
        match self {
            Self::Changed => ContextError::changed(location),
            Self::Special(special) => {
                ContextError::new(ContextErrorKind::SpecialFile(special), location)
            }
            Self::Io(error) => ContextError::reading(location, error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
