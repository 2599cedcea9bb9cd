//! Pushing, and again where what went wrong may pass.
//!
//! The engine tries the upload of a layer a few times itself, but gives up at once where the registry
//! does not take the manifest. A backend that pushes what it builds is asked to build again: it has all
//! layers then, and may use them whatever the first try might, so that only the push is done again.

use std::time::Duration;

use dockit_registry::{Access, Digest, ImageChoice, Platform, choose_image};

use super::report::ImageError;
use super::{Run, asking};
use crate::backend::{
    BackendErrorKind, BuildObserver, BuildRequest, Built, Engine, LocalImage, NamedBackend, Pushed,
};
use crate::events::Event;
use crate::jitter::jittered;
use crate::plan::Step;

/// How often an image is pushed at most, the first time included.
const TRIES: u32 = 5;

/// The longest wait before the second try; it doubles with every try.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Pushes an image of the engine under its content tag. What the registry refuses is not tried again.
pub(super) async fn push(
    run: &Run<'_>,
    engine: &dyn Engine,
    step: &Step,
    platform: &Platform,
    local: &LocalImage,
) -> Result<Pushed, ImageError> {
    let host = step.reference.repository().host();
    let mut tried = 0;
    loop {
        // Each time, because it may have expired.
        let credential = run.registry.credential(host).await?;
        let pushed = engine.push_unless_taken(&step.reference, step.replaces(), &credential);
        let error = match pushed.await {
            Ok(pushed) => return Ok(pushed),
            Err(error) => error,
        };
        tried += 1;
        if error.kind != BackendErrorKind::RegistryPassing || tried == TRIES {
            return Err(error.into());
        }
        let wait = wait_after(tried);
        run.observer.event(Event::PushRetried { image: step.image.clone(), error, wait });
        tokio::time::sleep(wait).await;
        // Only the answer may have been lost, and somebody else may have been faster meanwhile.
        let head = run.registry.head_manifest(&step.reference, Access::PullPush).await?;
        if let Some(head) = head.filter(|head| step.replaces() != Some(&head.digest)) {
            return whose(run, step, platform, local, head.digest).await;
        }
    }
}

/// Builds, and again where a push that belongs to it failed for a reason that may pass.
pub(super) async fn build(
    run: &Run<'_>,
    backend: NamedBackend<'_>,
    step: &Step,
    mut request: BuildRequest,
    observer: &dyn BuildObserver,
) -> Result<Built, ImageError> {
    let mut tried = 0;
    loop {
        let error = match backend.backend.build(request.clone(), observer).await {
            Ok(built) => return Ok(built),
            Err(error) => error,
        };
        if error.is_absent() && backend.optional {
            return Err(asking::not_found(run, step, &error));
        }
        tried += 1;
        if error.kind != BackendErrorKind::RegistryPassing || tried == TRIES {
            return Err(error.into());
        }
        let wait = wait_after(tried);
        run.observer.event(Event::PushRetried { image: step.image.clone(), error, wait });
        tokio::time::sleep(wait).await;
        // Of what the backend has, the newest is what it has just built. It has no sources to take anything
        // else from: those are named only where the first try may use them.
        request.layer_cache = true;
    }
}

async fn whose(
    run: &Run<'_>,
    step: &Step,
    platform: &Platform,
    local: &LocalImage,
    digest: Digest,
) -> Result<Pushed, ImageError> {
    let repository = step.reference.repository();
    let manifest = run.registry.manifest(&repository.with_digest(digest.clone())).await?;
    let choice = choose_image(run.registry, repository, &manifest, platform).await?;
    let config = match &choice {
        ImageChoice::Image(image) => Some(image.manifest.config.digest.as_str()),
        _ => None,
    };
    let ours = digest.as_str() == local.id || config == Some(&local.id);
    Ok(if ours { Pushed::Ours(digest) } else { Pushed::Theirs(digest) })
}

/// Between half of the bound and the bound, so that runs which failed together do not come back together.
fn wait_after(tried: u32) -> Duration {
    jittered(FIRST_WAIT.saturating_mul(2_u32.saturating_pow(tried - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_spread() {
        for (tried, bound) in [(1, 1000), (2, 2000), (4, 8000)] {
            let waits: Vec<u128> = (0..50).map(|_| wait_after(tried).as_millis()).collect();
            assert!(waits.iter().all(|wait| (bound / 2..=bound).contains(wait)), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait > bound * 3 / 4), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait < bound * 3 / 4), "{waits:?}");
        }
    }
}
