//! What earlier runs saw, so that unchanged files need not be read again.
//!
//! The cache holds, for each directory of a context, its stamp and the names in it, and for each
//! file that was hashed its stamp and digest. It knows nothing of ignore rules and selections, so
//! images that share a context share what is known about it.
//!
//! # Why it is never wrong
//!
//! A digest is taken from the cache only while the file's size, mode, inode, device, time of
//! modification and time of the last change of status are what they were when it was hashed; names,
//! while those of the directory are. No program can set the last of these times. Three rules keep
//! what the times cannot tell out of the cache:
//!
//! - *Too fresh.* A file system's clock ticks slowly, so what is written within the tick in which it
//!   was read has the same times as before. A stamp is kept only if both its times lie more than two
//!   seconds before the start of the run that read the file: any later change then gets another
//!   time. Times in the future are never before it.
//! - *Clocks.* "Before" needs one clock. The file systems that are trusted take their times from the
//!   clock of the kernel that mounts them, the one that the run's start is taken from, wherever the
//!   cache itself lies. If that clock is found to be behind the start of the run that wrote the
//!   cache, it was turned back and the cache is not used.
//! - *File systems.* Only local ones are trusted whose inode numbers stay and which keep these times:
//!   ext2 to ext4, XFS, Btrfs, F2FS and ZFS. Not network file systems, FUSE, or what a virtual
//!   machine's host shares, where another machine writes, with another clock; not overlayfs, where
//!   a file's inode may change, or what lies below may be exchanged; not tmpfs, where writing through
//!   a memory mapping need not change a time. What lies on another file system than the context's
//!   root is not trusted either.
//!
//! A program that keeps writing through one memory mapping for longer than two seconds can change a
//! file without another time on the trusted file systems, too; git's index has the same limit.
//! So it is with a power failure: a file may be left with its new times and its old content, since
//! ext4 does not order what overwrites a file before the times that go with it.
//!
//! What is damaged, truncated, of another version, of another context or of another user is as good as
//! nothing, and nothing is kept in another user's directory:
//! each directory's record has a checksum, and their index a hash. When anything goes wrong in a run that
//! used the cache, the context is read again without.

mod checksum;
mod format;
mod owned;
mod store;
#[cfg(all(test, unix))]
mod tests;
mod trust;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::format::{Cached, Identity};
pub(super) use self::format::{Learned, Names, Record, Window};
use self::trust::Trust;
use super::digest::FileDigest;
use super::path::ContextPath;
use super::stamp::{Stamp, Time};
use super::tree::Tree;

/// Bytes that a cache may have to be read or written.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Age at which a cache that is only read is marked as used.
const USED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory in which digests of files are kept from one run to the next.
///
/// It holds one file for each build context: at most 64, of at most 256 MiB together, those that were
/// used last. Several processes may use it at the same time. A cache that cannot be read or written is
/// no error; then everything is read. Systems other than Linux have no cache yet.
///
/// A digest is taken from it only where file system, clock and the file's times leave no doubt that
/// the content is the one that was hashed: on local file systems (ext2 to ext4, XFS, Btrfs, F2FS,
/// ZFS), and for files left alone for two seconds before they were hashed.
#[derive(Clone, Debug)]
pub struct StatCache {
    directory: Arc<Path>,
}

impl StatCache {
    /// Keeps digests in `directory`, which is made when there is something to keep. Nothing else
    /// should be in it.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into().into() }
    }

    /// What is known about a context, and about which of its files anything can be; nothing where
    /// the file system is not trusted.
    pub(super) fn recall<T: Tree>(&self, tree: &T, start: SystemTime) -> Option<Memory> {
        let device = tree.trusted_device()?;
        let root = tree.stat(None).ok()?;
        let path = fs::canonicalize(tree.root()).ok()?;
        let identity = Identity::of(&path, &root);
        let location = self.directory.join(identity.file_name());
        let start = Time::of(start);
        let trust = Trust::new(device, start);
        let cached = owned::open(&location)
            .and_then(|(file, size)| Cached::open(file, size, &identity, start));
        Some(Memory { directory: self.directory.clone(), location, identity, start, trust, cached })
    }
}

/// What is known about one context, during one run.
pub(super) struct Memory {
    directory: Arc<Path>,
    location: PathBuf,
    identity: Identity,
    start: Time,
    trust: Trust,
    cached: Option<Cached>,
}

impl Memory {
    /// What was known about a directory; none is the root. The window is used for this memory only.
    pub(super) fn directory<'w>(
        &self,
        path: Option<&ContextPath>,
        window: &'w mut Window,
    ) -> Option<Record<'w>> {
        self.cached.as_ref()?.record(bytes_of(path), self.trust.device(), window)
    }

    /// Whether what has this stamp may be remembered.
    pub(super) fn trusts(&self, stamp: &Stamp) -> bool {
        self.trust.allows(stamp)
    }

    /// Adds what a run learned to what was known, if that is anything. What can not be written is
    /// learned again next time.
    pub(super) fn remember(self, learned: Vec<Learned>) {
        if learned.iter().any(Learned::is_worth_keeping) {
            // Another run does without then.
            let _ = store::store(self, learned);
        } else {
            mark_as_used(&self.location);
        }
    }
}

/// The digests of a directory's files by name.
pub(super) fn by_name<'a>(record: &Record<'a>) -> HashMap<&'a [u8], (Stamp, FileDigest)> {
    let known = record.entries.iter().filter_map(|entry| Some((entry.name, entry.file?)));
    known.collect()
}

fn bytes_of(path: Option<&ContextPath>) -> &[u8] {
    path.map_or(b"", ContextPath::as_bytes)
}

/// So that it is not the one to go when there are too many.
fn mark_as_used(location: &Path) {
    let now = SystemTime::now();
    let Some((file, _)) = owned::open(location) else { return };
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let is_old = modified
        .is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > USED_AFTER));
    if is_old {
        // It is only a hint.
        let _ = file.set_modified(now);
    }
}
