//! For which commit a moving tag was put where it is, and what a content tag was moved away from.
//!
//! An image can be older than the run that puts a tag on it: a branch built it first, or a commit took
//! another one back. So the commit of the run is written beside the image, as an artifact without
//! content (image spec 1.1, *Guidelines for Artifact Usage*) that says in its annotations which tag was
//! put and for which commit. It is there before the tag is.

use std::collections::BTreeMap;

use bytes::Bytes;
use dockit_registry::{Digest, Error, RawManifest, Reference, Registry, Repository, Tag};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::inputs::{self, EMPTY, EMPTY_TYPE, Origin};
use crate::source::Commit;

/// The artifact type under which records are among an image's referrers.
pub const RECORD_TYPE: &str = "application/vnd.dockit.tag.v1+json";

const TAG: &str = "dev.dockit.tag";
const PROMOTION: &str = "dev.dockit.promotion";
const PROMOTION_SOURCE: &str = "dev.dockit.promotion.source";
const GATES_PASSED: &str = "dev.dockit.promotion.gates-passed";
const GATES_SKIPPED: &str = "dev.dockit.promotion.gates-skipped";

/// Records that a tag is put on an image for a commit.
pub(crate) async fn record(
    registry: &dyn Registry,
    repository: &Repository,
    image: &RawManifest,
    tag: &Tag,
    commit: &Commit,
) -> Result<Digest, Error> {
    let origin = origin_of(Some(commit));
    write(registry, repository, image, tag, &origin, BTreeMap::new()).await
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
    write(registry, repository, image, tag, &origin, BTreeMap::new()).await
}

/// A tag that a promotion put on an image.
#[derive(Clone, Debug)]
pub(crate) struct Promoted<'a> {
    pub(crate) tag: &'a Tag,
    /// What the promotion is called.
    pub(crate) set: &'a str,
    pub(crate) source: &'a Reference,
    /// What the tag was on before.
    pub(crate) replaced: Option<&'a Digest>,
    /// When it began, in RFC 3339. The same for a promotion that was resumed, so that it records the
    /// same artifact again.
    pub(crate) started: &'a str,
    pub(crate) revision: Option<&'a str>,
    /// When that was committed, in RFC 3339.
    pub(crate) committed: Option<&'a str>,
    pub(crate) passed: Vec<String>,
    /// Gates with the reasons for which they were skipped.
    pub(crate) skipped: BTreeMap<String, String>,
}

/// Records that a promotion put a tag on an image.
pub(crate) async fn record_promoted(
    registry: &dyn Registry,
    repository: &Repository,
    image: &RawManifest,
    promoted: &Promoted<'_>,
) -> Result<Digest, Error> {
    let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let origin = Origin {
        created: time(promoted.started),
        revision: promoted.revision.map(str::to_owned),
        committed: promoted.committed.and_then(time),
        replaced: promoted.replaced.cloned(),
        ..Origin::now()
    };
    let mut more = BTreeMap::from([
        (PROMOTION, promoted.set.to_owned()),
        (PROMOTION_SOURCE, promoted.source.to_string()),
    ]);
    if !promoted.passed.is_empty() {
        more.insert(GATES_PASSED, serde_json::json!(promoted.passed).to_string());
    }
    if !promoted.skipped.is_empty() {
        more.insert(GATES_SKIPPED, serde_json::json!(promoted.skipped).to_string());
    }
    write(registry, repository, image, promoted.tag, &origin, more).await
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
    more: BTreeMap<&'static str, String>,
) -> Result<Digest, Error> {
    let mut annotations = more;
    annotations.insert(TAG, tag.to_string());
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
