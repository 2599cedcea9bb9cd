//! Writing a blob whose digest is known when it ends.

use std::fmt;
use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use super::Layout;
use super::blobs::blob_name;
use super::directory::{Directory, Unfinished};
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::Descriptor;

/// A blob that is being made in a layout. Dropped before it is finished, it leaves nothing.
///
/// The bytes are where those of a [`BlobWriter`](super::BlobWriter) are until then, and what the process
/// leaves behind if it ends in between is removed in the same way.
pub struct NewBlob {
    directory: Directory,
    file: Unfinished,
    hasher: Sha256,
    size: u64,
}

impl Layout {
    /// Begins to write a blob of any bytes. Nothing is there under its digest before
    /// [`finish`](NewBlob::finish).
    ///
    /// # Errors
    ///
    /// `index.json` is damaged, or the directory cannot be written.
    pub fn new_blob(&self) -> Result<NewBlob, Error> {
        self.index()?;
        Ok(NewBlob {
            directory: self.directory.clone(),
            file: self.directory.begin_file()?,
            hasher: Sha256::new(),
            size: 0,
        })
    }
}

impl NewBlob {
    /// Puts the blob in its place, once its bytes are on the disk, and says what it is: its digest is the
    /// SHA-256 of what was written. A blob that is there already has the same bytes, and is replaced.
    ///
    /// # Errors
    ///
    /// The directory cannot be written. Then nothing has changed.
    pub fn finish(self, media_type: &str) -> Result<Descriptor, Error> {
        let Self { directory, file, hasher, size } = self;
        let digest = Digest::from_sha256(&hasher.finalize());
        directory.make_directory("blobs")?;
        directory.make_directory(&format!("blobs/{}", digest.algorithm()))?;
        file.finish(&blob_name(&digest), &digest)?;
        Ok(Descriptor::new(media_type, digest, size))
    }
}

impl Write for NewBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.file.flush()
    }
}

impl fmt::Debug for NewBlob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NewBlob({} bytes)", self.size)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_blob_is_there_once_it_is_finished() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let files = || std::fs::read_dir(directory.path()).unwrap().count();
        let before = files();
        for _ in 0..2 {
            let mut blob = layout.new_blob().unwrap();
            for piece in [b"a".as_slice(), b"", b"bc"] {
                blob.write_all(piece).unwrap();
            }
            assert_eq!(files(), before + 1);
            let descriptor = blob.finish("text/plain").unwrap();
            assert_eq!(descriptor, Descriptor::new("text/plain", Digest::of(b"abc"), 3));
            let mut bytes = Vec::new();
            layout.open_blob(&descriptor).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, b"abc");
        }
        assert_eq!(files(), before);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let names = || {
            let entries = std::fs::read_dir(directory.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let before = names();
        let mut blob = layout.new_blob().unwrap();
        blob.write_all(b"half").unwrap();
        assert_ne!(names(), before);
        drop(blob);
        assert_eq!(names(), before);
    }
}
