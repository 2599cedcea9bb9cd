//! The `index.json` that was read last.
//!
//! A run asks for thousands of tags, and reading the index anew for each would take far longer than the
//! answers. What was read holds as long as the name leads to the same file, which has the same size and
//! times. The file stays open meanwhile, so that no other can get its number. Whoever replaces the file,
//! as dockit and BuildKit do, is always noticed; whoever writes into it, as skopeo does, is noticed as
//! soon as the file's time is another one, and files that were just written are not relied upon.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::index::Index;

/// How long a file must have been as it is to be known by its time: clocks of file systems tick.
const TICK: Duration = Duration::from_millis(100);

/// Shared by all clones of a layout.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Option<Read>>>);

struct Read {
    /// Held open.
    _file: File,
    identity: Identity,
    index: Arc<Index>,
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
    fn of(file: &File) -> Option<Self> {
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
    fn of(_: &File) -> Option<Self> {
        None
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
        if before.is_some() && Identity::of(&file) == before {
            self.keep(file, before, Arc::clone(index));
        }
    }

    /// Keeps what was just written, under the lock, to a file of its own.
    pub(super) fn keep_written(&self, file: File, size: u64, index: Arc<Index>) {
        let identity = Identity::of(&file).filter(|identity| identity.size == size);
        self.keep(file, identity, index);
    }

    fn keep(&self, file: File, identity: Option<Identity>, index: Arc<Index>) {
        if let Some(identity) = identity {
            let read = Read { _file: file, identity, index };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        }
    }
}
