//! For which commit a moving tag was put where it is.
//!
//! An image can be older than the run that puts a tag on it: a branch built it first, or a commit took
//! another one back. So the commit of the run is written beside the image, as an artifact without
//! content (image spec 1.1, *Guidelines for Artifact Usage*) that says in its annotations which tag was
//! put and for which commit. It is there before the tag is.

use std::collections::BTreeMap;

use bytes::Bytes;
use dockit_registry::{Digest, Error, RawManifest, Registry, Repository, Tag};

use crate::inputs::{self, EMPTY, EMPTY_TYPE, Origin};
use crate::source::Commit;

/// The artifact type under which records are among an image's referrers.
pub const RECORD_TYPE: &str = "application/vnd.dockit.tag.v1+json";

const TAG: &str = "dev.dockit.tag";

/// Records that a tag is put on an image for a commit.
pub(crate) async fn record(
    registry: &dyn Registry,
    repository: &Repository,
    image: &RawManifest,
    tag: &Tag,
    commit: &Commit,
) -> Result<Digest, Error> {
    let origin =
        Origin { revision: Some(commit.id.clone()), committed: commit.time, ..Origin::now() };
    let mut annotations = BTreeMap::from([(TAG, tag.to_string())]);
    annotations.extend(origin.annotations());
    let manifest = inputs::artifact(image, RECORD_TYPE, (EMPTY_TYPE, EMPTY), &annotations);
    registry.put_blob(repository, Bytes::from_static(EMPTY)).await?;
    registry.put_referrer(repository, &manifest).await
}

/// For which commits a tag was put on an image, the last first. As with everything that hangs on an
/// image, whoever may push can write anything.
pub(crate) async fn recorded(
    registry: &dyn Registry,
    repository: &Repository,
    image: &Digest,
    tag: &Tag,
) -> Result<Vec<Origin>, Error> {
    let of_tag = |annotations: &BTreeMap<String, String>| {
        annotations.get(TAG).is_some_and(|recorded| recorded == tag.as_str())
    };
    let all = inputs::annotations(registry, repository, image, RECORD_TYPE, of_tag).await?;
    Ok(all.iter().map(Origin::read).collect())
}
