//! The `index.json` that was read last.
//!
//! A run asks for thousands of tags, and reading the index anew for each would take far longer than the
//! answers. What was read holds as long as the name leads to the same file, which has the same size and
//! times. The file stays open meanwhile, so that no other can get its number. Whoever replaces the file,
//! as dockit and BuildKit do, is always noticed; whoever writes into it, as skopeo does, is noticed as
//! soon as the file's time is another one, and files that were just written are not relied upon.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::index::Index;

/// How long a file must have been as it is to be known by its time: clocks of file systems tick.
const TICK: Duration = Duration::from_millis(100);

/// How long indexes are written whose names are not forced onto the disk.
const UNFORCED: Duration = Duration::from_secs(1);

/// Shared by all clones of a layout.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Option<Read>>>);

struct Read {
    /// Held open.
    file: File,
    identity: Identity,
    index: Arc<Index>,
    /// Whether it was written here and its name not yet forced onto the disk.
    unforced: bool,
    /// When that was done last.
    forced: Option<Instant>,
}

impl Drop for Read {
    fn drop(&mut self) {
        if self.unforced {
            // What cannot be forced is written when the system likes to.
            let _ = self.file.sync_all();
        }
    }
}

/// What tells a file from others, and from itself before it was written to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    #[cfg(unix)]
    pub(super) fn of(file: &File) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;

        let metadata = file.metadata().ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &File) -> Option<Self> {
        None
    }
}

impl Identity {
    /// What tells a file from all others, but for those that come after it.
    pub(super) fn number(self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

impl Seen {
    /// What was read, if it was this file.
    pub(super) fn of(&self, file: &File) -> Option<Arc<Index>> {
        let identity = Identity::of(file)?;
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().filter(|read| read.identity == identity).map(|read| Arc::clone(&read.index))
    }

    /// What a file is before it is read, if that will be enough to know it by.
    pub(super) fn about_to_read(file: &File) -> Option<Identity> {
        let modified = file.metadata().ok()?.modified().ok()?;
        let age = SystemTime::now().duration_since(modified).ok()?;
        if age > TICK { Identity::of(file) } else { None }
    }

    /// Keeps what was read, unless the file has changed since.
    pub(super) fn keep_if_unchanged(
        &self,
        file: File,
        before: Option<Identity>,
        index: &Arc<Index>,
    ) {
        let Some(identity) = before.filter(|before| Identity::of(&file) == Some(*before)) else {
            return;
        };
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = seen.as_mut() {
            before.unforced = false;
        }
        let forced = seen.as_ref().and_then(|read| read.forced);
        *seen = Some(Read { file, identity, index: Arc::clone(index), unforced: false, forced });
    }

    /// Whether it is to be forced onto the disk that an index that was just written has its name. Of many
    /// that follow each other closely each is whole on the disk, and which of them has the name after a
    /// loss of power is certain once a second and when the layout is not used any more.
    pub(super) fn is_force_due(&self) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let forced = seen.as_ref().and_then(|read| read.forced);
        forced.is_none_or(|forced| forced.elapsed() > UNFORCED)
    }

    /// Keeps what was just written, under the lock, to a file of its own.
    pub(super) fn keep_written(&self, file: File, size: u64, index: Arc<Index>, forced: bool) {
        let Some(identity) = Identity::of(&file).filter(|identity| identity.size == size) else {
            return;
        };
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = seen.as_mut() {
            // It is replaced.
            before.unforced = false;
        }
        let before = seen.as_ref().and_then(|read| read.forced);
        let last = if forced { Some(Instant::now()) } else { before };
        *seen = Some(Read { file, identity, index, unforced: !forced, forced: last });
    }
}
