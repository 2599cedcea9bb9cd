//! Other tags for a manifest that is there, without moving a layer.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::registry::{Access, Registry};
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::RawManifest;
use crate::reference::{Reference, Repository, Tag};

/// How many tags are asked for or put at a time.
const AT_A_TIME: usize = 4;

/// What giving a manifest some tags would change.
#[derive(Clone, Debug)]
pub struct Retag {
    repository: Repository,
    manifest: RawManifest,
    tags: Vec<(Tag, Option<Digest>)>,
}

/// A tag after a retag.
#[derive(Clone, Debug)]
pub struct RetaggedTag {
    /// The tag.
    pub tag: Tag,
    /// The digest that it was on before.
    pub previous: Option<Digest>,
    /// What was done, or why it could not be.
    pub result: Result<TagChange, Error>,
}

/// What giving a manifest a tag changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagChange {
    /// There was no such tag.
    Created,
    /// It was on another manifest.
    Moved,
    /// It was on this one.
    Unchanged,
}

impl Retag {
    /// Looks at a manifest and at where the tags are now, all in the repository of `source`. Writes
    /// nothing.
    ///
    /// # Errors
    ///
    /// The manifest is absent, or a tag could not be looked at.
    pub async fn plan(
        registry: &dyn Registry,
        source: &Reference,
        tags: &[Tag],
    ) -> Result<Self, Error> {
        let manifest = registry.manifest(source).await?;
        let repository = source.repository();
        let tags = stream::iter(tags)
            .map(|tag| async move {
                let reference = repository.with_tag(tag.clone());
                // As a writer, to whom what is absent is not denied.
                let head = registry.head_manifest(&reference, Access::PullPush).await?;
                Ok::<_, Error>((tag.clone(), head.map(|head| head.digest)))
            })
            .buffered(AT_A_TIME)
            .try_collect()
            .await?;
        Ok(Self { repository: repository.clone(), manifest, tags })
    }

    /// The digest that the tags will be on.
    pub fn digest(&self) -> &Digest {
        self.manifest.digest()
    }

    /// The tags, in the order in which they were given: where each is now, and what would change.
    pub fn changes(&self) -> impl Iterator<Item = (&Tag, Option<&Digest>, TagChange)> {
        self.tags.iter().map(|(tag, previous)| {
            let change = match previous {
                None => TagChange::Created,
                Some(digest) if digest == self.digest() => TagChange::Unchanged,
                Some(_) => TagChange::Moved,
            };
            (tag, previous.as_ref(), change)
        })
    }

    /// Puts the tags. The manifest's bytes are sent as they were read, so that the digest stays. A tag
    /// that fails does not keep the others from being put.
    pub async fn apply(&self, registry: &dyn Registry) -> Vec<RetaggedTag> {
        stream::iter(self.changes())
            .map(|(tag, previous, change)| async move {
                let result = match change {
                    TagChange::Unchanged => Ok(change),
                    TagChange::Created | TagChange::Moved => registry
                        .put_manifest(&self.repository, tag, &self.manifest)
                        .await
                        .map(|_| change),
                };
                RetaggedTag { tag: tag.clone(), previous: previous.cloned(), result }
            })
            .buffered(AT_A_TIME)
            .collect()
            .await
    }
}
