//! For which commit a moving tag was put where it is, and what a content tag was moved away from.
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
    write(registry, repository, image, tag, &origin_of(Some(commit))).await
}

/// Records that a content tag was moved to an image, from which and for which commit.
pub(crate) async fn record_replaced(
    registry: &dyn Registry,
    repository: &Repository,
    image: &RawManifest,
    tag: &Tag,
    replaced: &Digest,
    commit: Option<&Commit>,
) -> Result<Digest, Error> {
    let origin = Origin { replaced: Some(replaced.clone()), ..origin_of(commit) };
    write(registry, repository, image, tag, &origin).await
}

fn origin_of(commit: Option<&Commit>) -> Origin {
    Origin {
        revision: commit.map(|commit| commit.id.clone()),
        committed: commit.and_then(|commit| commit.time),
        ..Origin::now()
    }
}

async fn write(
    registry: &dyn Registry,
    repository: &Repository,
    image: &RawManifest,
    tag: &Tag,
    origin: &Origin,
) -> Result<Digest, Error> {
    let mut annotations = BTreeMap::from([(TAG, tag.to_string())]);
    annotations.extend(origin.annotations());
    let manifest = inputs::artifact(image, RECORD_TYPE, (EMPTY_TYPE, EMPTY), &annotations);
    registry.put_blob(repository, Bytes::from_static(EMPTY)).await?;
    registry.put_referrer(repository, &manifest).await
}

/// For which commits a tag was put on an image, and what a content tag was on before, the last first. As
/// with everything that hangs on an image, whoever may push can write anything. At most eight records are
/// looked at.
///
/// # Errors
///
/// The registry did not say what hangs on the image.
pub async fn recorded(
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
