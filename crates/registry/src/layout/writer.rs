//! Writing a blob.

use std::io::Write as _;

use super::blobs::blob_name;
use super::directory::{Directory, Unfinished};
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::Descriptor;
use crate::verifier::Verifier;

/// A blob on its way into a layout. Dropped before it is committed, it leaves nothing.
///
/// Any number of writers may write the same blob; each commit puts the same bytes in the same place.
///
/// The bytes go to a file beside `index.json`, whose name no tool takes for anything. Should the
/// process end in between, the file stays; [`Layout::create`](super::Layout::create) removes such
/// files once nobody has written to them for a day.
pub struct BlobWriter {
    directory: Directory,
    file: Unfinished,
    verifier: Verifier,
    digest: Digest,
    name: String,
}

impl BlobWriter {
    pub(super) fn begin(directory: &Directory, blob: &Descriptor) -> Result<Self, Error> {
        Ok(Self {
            directory: directory.clone(),
            file: directory.begin_file()?,
            verifier: Verifier::new(blob),
            digest: blob.digest.clone(),
            name: blob_name(&blob.digest),
        })
    }

    /// Writes the next bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`](crate::ErrorKind::DigestMismatch) as soon as there are more
    /// than the blob has; or the directory cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.verifier.update(bytes)?;
        self.file
            .file
            .write_all(bytes)
            .map_err(|error| self.directory.failed(&self.name, "cannot be written", error))
    }

    /// Puts the blob in its place, once its bytes are on the disk.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`](crate::ErrorKind::DigestMismatch) if what was written is not the
    /// blob; or the directory cannot be written. Then nothing has changed.
    pub fn commit(self) -> Result<(), Error> {
        let Self { directory, file, verifier, digest, name } = self;
        verifier.finish()?;
        directory.make_directory("blobs")?;
        directory.make_directory(&format!("blobs/{}", digest.algorithm()))?;
        file.finish(&name, &digest)
    }
}
