//! A large file that several threads hash.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::digest::{FileDigest, LANES, LEAF, LeafTree, hash_leaves};
use super::super::path::ContextPath;
use super::super::stamp::Stamp;
use super::super::tree::{Failure, OpenFile};
use super::order::DirectoryId;

/// Bytes that a thread takes at once: as many leaves as may be hashed together.
const PART: u64 = (LANES * LEAF) as u64;

pub(super) struct Large<F> {
    pub(super) path: ContextPath,
    pub(super) directory: DirectoryId,
    pub(super) stamp: Stamp,
    /// How often the file may still change before it is an error.
    pub(super) retries: u32,
    file: F,
    next_part: AtomicU64,
    tree: Mutex<Growing>,
    over: AtomicBool,
}

/// The digest so far. Parts that were finished before an earlier one wait; they are never many more
/// than there are threads.
struct Growing {
    tree: Option<LeafTree>,
    next_part: u64,
    waiting: BTreeMap<u64, Vec<[u8; 32]>>,
}

impl<F: OpenFile> Large<F> {
    pub(super) fn new(
        path: ContextPath,
        directory: DirectoryId,
        (file, stamp): (F, Stamp),
        retries: u32,
    ) -> Self {
        let tree = Some(LeafTree::new(stamp.size));
        Self {
            path,
            directory,
            stamp,
            retries,
            file,
            next_part: AtomicU64::new(0),
            tree: Mutex::new(Growing { tree, next_part: 0, waiting: BTreeMap::new() }),
            over: AtomicBool::new(false),
        }
    }

    /// Hashes parts until none is left. The thread that finishes the last one gets the digest, or
    /// the first that fails the failure; the others get nothing. The buffer grows as needed.
    pub(super) fn work(&self, buffer: &mut Vec<u8>) -> Option<Result<FileDigest, Failure>> {
        let parts = self.stamp.size.div_ceil(PART);
        while !self.over.load(Ordering::Relaxed) {
            let part = self.next_part.fetch_add(1, Ordering::Relaxed);
            if part >= parts {
                return None;
            }
            let finished = self.hash(part, buffer).and_then(|leaves| self.add(part, leaves, parts));
            match finished {
                Ok(None) => {}
                Ok(Some(digest)) => return Some(Ok(digest)),
                Err(failure) => {
                    let first = !self.over.swap(true, Ordering::Relaxed);
                    return first.then_some(Err(failure));
                }
            }
        }
        None
    }

    fn hash(&self, part: u64, buffer: &mut Vec<u8>) -> Result<Vec<[u8; 32]>, Failure> {
        let start = part * PART;
        let length = (self.stamp.size - start).min(PART) as usize;
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let piece = &mut buffer[..length];
        self.fill(piece, start)?;
        Ok(hash_leaves(piece))
    }

    fn fill(&self, mut piece: &mut [u8], mut offset: u64) -> Result<(), Failure> {
        while !piece.is_empty() {
            let length = self.file.read_at(piece, offset)?;
            if length == 0 {
                return Err(Failure::Changed);
            }
            piece = &mut piece[length..];
            offset += length as u64;
        }
        Ok(())
    }

    /// Adds the leaves of a part, and tells the digest if none is missing now.
    fn add(
        &self,
        part: u64,
        leaves: Vec<[u8; 32]>,
        parts: u64,
    ) -> Result<Option<FileDigest>, Failure> {
        let mut growing = self.tree.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Growing { tree, next_part, waiting } = &mut *growing;
        waiting.insert(part, leaves);
        while let (Some(tree), Some(leaves)) = (tree.as_mut(), waiting.remove(next_part)) {
            leaves.iter().for_each(|leaf| tree.add(leaf));
            *next_part += 1;
        }
        if *next_part < parts {
            return Ok(None);
        }
        if self.file.stamp()? != self.stamp {
            return Err(Failure::Changed);
        }
        Ok(tree.take().map(LeafTree::finish))
    }
}
