//! Putting the tags, and putting them back.
//!
//! A registry has no compare-and-swap. Each tag is looked at right before it is put: one that is not where
//! it was when the promotion was planned stays, and ends the promotion. Who moves a tag between that look
//! and the request behind it is overwritten.

use std::sync::atomic::{AtomicBool, Ordering};

use dockit_registry::{Access, Client, Digest, Error, ErrorKind, Registry as _};
use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::AT_A_TIME;
use super::journal::Move;
use super::removal::remove;
use super::report::{MoveError, MoveStatus};
use super::survey::Manifests;

/// What became of one tag.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) status: MoveStatus,
    pub(super) error: Option<MoveError>,
    /// Whether a request to put it was sent, whatever came back.
    pub(super) tried: bool,
}

impl Done {
    fn plain(status: MoveStatus) -> Self {
        Self { status, error: None, tried: false }
    }

    fn failed(status: MoveStatus, error: impl Into<MoveError>, tried: bool) -> Self {
        Self { status, error: Some(error.into()), tried }
    }
}

/// Where a tag is now.
async fn now(client: &Client, one: &Move) -> Result<Option<Digest>, Error> {
    let head = client.head_manifest(&one.target(), Access::PullPush).await?;
    Ok(head.map(|head| head.digest))
}

/// Puts all tags, a few at a time. After the first that fails, and after an interrupt, none is begun.
pub(super) async fn put_all(
    client: &Client,
    moves: &[Move],
    manifests: &Manifests,
    cancel: &CancellationToken,
) -> Vec<Done> {
    let stop = &AtomicBool::new(false);
    stream::iter(moves)
        .map(|one| async move {
            if !one.changes() {
                return Done::plain(MoveStatus::Unchanged);
            }
            if cancel.is_cancelled() || stop.load(Ordering::SeqCst) {
                return Done::plain(MoveStatus::Untouched);
            }
            let done = put(client, one, manifests).await;
            if done.error.is_some() {
                stop.store(true, Ordering::SeqCst);
            }
            done
        })
        .buffered(AT_A_TIME)
        .collect()
        .await
}

async fn put(client: &Client, one: &Move, manifests: &Manifests) -> Done {
    match now(client, one).await {
        // By an earlier try of the same promotion.
        Ok(Some(now)) if now == one.new => {
            return Done { tried: true, ..Done::plain(MoveStatus::Put) };
        }
        Ok(now) if now.as_ref() == one.old_digest() => {}
        Ok(now) => return Done::failed(MoveStatus::Foreign(now), MoveError::Moved, false),
        Err(error) => return Done::failed(MoveStatus::Untouched, error, false),
    }
    let Some(manifest) = manifests.get(&one.new) else {
        let error = Error::new(ErrorKind::NotFound, format!("{}: no manifest", one.new));
        return Done::failed(MoveStatus::Untouched, error, false);
    };
    match client.put_manifest(&one.repository, &one.tag, manifest).await {
        Ok(_) => Done { tried: true, ..Done::plain(MoveStatus::Put) },
        Err(error) => Done::failed(MoveStatus::Unknown, error, true),
    }
}

/// Puts back each of these tags that is where the promotion put it, and tells what became of it. What
/// somebody else moved meanwhile stays.
pub(super) async fn put_back(client: &Client, moves: &[&Move], keep_new_tags: bool) -> Vec<Done> {
    stream::iter(moves)
        .map(|one| async move {
            match back(client, one, keep_new_tags).await {
                Ok(status) => Done::plain(status),
                Err(error) => Done::failed(MoveStatus::Unknown, error, true),
            }
        })
        .buffered(AT_A_TIME)
        .collect()
        .await
}

async fn back(client: &Client, one: &Move, keep_new_tags: bool) -> Result<MoveStatus, Error> {
    if !one.changes() {
        return Ok(MoveStatus::Unchanged);
    }
    let now = now(client, one).await?;
    if now.as_ref() == one.old_digest() {
        return Ok(MoveStatus::Untouched);
    }
    if now.as_ref() != Some(&one.new) {
        return Ok(MoveStatus::Foreign(now));
    }
    match &one.old {
        Some(old) => {
            client.put_manifest(&one.repository, &one.tag, old).await?;
            Ok(MoveStatus::Restored)
        }
        None if keep_new_tags => Ok(MoveStatus::Kept),
        None => {
            remove(client, &one.repository, &one.tag, &one.new).await?;
            Ok(MoveStatus::Removed)
        }
    }
}
