//! The digest of a file's content.

use std::cmp::Reverse;

use sha2::{Digest, Sha256};

use crate::content_hash::ContentHash;

/// Bytes up to which a file is hashed as a whole.
const WHOLE_LIMIT: u64 = 1024 * 1024;

/// Bytes of a leaf; the last one of a file may be shorter.
pub(super) const LEAF: usize = 64 * 1024;

const TREE_DOMAIN: &[u8] = b"dockit-tree-v1";

/// The digest of a file's content. Which of the two it is follows from the file's size, so that
/// equal contents have equal digests; both limits are part of the key's format.
///
/// Leaves can be hashed at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileDigest {
    /// Up to 1 MiB: SHA-256 of the bytes.
    Whole(ContentHash),
    /// Beyond: SHA-256 of `dockit-tree-v1`, the size as eight bytes, least significant first, and
    /// the SHA-256 of each 64 KiB.
    Leaves(ContentHash),
}

/// Computes the digest of content that comes in pieces.
pub(super) struct FileHasher(State);

enum State {
    Whole(Sha256),
    Leaves { tree: LeafTree, leaf: Sha256, filled: usize },
}

/// Computes the digest of large content whose leaves are hashed elsewhere.
pub(super) struct LeafTree(Sha256);

/// Whether content of that size is hashed in leaves.
pub(super) fn is_in_leaves(size: u64) -> bool {
    size > WHOLE_LIMIT
}

impl FileHasher {
    /// For content of `size` bytes, all of which the caller has to add.
    pub(super) fn new(size: u64) -> Self {
        Self(if is_in_leaves(size) {
            State::Leaves { tree: LeafTree::new(size), leaf: Sha256::new(), filled: 0 }
        } else {
            State::Whole(Sha256::new())
        })
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        match &mut self.0 {
            State::Whole(whole) => whole.update(bytes),
            State::Leaves { tree, leaf, filled } => {
                while !bytes.is_empty() {
                    let (head, rest) = bytes.split_at(bytes.len().min(LEAF - *filled));
                    leaf.update(head);
                    *filled += head.len();
                    if *filled == LEAF {
                        tree.add(&leaf.finalize_reset().into());
                        *filled = 0;
                    }
                    bytes = rest;
                }
            }
        }
    }

    pub(super) fn finish(self) -> FileDigest {
        match self.0 {
            State::Whole(whole) => {
                FileDigest::Whole(ContentHash::from_bytes(whole.finalize().into()))
            }
            State::Leaves { mut tree, leaf, filled } => {
                if filled > 0 {
                    tree.add(&leaf.finalize().into());
                }
                tree.finish()
            }
        }
    }
}

impl LeafTree {
    pub(super) fn new(size: u64) -> Self {
        Self(Sha256::new().chain_update(TREE_DOMAIN).chain_update(size.to_le_bytes()))
    }

    /// Adds the next leaf's hash.
    pub(super) fn add(&mut self, leaf: &[u8; 32]) {
        self.0.update(leaf);
    }

    pub(super) fn finish(self) -> FileDigest {
        FileDigest::Leaves(ContentHash::from_bytes(self.0.finalize().into()))
    }
}

/// Hashes contents that are hashed as a whole.
pub(super) fn hash_wholes(contents: &[&[u8]]) -> Vec<FileDigest> {
    let mut order: Vec<usize> = (0..contents.len()).collect();
    // Two of about the same length are done at about the same time. The one left over is the
    // shortest.
    order.sort_unstable_by_key(|index| Reverse(contents[*index].len()));
    let mut hashes = vec![[0; 32]; contents.len()];
    let (pairs, last) = order.as_chunks::<2>();
    for pair in pairs {
        let pair_contents = pair.map(|index| contents[index]);
        let pair_hashes = hash_pair(pair_contents)
            .unwrap_or_else(|| pair_contents.map(|content| Sha256::digest(content).into()));
        for (index, hash) in pair.iter().zip(pair_hashes) {
            hashes[*index] = hash;
        }
    }
    for index in last {
        hashes[*index] = Sha256::digest(contents[*index]).into();
    }
    hashes.into_iter().map(|hash| FileDigest::Whole(ContentHash::from_bytes(hash))).collect()
}

/// Nothing unless the processor has the instructions.
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
fn hash_pair(contents: [&[u8]; 2]) -> Option<[[u8; 32]; 2]> {
    super::simd::two::hash(contents)
}

#[cfg(not(all(feature = "simd", target_arch = "x86_64")))]
fn hash_pair(_: [&[u8]; 2]) -> Option<[[u8; 32]; 2]> {
    None
}

/// Leaves that are hashed at once where the processor can.
pub(super) const LANES: usize = 16;

/// Hashes the leaves of `bytes`, which begin where a leaf does.
pub(super) fn hash_leaves(bytes: &[u8]) -> Vec<[u8; 32]> {
    hash_16_leaves(bytes)
        .unwrap_or_else(|| bytes.chunks(LEAF).map(|leaf| Sha256::digest(leaf).into()).collect())
}

/// Nothing unless there are sixteen whole leaves, and the processor has the instructions.
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
fn hash_16_leaves(bytes: &[u8]) -> Option<Vec<[u8; 32]>> {
    super::simd::sixteen::hash(bytes.try_into().ok()?).map(Vec::from)
}

#[cfg(not(all(feature = "simd", target_arch = "x86_64")))]
fn hash_16_leaves(_: &[u8]) -> Option<Vec<[u8; 32]>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn digest(content: &[u8], piece: usize) -> FileDigest {
        let mut hasher = FileHasher::new(content.len() as u64);
        content.chunks(piece).for_each(|piece| hasher.update(piece));
        hasher.finish()
    }

    fn by_definition(content: &[u8]) -> FileDigest {
        if content.len() <= MIB {
            return FileDigest::Whole(ContentHash::of(content));
        }
        let mut tree = b"dockit-tree-v1".to_vec();
        tree.extend((content.len() as u64).to_le_bytes());
        for leaf in content.chunks(65536) {
            tree.extend(ContentHash::of(leaf).as_bytes());
        }
        FileDigest::Leaves(ContentHash::of(&tree))
    }

    #[test]
    fn the_digest_is_the_one_defined_however_the_content_is_cut() {
        for size in [0, 1, LEAF, MIB - 1, MIB, MIB + 1, MIB + LEAF - 1, MIB + LEAF, MIB + LEAF + 1]
        {
            let content: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
            for piece in [1000, LEAF, 100_000, 2 * MIB] {
                assert_eq!(digest(&content, piece), by_definition(&content), "{size} by {piece}");
            }
        }
    }

    #[test]
    fn the_way_of_hashing_changes_behind_1_mib() {
        assert!(matches!(digest(&vec![0; MIB], MIB), FileDigest::Whole(_)));
        assert!(matches!(digest(&vec![0; MIB + 1], MIB), FileDigest::Leaves(_)));
    }

    #[test]
    fn contents_that_are_hashed_together_keep_their_places() {
        let bytes: Vec<u8> = (0..5_000_u32).map(|index| index as u8).collect();
        let lengths = [70, 0, 4_000, 1, 64, 70, 3_999, 55, 56];
        for count in 0..=lengths.len() {
            let contents: Vec<_> =
                lengths[..count].iter().map(|length| &bytes[*length / 8..][..*length]).collect();
            let expected: Vec<_> = contents.iter().map(|content| by_definition(content)).collect();
            assert_eq!(hash_wholes(&contents), expected, "{count}");
        }
    }
}
