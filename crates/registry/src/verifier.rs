//! Whether bytes that pass are those of a blob.

use sha2::{Digest as _, Sha256, Sha512};

use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::Descriptor;

/// Counts and hashes what passes.
pub(crate) struct Verifier {
    digest: Digest,
    size: u64,
    seen: u64,
    hasher: Hasher,
}

enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Verifier {
    /// For the bytes of this blob.
    pub(crate) fn new(blob: &Descriptor) -> Self {
        let hasher = match blob.digest.algorithm() {
            "sha512" => Hasher::Sha512(Sha512::new()),
            _ => Hasher::Sha256(Sha256::new()),
        };
        Self { digest: blob.digest.clone(), size: blob.size, seen: 0, hasher }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`]: there are more than the blob has.
    pub(crate) fn update(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        if self.seen > self.size {
            let message = format!("{} should have {} bytes, but has more", self.digest, self.size);
            return Err(Error::new(ErrorKind::DigestMismatch, message));
        }
        match &mut self.hasher {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
        Ok(())
    }

    /// Says whether it was the whole blob.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`]: it was not.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Self { digest, size, seen, hasher } = self;
        if seen != size {
            let message = format!("{digest} should have {size} bytes, but has {seen}");
            return Err(Error::new(ErrorKind::DigestMismatch, message));
        }
        let found = match hasher {
            Hasher::Sha256(hasher) => Digest::from_sha256(&hasher.finalize()),
            Hasher::Sha512(hasher) => Digest::from_sha512(&hasher.finalize()),
        };
        if found == digest {
            Ok(())
        } else {
            let message = format!("the blob should be {digest}, but its bytes are {found}");
            Err(Error::new(ErrorKind::DigestMismatch, message))
        }
    }
}
