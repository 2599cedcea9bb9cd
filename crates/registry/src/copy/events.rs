//! What happens during a copy, and what it came to.

use crate::blob::Delivery;
use crate::digest::Digest;
use crate::manifest::Descriptor;

/// Is told what a copy does. `()` ignores it.
pub trait CopyObserver: Send + Sync {
    /// Something happened. Called from the copy's own tasks, so it must not block.
    fn event(&self, event: CopyEvent<'_>);
}

impl CopyObserver for () {
    fn event(&self, _: CopyEvent<'_>) {}
}

/// A step of a copy.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum CopyEvent<'a> {
    /// What may have to be moved is known: the image at first, and then each generation of referrers.
    Surveyed {
        /// How many manifests the destination lacks.
        manifests: usize,
        /// How many blobs they name; the destination may hold some.
        blobs: usize,
        /// The blobs' sizes together, in bytes.
        bytes: u64,
    },
    /// A blob's bytes are on their way. An upload that begins again counts from the start again.
    BlobProgress {
        /// The blob.
        blob: &'a Descriptor,
        /// How many bytes of it were read so far.
        bytes: u64,
    },
    /// A blob is at the destination.
    BlobDone {
        /// The blob.
        blob: &'a Descriptor,
        /// How it came there.
        delivery: Delivery,
    },
    /// A layer that need not be in a registry stays where it is.
    LayerLeft {
        /// The layer.
        layer: &'a Descriptor,
    },
    /// A manifest is at the destination.
    ManifestWritten {
        /// Its digest.
        digest: &'a Digest,
    },
}

/// What a copy came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// The digest that the destination's name stands for now.
    pub digest: Digest,
    /// What the destination's name stood for before.
    pub previous: Option<Digest>,
    /// Manifests that were written; those that the destination held are not counted.
    pub manifests_written: usize,
    /// Manifests among them that refer to others.
    pub referrers_written: usize,
    /// Blobs by how they came to the destination. Those of manifests that it held are
    /// counted only if it lacked them; registries are not even asked.
    pub blobs: BlobCounts,
    /// Layers that need not be in a registry and were left where they are.
    pub layers_left: Vec<Descriptor>,
}

/// Numbers of blobs, by how they came to where they are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobCounts {
    /// Those that were there.
    pub present: usize,
    /// Those that were taken from another repository of the same registry.
    pub mounted: usize,
    /// Those whose bytes were moved.
    pub written: usize,
    /// The sizes of those, in bytes.
    pub bytes_written: u64,
}

impl BlobCounts {
    pub(super) fn add(&mut self, blob: &Descriptor, delivery: Delivery) {
        match delivery {
            Delivery::Present => self.present += 1,
            Delivery::Mounted => self.mounted += 1,
            Delivery::Written => {
                self.written += 1;
                self.bytes_written += blob.size;
            }
        }
    }
}
