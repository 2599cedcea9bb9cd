//! The lock that everybody holds who changes `index.json`.

use std::fs::File;

use super::directory::Directory;
use crate::error::Error;

/// The file that is locked. BuildKit locks the same one.
pub(super) const LOCK: &str = "index.json.lock";

/// Held until it is dropped, against other processes and other threads. The file goes with it, so
/// that a layout at rest is what the image spec says and nothing else.
pub(super) struct IndexLock<'a> {
    directory: &'a Directory,
    _file: File,
}

impl<'a> IndexLock<'a> {
    /// Waits for the lock.
    pub(super) fn take(directory: &'a Directory) -> Result<Self, Error> {
        loop {
            if directory.look_at(LOCK)?.is_some_and(|found| !found.is_file()) {
                return Err(directory.invalid(LOCK, "is no regular file"));
            }
            let file = directory.open_or_make(LOCK)?;
            file.lock().map_err(|error| directory.failed(LOCK, "cannot be locked", error))?;
            if is_current(directory, &file)? {
                return Ok(Self { directory, _file: file });
            }
        }
    }
}

impl Drop for IndexLock<'_> {
    fn drop(&mut self) {
        // Before the lock is given up: whoever waits for it sees that it got a file without a name.
        // What cannot be removed is a lock that nobody holds.
        if cfg!(unix) {
            let _ = self.directory.remove(LOCK);
        }
    }
}

/// Whether the locked file is still the one that others would lock: the holder before may have
/// removed it.
#[cfg(unix)]
fn is_current(directory: &Directory, file: &File) -> Result<bool, Error> {
    use cap_std::fs::MetadataExt as _;

    let locked = file
        .metadata()
        .map(cap_std::fs::Metadata::from_just_metadata)
        .map_err(|error| directory.failed(LOCK, "cannot be read", error))?;
    let named = directory.look_at(LOCK)?;
    Ok(named.is_some_and(|named| (named.dev(), named.ino()) == (locked.dev(), locked.ino())))
}

#[cfg(not(unix))]
fn is_current(_: &Directory, _: &File) -> Result<bool, Error> {
    Ok(true)
}
