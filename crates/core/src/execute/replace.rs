//! Moving a content tag away from an image of the same key.
//!
//! What the tag was on is never deleted: lockfiles and pins name it by digest. That it is the predecessor
//! stands beside its successor, because no tag leads to it any more. It can only be written afterwards:
//! engines push by tag, and there is no digest before. A run that is killed in between has said in its
//! report what it replaced, if it came so far, and otherwise nobody knows.

use dockit_registry::{Digest, Error};

use super::Run;
use super::report::{ImageError, ImageErrorKind};
use crate::events::Event;
use crate::moving_tags::record;
use crate::plan::Step;

/// Tells that the step's content tag was moved, and writes it beside the image.
pub(super) async fn record(run: &Run<'_>, step: &Step, old: &Digest, new: &Digest) {
    let (image, digest) = (step.image.clone(), new.clone());
    run.observer.event(Event::Replaced { image: image.clone(), old: old.clone(), digest });
    if let Err(error) = write(run, step, old, new).await {
        run.observer.event(Event::ReplacedNotRecorded { image, old: old.clone(), error });
    }
}

async fn write(run: &Run<'_>, step: &Step, old: &Digest, new: &Digest) -> Result<(), Error> {
    let repository = step.reference.repository();
    let manifest = run.registry.manifest(&repository.with_digest(new.clone())).await?;
    let commit = run.publishing.as_ref().and_then(|publishing| publishing.revision);
    let tag = step.key.tag();
    record::record_replaced(run.registry, repository, &manifest, &tag, old, commit).await?;
    Ok(())
}

/// Says what it means that a push to a tag which is on something failed, where the registry's words tell
/// that this tag cannot move. An engine passes on the words and nothing else.
pub(super) fn explained(step: &Step, error: ImageError) -> ImageError {
    const KEPT: &[&str] = &["immutab", "cannot be overwritten", "protected tag"];
    let message = error.message.to_ascii_lowercase();
    let kept = KEPT.iter().any(|words| message.contains(words));
    match step.replaces() {
        Some(old) if kept && error.kind == ImageErrorKind::Registry => ImageError {
            kind: ImageErrorKind::Immutable,
            message: format!("{} stays on {old}: {}", step.reference, error.message),
        },
        _ => error,
    }
}
