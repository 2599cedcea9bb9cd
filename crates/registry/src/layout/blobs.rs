//! Blobs and manifests of a layout, by digest.

use std::fs::File;
use std::io::Read as _;

use serde_json::Value;

use super::directory::LOOKED_AT;
use super::lock::IndexLock;
use super::seen::Identity;
use super::writer::BlobWriter;
use super::{Layout, checked};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::{Descriptor, MAX_MANIFEST_SIZE, RawManifest, media_type};
use crate::verifier::Verifier;

/// How much of a blob is read at a time, in bytes.
const PIECE: usize = 256 * 1024;

/// Where the bytes of a digest are (image spec, *Blobs*).
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

impl Layout {
    /// Whether a blob is there. One of another size than its descriptor says is not; the bytes of
    /// one of the same size are not looked at.
    ///
    /// # Errors
    ///
    /// What has the blob's name is no regular file, or the directory cannot be read.
    pub fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let found = self.directory.file(&blob_name(&blob.digest))?;
        Ok(found.is_some_and(|(_, size)| size == blob.size))
    }

    /// Whether a blob is there, for who is about to write what needs it: no [`sweep`](Self::sweep) takes
    /// it for old then. Its bytes are looked at, those of one of more than 1 MiB once in a process; one that
    /// is damaged is not there, and neither is one that cannot be renewed, so that it is written anew.
    ///
    /// # Errors
    ///
    /// As [`has_blob`](Self::has_blob); the directory cannot be written.
    pub fn renew_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        if !self.has_blob(blob)? {
            return Ok(false);
        }
        if !self.is_intact(blob)? {
            return Ok(false);
        }
        let _lock = IndexLock::take(&self.directory)?;
        let name = blob_name(&blob.digest);
        let Some((before, _)) = self.directory.file(&name)? else {
            return Ok(false);
        };
        let was_checked = checked::is_known(&before, &blob.digest);
        let renewed = self.directory.renew(&name, blob.size)?;
        // The time is another one, the bytes are not.
        if renewed && was_checked {
            checked::keep(&before, &blob.digest);
        }
        Ok(renewed)
    }

    /// Whether the bytes of a blob that is there are its own. Those of a large one are read once in a
    /// process, as long as nobody writes to its file.
    pub(super) fn is_intact(&self, blob: &Descriptor) -> Result<bool, Error> {
        let name = blob_name(&blob.digest);
        let Some((mut file, size)) = self.directory.file(&name)? else {
            return Ok(false);
        };
        if size != blob.size {
            return Ok(false);
        }
        let is_large = size > LOOKED_AT;
        if is_large && checked::is_known(&file, &blob.digest) {
            return Ok(true);
        }
        let before = Identity::of(&file);
        let unreadable = |error| self.directory.failed(&name, "cannot be read", error);
        let mut verifier = Verifier::new(blob);
        let mut piece = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE).max(1))];
        loop {
            let read = file.read(&mut piece).map_err(unreadable)?;
            if read == 0 {
                break;
            }
            if verifier.update(&piece[..read]).is_err() {
                return Ok(false);
            }
        }
        let intact = verifier.finish().is_ok();
        if intact && is_large && before.is_some() && Identity::of(&file) == before {
            checked::keep(&file, &blob.digest);
        }
        Ok(intact)
    }

    /// The bytes of a blob of at most `limit` bytes, checked against its digest; `None` if it is not there.
    #[cfg(feature = "client")]
    pub(crate) fn small_blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let name = blob_name(digest);
        let bytes = self.directory.read(&name, limit)?;
        if bytes.as_ref().is_some_and(|bytes| !digest.matches(bytes)) {
            let message =
                format!("{}: the bytes are others", self.directory.path_of(&name).display());
            return Err(Error::new(ErrorKind::DigestMismatch, message));
        }
        Ok(bytes)
    }

    /// The size of a blob that is there.
    #[cfg(feature = "client")]
    pub(crate) fn size_of(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        Ok(self.directory.file(&blob_name(digest))?.map(|(_, size)| size))
    }

    /// Whether anything has this digest's place.
    pub(super) fn has_bytes(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.directory.file(&blob_name(digest))?.is_some())
    }

    /// Opens a blob. Its size is right; its digest is for the reader to check.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if it is not there, [`ErrorKind::DigestMismatch`] if it has another
    /// size; it is no regular file, or cannot be read.
    pub fn open_blob(&self, blob: &Descriptor) -> Result<File, Error> {
        let name = blob_name(&blob.digest);
        let (file, size) =
            self.directory.file(&name)?.ok_or_else(|| self.absent("blob", &blob.digest))?;
        if size == blob.size {
            Ok(file)
        } else {
            let path = self.directory.path_of(&name);
            let message =
                format!("{} should have {} bytes, but has {size}", path.display(), blob.size);
            Err(Error::new(ErrorKind::DigestMismatch, message))
        }
    }

    /// Begins to write a blob. Nothing is there under its digest before the writer's
    /// [`commit`](BlobWriter::commit).
    ///
    /// # Errors
    ///
    /// `index.json` is damaged, or the directory cannot be written.
    pub fn blob_writer(&self, blob: &Descriptor) -> Result<BlobWriter, Error> {
        self.index()?;
        BlobWriter::begin(&self.directory, blob)
    }

    /// The manifest of this digest, checked against it, of at most
    /// [`MAX_MANIFEST_SIZE`] bytes.
    ///
    /// Its media type is that of its entry in `index.json`, or else what its bytes say, or else what
    /// they look like.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if it is not there, [`ErrorKind::DigestMismatch`] if its bytes are
    /// others; they are no manifest, it is no regular file, or cannot be read.
    pub fn manifest(&self, digest: &Digest) -> Result<RawManifest, Error> {
        let entry = self.index()?.entry(digest);
        let raw = self.manifest_of(digest, entry.as_ref())?;
        raw.ok_or_else(|| self.absent("manifest", digest))
    }

    /// Whether a manifest of this digest is there, whole. A damaged one is not, so that it is written
    /// anew.
    ///
    /// # Errors
    ///
    /// As [`manifest`](Self::manifest), but for what is absent or damaged.
    pub fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        let bytes = self.directory.read(&blob_name(digest), MAX_MANIFEST_SIZE)?;
        Ok(bytes.is_some_and(|bytes| digest.matches(&bytes)))
    }

    /// Writes a manifest, byte for byte, unless it is there. It gets no entry in `index.json`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if it is larger than [`MAX_MANIFEST_SIZE`]; the directory cannot be
    /// written.
    pub fn put_manifest(&self, manifest: &RawManifest) -> Result<(), Error> {
        let descriptor = manifest.descriptor();
        if descriptor.size > MAX_MANIFEST_SIZE {
            let message = format!("{} has more than {MAX_MANIFEST_SIZE} bytes", descriptor.digest);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let held = self.directory.read(&blob_name(manifest.digest()), MAX_MANIFEST_SIZE);
        if matches!(held, Ok(Some(bytes)) if bytes == manifest.bytes())
            && self.renew_blob(&descriptor)?
        {
            return Ok(());
        }
        let mut writer = self.blob_writer(&descriptor)?;
        writer.write(manifest.bytes())?;
        writer.commit()
    }

    /// The manifest that a descriptor, or no descriptor, points to; `None` if it is not there.
    pub(super) fn manifest_of(
        &self,
        digest: &Digest,
        descriptor: Option<&Descriptor>,
    ) -> Result<Option<RawManifest>, Error> {
        let name = blob_name(digest);
        let Some(bytes) = self.directory.read(&name, MAX_MANIFEST_SIZE)? else {
            return Ok(None);
        };
        // Before anything is made of the bytes.
        let raw = RawManifest::verified(String::new(), bytes, digest.clone()).map_err(|error| {
            let path = self.directory.path_of(&name);
            Error::new(error.kind().clone(), format!("{}: {error}", path.display()))
        })?;
        let told = descriptor
            .map(|descriptor| descriptor.media_type.as_str())
            .filter(|told| media_type::ALL.contains(told));
        let media_type = match told {
            Some(told) => told,
            None => media_type_of(raw.bytes())
                .ok_or_else(|| self.directory.invalid(&name, "is no manifest"))?,
        };
        Ok(Some(raw.with_media_type(media_type)))
    }

    fn absent(&self, what: &str, digest: &Digest) -> Error {
        let message = format!("{}: no {what} {digest}", self.directory.path().display());
        Error::new(ErrorKind::NotFound, message)
    }
}

/// What a manifest says it is, or what it looks like.
fn media_type_of(bytes: &[u8]) -> Option<&'static str> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let named = media_type::ALL.into_iter().find(|known| value["mediaType"] == *known);
    named.or_else(|| match (value.get("manifests"), value.get("config")) {
        (Some(_), None) => Some(media_type::OCI_INDEX),
        (None, Some(_)) => Some(media_type::OCI_MANIFEST),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_what_it_says_or_looks_like() {
        for (bytes, expected) in [
            (r#"{"mediaType":"MT","config":{}}"#, Some(media_type::DOCKER_MANIFEST)),
            (r#"{"mediaType":"?","config":{}}"#, Some(media_type::OCI_MANIFEST)),
            (r#"{"config":{}}"#, Some(media_type::OCI_MANIFEST)),
            (r#"{"manifests":[]}"#, Some(media_type::OCI_INDEX)),
            (r#"{"manifests":[],"config":{}}"#, None),
            ("{}", None),
            ("[]", None),
            ("\u{0}", None),
        ] {
            let bytes = bytes.replace("MT", media_type::DOCKER_MANIFEST);
            assert_eq!(media_type_of(bytes.as_bytes()), expected, "{bytes}");
        }
    }
}
