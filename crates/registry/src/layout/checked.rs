//! The large blobs whose bytes this process has read and found to be right.
//!
//! Many images need the same base image, and each put of one relies on all its layers. To hash them each
//! time would take far longer than everything else. What was found holds as long as the file is the same
//! one, with the same size and times. It is the process's and not a layout's, because copies open the same
//! layout once for each image.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::seen::Identity;
use crate::digest::Digest;

/// By what tells files from each other; with the rest, and whose bytes they hold.
type Known = HashMap<(u64, u64), (Identity, Digest)>;

/// How many files are remembered.
const MOST: usize = 100_000;

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// Whether a file was found to hold the blob, and is as it was then.
pub(super) fn is_known(file: &File, digest: &Digest) -> bool {
    let Some(identity) = Identity::of(file) else {
        return false;
    };
    let known = known();
    known.get(&identity.number()).is_some_and(|(was, of)| *was == identity && of == digest)
}

/// Remembers that a file holds the blob.
pub(super) fn keep(file: &File, digest: &Digest) {
    let Some(identity) = Identity::of(file) else {
        return;
    };
    let mut known = known();
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(identity.number(), (identity, digest.clone()));
}

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
