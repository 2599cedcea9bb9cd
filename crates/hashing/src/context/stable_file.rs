//! Reading a file that must not change meanwhile.

use std::path::PathBuf;

use super::digest::{FileDigest, FileHasher};
use super::error::ContextError;
use super::path::ContextPath;
use super::stamp::Stamp;
use super::tree::{Failure, Kind, OpenFile, Tree};

/// Bytes read at once.
pub(super) const BUFFER: usize = 128 * 1024;

/// A regular file, opened to be read from start to end.
pub(super) struct StableFile<'a, T: Tree> {
    tree: &'a T,
    path: &'a ContextPath,
    file: T::File,
    before: Stamp,
}

impl<'a, T: Tree> StableFile<'a, T> {
    /// Opens what must be a regular file, not a link to one. `directory` is the one that holds it,
    /// if it is open already.
    pub(super) fn open(
        tree: &'a T,
        directory: Option<&T::Directory>,
        path: &'a ContextPath,
    ) -> Result<Self, ContextError> {
        let open = || {
            let file = tree.file(directory, path)?;
            let before = file.stamp()?;
            match Kind::of_mode(before.mode) {
                Kind::File => Ok((file, before)),
                Kind::Special(special) => Err(Failure::Special(special)),
                Kind::Directory | Kind::Symlink => Err(Failure::Changed),
            }
        };
        match open() {
            Ok((file, before)) => Ok(Self { tree, path, file, before }),
            Err(failure) => Err(failure.at(&path.below(tree.root()))),
        }
    }

    pub(super) fn stamp(&self) -> &Stamp {
        &self.before
    }

    /// Takes the file to read it in another way.
    pub(super) fn into_parts(self) -> (T::File, Stamp) {
        (self.file, self.before)
    }

    /// Hands the content to `each`, piece by piece and as many bytes as the stamp says.
    ///
    /// # Errors
    ///
    /// What `each` returns; the file cannot be read, or changed since it was opened.
    pub(super) fn read(
        &self,
        buffer: &mut [u8],
        mut each: impl FnMut(&[u8]) -> Result<(), ContextError>,
    ) -> Result<FileDigest, ContextError> {
        let size = self.before.size;
        let mut hasher = FileHasher::new(size);
        if size < buffer.len() as u64 {
            let content = self.read_whole(buffer)?;
            if !content.is_empty() {
                hasher.update(content);
                each(content)?;
            }
            return Ok(hasher.finish());
        }
        let mut offset = 0;
        while offset < size {
            let length = piece(buffer, size - offset);
            let length = self.read_at(&mut buffer[..length], offset)?;
            if length == 0 {
                return Err(ContextError::changed(&self.location()));
            }
            hasher.update(&buffer[..length]);
            each(&buffer[..length])?;
            offset += length as u64;
        }
        self.check()?;
        Ok(hasher.finish())
    }

    /// Reads the content into the buffer, which holds a byte more at least.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or changed since it was opened.
    pub(super) fn read_whole<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], ContextError> {
        let size = self.before.size as usize;
        if size == 0 {
            return Ok(&[]);
        }
        // A file that is had with one request needs no second look: a byte more is asked for, which
        // tells whether it grew, and a write at that very moment gives it another stamp than the one
        // that may be remembered.
        let mut filled = self.read_at(&mut buffer[..=size], 0)?;
        if filled > size {
            return Err(ContextError::changed(&self.location()));
        }
        if filled < size {
            while filled < size {
                let length = self.read_at(&mut buffer[filled..size], filled as u64)?;
                if length == 0 {
                    return Err(ContextError::changed(&self.location()));
                }
                filled += length;
            }
            self.check()?;
        }
        Ok(&buffer[..size])
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, ContextError> {
        let read = self.file.read_at(buffer, offset);
        read.map_err(|error| ContextError::reading(&self.location(), error))
    }

    /// That it is what it was when it was opened. Also says whether it grew: nothing is read beyond
    /// the size that it had.
    fn check(&self) -> Result<(), ContextError> {
        if self.before.size == 0 {
            return Ok(());
        }
        match self.file.stamp() {
            Ok(after) if after == self.before => Ok(()),
            Ok(_) => Err(ContextError::changed(&self.location())),
            Err(error) => Err(ContextError::reading(&self.location(), error)),
        }
    }

    fn location(&self) -> PathBuf {
        self.path.below(self.tree.root())
    }
}

