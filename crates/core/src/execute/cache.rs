//! Which of an image's cache sources are there.

use std::time::Duration;

use dockit_registry::{Access, Credential, ErrorKind, Reference};
use futures_util::future::join_all;

use super::Run;
use crate::backend::CacheSource;
use crate::events::Event;
use crate::image_name::ImageName;

/// Longest that a build waits to learn where layers might be.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// Layers that are kept and that are there.
pub(super) async fn kept(run: &Run<'_>, image: &ImageName) -> Vec<CacheSource> {
    match run.cache.kept(image) {
        Some(kept) => there(run, image, &kept.from).await,
        None => Vec::new(),
    }
}

/// Earlier images that are there.
pub(super) async fn present(run: &Run<'_>, image: &ImageName) -> Vec<CacheSource> {
    there(run, image, run.cache.get(image)).await
}

/// Those that are there, by digest, in their order. One that is not there or not for us is left out;
/// a registry that fails is told, and fails no build.
async fn there(run: &Run<'_>, image: &ImageName, sources: &[Reference]) -> Vec<CacheSource> {
    let found = join_all(sources.iter().map(|source| look(run, source))).await;
    let mut present: Vec<CacheSource> = Vec::new();
    for (source, found) in sources.iter().zip(found) {
        match found {
            Ok(Some(found)) => {
                if !present.iter().any(|other| other.image == found.image) {
                    present.push(found);
                }
            }
            Ok(None) => {}
            Err(error) => run.observer.event(Event::CacheNotLookedUp {
                image: image.clone(),
                reference: source.clone(),
                error,
            }),
        }
    }
    present
}

async fn look(run: &Run<'_>, source: &Reference) -> Result<Option<CacheSource>, String> {
    let looked = async {
        let head = run.registry.head_manifest(source, Access::Pull).await?;
        let Some(head) = head else {
            return Ok(None);
        };
        let credential: Credential = run.registry.credential(source.repository().host()).await?;
        let image = source.repository().with_digest(head.digest);
        Ok(Some(CacheSource { image, credential }))
    };
    match tokio::time::timeout(TIME_LIMIT, looked).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            let error: dockit_registry::Error = error;
            match error.kind() {
                ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Unauthorized => Ok(None),
                _ => Err(error.to_string()),
            }
        }
        Err(_) => Err(format!("no answer within {} seconds", TIME_LIMIT.as_secs())),
    }
}
