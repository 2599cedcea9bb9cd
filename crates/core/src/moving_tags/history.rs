//! Which of two revisions is the newer.

use std::cmp::Ordering;

use dockit_registry::{Digest, Error, Registry, Repository, Tag};
use tokio_util::sync::CancellationToken;

use super::{HeldReason, record};
use crate::inputs;
use crate::source::GitSource;

/// How a run's revision is related to those of images that others have built.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// The repository of the run's sources; without one, nothing is newer.
    pub source: Option<&'a GitSource>,
    /// Ends what is asked of git.
    pub cancel: &'a CancellationToken,
}

impl History<'_> {
    /// Why a tag that is on this image must not be moved to one of the run's revision; none if it may,
    /// also where nothing tells which of the two is the newer. What counts is the commit that the tag was
    /// put for; where nobody recorded that, the commit that the image was built from.
    ///
    /// # Errors
    ///
    /// The registry did not say what hangs on the image.
    pub async fn keeps(
        &self,
        registry: &dyn Registry,
        repository: &Repository,
        image: &Digest,
        tag: &Tag,
    ) -> Result<Option<HeldReason>, Error> {
        let Some(source) = self.source else {
            return Ok(None);
        };
        let mut origins = record::recorded(registry, repository, image, tag).await?;
        if origins.is_empty() {
            origins = inputs::origins(registry, repository, image).await?;
        }
        for origin in origins {
            let Some(revision) = origin.revision else {
                continue;
            };
            let order = source.compare(&revision, origin.committed, self.cancel).await;
            if order == Some(Ordering::Less) {
                return Ok(Some(HeldReason::Newer { revision }));
            }
        }
        Ok(None)
    }
}
