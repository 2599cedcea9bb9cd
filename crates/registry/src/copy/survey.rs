//! What has to be moved: the manifests that the destination lacks, and their blobs.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::budget::{Budget, too_much};
use super::place::ImagePlace;
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{Descriptor, RawManifest, media_type};

/// How many questions are asked at a time; the client has limits of its own.
pub(super) const QUESTIONS: usize = 16;

/// Most manifests that belong to one image, as a bound for what a malicious index can make of it.
const MAX_MANIFESTS: usize = 10_000;

/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 16;

/// Manifests and what they point to.
#[derive(Default)]
pub(super) struct Survey {
    /// Every manifest that belongs to the image, whether the destination holds it or not.
    pub(super) members: BTreeSet<Digest>,
    /// Those that the destination lacks, in groups: what a manifest points to is in an earlier group.
    pub(super) missing: Vec<Vec<RawManifest>>,
    /// The blobs of the missing ones, and of the others as well where the destination may lack them.
    pub(super) blobs: BTreeMap<Digest, Descriptor>,
    /// The blobs that a missing manifest names.
    pub(super) new_blobs: BTreeSet<Digest>,
    /// Layers that need not be in a registry.
    pub(super) layers_left: BTreeMap<Digest, Descriptor>,
}

/// A manifest on the way: at the destination already, or its bytes.
enum Found {
    Held(Digest),
    Read { manifest: RawManifest, held: bool },
}

impl Survey {
    /// Looks at these manifests and everything below them.
    pub(super) async fn of(
        from: &dyn ImagePlace,
        to: &dyn ImagePlace,
        roots: Vec<RawManifest>,
        budget: &Budget,
    ) -> Result<Self, Error> {
        let mut survey = Self::default();
        let mut by_depth: Vec<Vec<RawManifest>> = Vec::new();
        let mut level: Vec<Found> = stream::iter(roots)
            .map(|manifest| async move {
                let held = to.has_manifest(manifest.digest()).await?;
                Ok::<_, Error>(Found::Read { manifest, held })
            })
            .buffered(QUESTIONS)
            .try_collect()
            .await?;
        while !level.is_empty() {
            if by_depth.len() == MAX_DEPTH {
                return Err(too_much(format!("indexes are nested more than {MAX_DEPTH} deep")));
            }
            let mut missing = Vec::new();
            let mut below = BTreeMap::new();
            for found in level {
                match found {
                    Found::Held(digest) => {
                        survey.members.insert(digest);
                    }
                    Found::Read { manifest, held } => {
                        let vouched = held && to.vouches_for_blobs();
                        survey.take(&manifest, vouched, &mut below)?;
                        if !held {
                            survey.expect_new(&manifest)?;
                        }
                        if !held {
                            missing.push(manifest);
                        }
                    }
                }
            }
            if survey.members.len() + below.len() > MAX_MANIFESTS {
                return Err(too_much(format!("it has more than {MAX_MANIFESTS} manifests")));
            }
            by_depth.push(missing);
            level = stream::iter(below.into_values())
                .map(|entry| child(from, to, entry, budget))
                .buffered(QUESTIONS)
                .try_collect()
                .await?;
        }
        // What is found at two depths has to be there before the higher one.
        let mut seen = BTreeSet::new();
        survey.missing = by_depth
            .into_iter()
            .rev()
            .map(|mut group| {
                group.retain(|manifest| seen.insert(manifest.digest().clone()));
                group
            })
            .collect();
        Ok(survey)
    }

    /// Whether the destination lacks this manifest.
    pub(super) fn lacks(&self, digest: &Digest) -> bool {
        self.missing.iter().flatten().any(|manifest| manifest.digest() == digest)
    }

    /// The sizes of the blobs together, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.blobs.values().fold(0, |sum, blob| sum.saturating_add(blob.size))
    }

    /// Notes what a missing manifest names.
    fn expect_new(&mut self, manifest: &RawManifest) -> Result<(), Error> {
        let content = manifest.parse()?;
        let named = content.blobs().chain(content.children());
        self.new_blobs.extend(named.map(|blob| blob.digest.clone()));
        Ok(())
    }

    /// Takes in what a manifest points to; its blobs unless the destination vouches for them.
    fn take(
        &mut self,
        manifest: &RawManifest,
        vouched: bool,
        below: &mut BTreeMap<Digest, Descriptor>,
    ) -> Result<(), Error> {
        self.members.insert(manifest.digest().clone());
        let content = manifest.parse()?;
        for entry in content.children() {
            // Layer caches are indexes whose entries are blobs.
            if media_type::ALL.contains(&entry.media_type.as_str()) {
                below.insert(entry.digest.clone(), entry.clone());
            } else if !vouched {
                self.blobs.insert(entry.digest.clone(), entry.clone());
            }
        }
        if !vouched {
            for blob in content.blobs() {
                let list = if blob.is_non_distributable() {
                    &mut self.layers_left
                } else {
                    &mut self.blobs
                };
                list.insert(blob.digest.clone(), blob.clone());
            }
        }
        Ok(())
    }
}

/// An entry of an index. That the destination holds an index proves nothing about its entries: some
/// registries take an index alone.
async fn child(
    from: &dyn ImagePlace,
    to: &dyn ImagePlace,
    entry: Descriptor,
    budget: &Budget,
) -> Result<Found, Error> {
    let is_index = matches!(&*entry.media_type, media_type::OCI_INDEX | media_type::DOCKER_LIST);
    let held = to.has_manifest(&entry.digest).await?;
    if held && !is_index && to.vouches_for_blobs() {
        return Ok(Found::Held(entry.digest));
    }
    // The source need not hold all of an index either, as long as the destination does.
    let place = if held && !is_index { to } else { from };
    let manifest = budget.hold(place.manifest(&entry.digest).await?)?;
    Ok(Found::Read { manifest, held })
}