/// How many bytes to read next where `left` are left.
fn piece(buffer: &[u8], left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes};
    use std::path::Path;
    use std::time::SystemTime;

    use super::super::error::{ContextErrorKind, SpecialFile};
    use super::super::tree::{PlainTree, SystemTree};
    use super::*;

    const CONTENT: &[u8] = b"0123456789";

    fn path(name: &str) -> ContextPath {
        ContextPath::new(name.as_bytes()).expect("a path")
    }

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("file"), CONTENT).expect("written");
        directory
    }

    /// Changes the file after its first bytes were read.
    fn read_while<T: Tree>(change: impl Fn(&Path)) -> Result<Vec<u8>, ContextErrorKind> {
        let directory = directory();
        let tree = T::open(directory.path()).expect("the root");
        let mut seen = Vec::new();
        StableFile::open(&tree, None, &path("file"))
            .and_then(|file| {
                file.read(&mut [0; 4], |piece| {
                    if seen.is_empty() {
                        change(&directory.path().join("file"));
                    }
                    seen.extend_from_slice(piece);
                    Ok(())
                })
            })
            .map(|_| seen)
            .map_err(|error| error.kind())
    }

    /// Changes the file after it was opened, and reads it with one request.
    fn read_after<T: Tree>(change: impl Fn(&Path)) -> Result<Vec<u8>, ContextErrorKind> {
        let directory = directory();
        let tree = T::open(directory.path()).expect("the root");
        let mut seen = Vec::new();
        StableFile::open(&tree, None, &path("file"))
            .and_then(|file| {
                change(&directory.path().join("file"));
                file.read(&mut [0; 64], |piece| {
                    seen.extend_from_slice(piece);
                    Ok(())
                })
            })
            .map(|_| seen)
            .map_err(|error| error.kind())
    }

    #[test]
    fn a_file_that_is_read_at_once_has_the_size_that_it_had() {
        for other in ["0123456789+", "01234567", ""] {
            let change = |location: &Path| fs::write(location, other).expect("written");
            for result in [read_after::<PlainTree>(change), read_after::<SystemTree>(change)] {
                assert_eq!(result, Err(ContextErrorKind::Changed), "{other:?}");
            }
        }
        assert_eq!(read_after::<SystemTree>(|_| {}).as_deref(), Ok(CONTENT));
    }

    #[test]
    fn a_file_that_stays_is_read_whole() {
        assert_eq!(read_while::<PlainTree>(|_| {}).as_deref(), Ok(CONTENT));
        assert_eq!(read_while::<SystemTree>(|_| {}).as_deref(), Ok(CONTENT));
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_noticed() {
        let changes: [fn(&Path); 5] = [
            |location| fs::write(location, b"0123456789+").expect("written"),
            |location| fs::write(location, b"01234567").expect("written"),
            |location| fs::write(location, b"").expect("written"),
            |location| {
                fs::write(location, b"9876543210").expect("written");
                let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
                let file = File::options().write(true).open(location).expect("opened");
                file.set_times(times).expect("the times");
            },
            |location| fs::remove_file(location).expect("removed"),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            for result in [read_while::<PlainTree>(change), read_while::<SystemTree>(change)] {
                assert_eq!(result, Err(ContextErrorKind::Changed), "change {index}");
            }
        }
    }

    fn open<T: Tree>(
        root: &Path,
        name: &str,
        open_directory: bool,
    ) -> Result<(), ContextErrorKind> {
        let tree = T::open(root).expect("the root");
        let directory = open_directory.then(|| tree.directory(None, None).expect("opened"));
        StableFile::open(&tree, directory.as_ref(), &path(name))
            .map(|_| ())
            .map_err(|error| error.kind())
    }

    #[test]
    fn only_regular_files_are_opened() {
        let directory = directory();
        let root = directory.path();
        fs::create_dir(root.join("directory")).expect("made");
        let mut table = vec![
            ("file", Ok(())),
            ("directory", Err(ContextErrorKind::Changed)),
            ("missing", Err(ContextErrorKind::Changed)),
            ("file/below", Err(ContextErrorKind::Changed)),
        ];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("file", root.join("link")).expect("linked");
            table.push(("link", Err(ContextErrorKind::Changed)));
        }
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{CWD, FileType, Mode, mknodat};
            let pipe = root.join("pipe");
            mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).expect("a named pipe");
            let fifo = ContextErrorKind::SpecialFile(SpecialFile::Fifo);
            table.push(("pipe", Err(fifo)));
        }
        for (name, result) in table {
            assert_eq!(open::<PlainTree>(root, name, false), result, "{name}");
            assert_eq!(open::<SystemTree>(root, name, false), result, "{name}");
            if !name.contains('/') {
                assert_eq!(open::<SystemTree>(root, name, true), result, "{name}");
            }
        }
    }
}
