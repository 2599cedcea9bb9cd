//! Reading a file that must not change meanwhile.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use super::digest::{FileDigest, FileHasher};
use super::error::ContextError;
use super::mode::FileMode;

/// Bytes read at once.
pub(super) const BUFFER: usize = 128 * 1024;

/// A regular file, opened to be read once from start to end.
pub(super) struct StableFile<'a> {
    file: File,
    location: &'a Path,
    before: Stamp,
    pub(super) size: u64,
    pub(super) mode: FileMode,
}

/// What cannot stay the same when a file is written to or replaced, as far as the file system's
/// clock is fine enough.
#[derive(PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
    identity: Identity,
}

/// Device, inode, and seconds and nanoseconds of the last change of status.
#[cfg(unix)]
type Identity = (u64, u64, i64, i64);

#[cfg(not(unix))]
type Identity = Option<SystemTime>;

impl<'a> StableFile<'a> {
    /// Opens what must be a regular file, not a link to one.
    pub(super) fn open(location: &'a Path) -> Result<Self, ContextError> {
        let reading = |error| ContextError::reading(location, error);
        // A link is not to be followed, and opening a named pipe would wait for its writer.
        let seen = fs::symlink_metadata(location).map_err(reading)?;
        if !seen.is_file() {
            return Err(ContextError::changed(location));
        }
        let file = File::open(location).map_err(reading)?;
        let metadata = file.metadata().map_err(reading)?;
        let before = Stamp::of(&metadata);
        if before != Stamp::of(&seen) {
            return Err(ContextError::changed(location));
        }
        let (size, mode) = (metadata.len(), FileMode::of(&metadata));
        Ok(Self { file, location, before, size, mode })
    }

    /// Hands the content to `each`, piece by piece and `size` bytes in all.
    ///
    /// # Errors
    ///
    /// What `each` returns; the file cannot be read, or changed since it was opened.
    pub(super) fn read(
        mut self,
        buffer: &mut [u8],
        mut each: impl FnMut(&[u8]) -> Result<(), ContextError>,
    ) -> Result<FileDigest, ContextError> {
        let location = self.location;
        let reading = |error| ContextError::reading(location, error);
        let mut hasher = FileHasher::new(self.size);
        let mut left = self.size;
        loop {
            let length = match self.file.read(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(reading(error)),
            };
            if length == 0 {
                break;
            }
            left =
                left.checked_sub(length as u64).ok_or_else(|| ContextError::changed(location))?;
            hasher.update(&buffer[..length]);
            each(&buffer[..length])?;
        }
        let after = Stamp::of(&self.file.metadata().map_err(reading)?);
        if left > 0 || after != self.before {
            return Err(ContextError::changed(location));
        }
        Ok(hasher.finish())
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            modified: metadata.modified().ok(),
            identity: identity(metadata),
        }
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn identity(metadata: &Metadata) -> Identity {
    metadata.created().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::path::PathBuf;

    use super::super::error::ContextErrorKind;
    use super::*;

    const CONTENT: &[u8] = b"0123456789";

    fn file() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let location = directory.path().join("file");
        fs::write(&location, CONTENT).expect("written");
        (directory, location)
    }

    /// Changes the file after its first bytes were read.
    fn read_while(change: impl Fn(&Path)) -> Result<Vec<u8>, ContextErrorKind> {
        let (_directory, location) = file();
        let mut seen = Vec::new();
        StableFile::open(&location)
            .and_then(|file| {
                file.read(&mut [0; 4], |piece| {
                    if seen.is_empty() {
                        change(&location);
                    }
                    seen.extend_from_slice(piece);
                    Ok(())
                })
            })
            .map(|_| seen)
            .map_err(|error| error.kind())
    }

    #[test]
    fn a_file_that_stays_is_read_whole() {
        assert_eq!(read_while(|_| {}).as_deref(), Ok(CONTENT));
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_noticed() {
        let changes: [fn(&Path); 4] = [
            |location| fs::write(location, b"0123456789+").expect("written"),
            |location| fs::write(location, b"01234567").expect("written"),
            |location| fs::write(location, b"").expect("written"),
            |location| {
                fs::write(location, b"9876543210").expect("written");
                let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
                let file = File::options().write(true).open(location).expect("opened");
                file.set_times(times).expect("the times");
            },
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let result = read_while(change);
            assert_eq!(result, Err(ContextErrorKind::Changed), "change {index}");
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let (directory, location) = file();
        let missing = directory.path().join("missing");
        for location in [directory.path(), &missing] {
            let error = StableFile::open(location).map(|_| ()).expect_err("not opened");
            assert_eq!(error.kind(), ContextErrorKind::Changed);
        }
        #[cfg(unix)]
        {
            let link = directory.path().join("link");
            std::os::unix::fs::symlink(&location, &link).expect("linked");
            let error = StableFile::open(&link).map(|_| ()).expect_err("not opened");
            assert_eq!(error.kind(), ContextErrorKind::Changed);
        }
        assert!(StableFile::open(&location).is_ok());
    }
}
