//! How much a copy may hold in memory because a place says so.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::error::{Error, ErrorKind};
use crate::manifest::RawManifest;

/// Most bytes of manifests that one copy reads. All of them are in memory until they are written.
const MANIFEST_BYTES: u64 = 256 * 1024 * 1024;

/// Most manifests that refer to one image, or to what refers to it.
const REFERRERS: usize = 1_000;

/// What one copy may still read.
pub(super) struct Budget {
    bytes: AtomicU64,
    referrers: AtomicUsize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: AtomicU64::new(MANIFEST_BYTES), referrers: AtomicUsize::new(REFERRERS) }
    }
}

impl Budget {
    /// Counts a manifest that was read, and gives it back.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`]: that was one too many.
    pub(super) fn hold(&self, manifest: RawManifest) -> Result<RawManifest, Error> {
        let size = manifest.bytes().len() as u64;
        let take = |left: u64| left.checked_sub(size);
        match self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(manifest),
            Err(_) => Err(too_much(format!("its manifests have more than {MANIFEST_BYTES} bytes"))),
        }
    }

    /// Counts manifests that are listed as referrers, before they are read.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`]: there are too many.
    pub(super) fn count_referrers(&self, listed: usize) -> Result<(), Error> {
        let take = |left: usize| left.checked_sub(listed);
        match self.referrers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(too_much(format!("more than {REFERRERS} manifests refer to it"))),
        }
    }
}

/// An image that is more than any image needs to be.
pub(super) fn too_much(message: String) -> Error {
    Error::new(ErrorKind::Invalid, format!("the image cannot be copied: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::media_type;

    #[test]
    fn a_budget_ends() {
        let budget = Budget { bytes: AtomicU64::new(5), referrers: AtomicUsize::new(2) };
        let manifest = |text: &str| RawManifest::new(media_type::OCI_MANIFEST, text);
        budget.hold(manifest("123")).unwrap();
        assert_eq!(*budget.hold(manifest("456")).unwrap_err().kind(), ErrorKind::Invalid);
        budget.hold(manifest("45")).unwrap();
        budget.count_referrers(2).unwrap();
        assert_eq!(*budget.count_referrers(1).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
