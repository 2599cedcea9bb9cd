//! Bringing images into the engine of this machine, and what they are called there.

use dockit_registry::{Digest, Platform, Reference};

use super::Run;
use super::image::{Outcome, named};
use super::report::{ImageError, ImageErrorKind, Status};
use crate::backend::LocalImage;
use crate::events::Event;
use crate::plan::Step;
use crate::project::Image;
use crate::pull;

/// Brings a step's image into the engine, under its content tag, its short name and its aliases.
pub(super) async fn image(run: &Run<'_>, step: &Step, outcome: &Outcome) -> Result<(), ImageError> {
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    // Of several platforms it is the engine's that is loaded.
    if node.image().is_part() && node.image().platform != engine_platform(run).await? {
        return Ok(());
    }
    let held = run.engine.find(&step.reference).await?;
    // What the engine has under the content tag is what was just built, or another image of the same key.
    let is_held = outcome.status == Status::Built && builds_here(run);
    let wanted = outcome.digest.as_ref().filter(|_| !is_held);
    let local: LocalImage = match (held, wanted.or(outcome.digest.as_ref())) {
        (Some(local), _) if wanted.is_none() => local,
        (_, Some(digest)) => {
            let source = named(step, Some(digest));
            run.observer
                .event(Event::PullStarted { image: step.image.clone(), reference: source.clone() });
            let platform = &node.image().platform;
            let name = std::slice::from_ref(&step.reference);
            pull::into_engine(run.registry, run.engine, &source, digest, platform, name, None)
                .await?
                .image
        }
        (_, None) => {
            return Err(ImageError {
                kind: ImageErrorKind::Engine,
                message: format!("{} is neither in the engine nor in a registry", step.reference),
            });
        }
    };
    // A part is called as its index is.
    let called = run.graph.node(node.image().declared_name()).unwrap_or(node);
    name_in_engine(run, called.image(), &local).await
}

/// Brings the part of an index that is for the engine's platform into the engine, under the names of the
/// index.
pub(super) async fn index(run: &Run<'_>, step: &Step, digest: &Digest) -> Result<(), ImageError> {
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    let image = node.image();
    let platform = engine_platform(run).await?;
    if !image.platforms().contains(&platform) {
        let message = format!("the engine is {platform}, and {} is not built for it", image.name);
        return Err(ImageError { kind: ImageErrorKind::Engine, message });
    }
    let source = step.reference.repository().with_digest(digest.clone());
    run.observer.event(Event::PullStarted { image: step.image.clone(), reference: source.clone() });
    let names = std::slice::from_ref(&step.reference);
    let local =
        pull::into_engine(run.registry, run.engine, &source, digest, &platform, names, None)
            .await?
            .image;
    name_in_engine(run, image, &local).await
}

/// Whether what is built is built in the engine of this machine.
pub(super) fn builds_here(run: &Run<'_>) -> bool {
    let mut engines = run.backends.iter().map(|backend| backend.backend.engine());
    engines.all(|engine| engine.is_some_and(|engine| std::ptr::addr_eq(engine, run.engine)))
}

/// The platform whose images the engine runs by itself.
async fn engine_platform(run: &Run<'_>) -> Result<Platform, ImageError> {
    let said = match run.engine.containers() {
        Some(containers) => containers.platform().await?,
        None => None,
    };
    said.ok_or_else(|| ImageError {
        kind: ImageErrorKind::Engine,
        message: "the engine does not say which platform it is".to_owned(),
    })
}

/// Gives what the engine has under the content tag, if it has anything, the names that the configuration
/// gives the image besides.
pub(super) async fn put_aliases(run: &Run<'_>, step: &Step) -> Result<(), ImageError> {
    let image = run.graph.node(&step.image).expect("the plan was made from this graph").image();
    if image.aliases.is_empty() {
        return Ok(());
    }
    if let Some(local) = run.engine.find(&step.reference).await? {
        for alias in &image.aliases {
            run.engine.tag(&local, alias).await?;
        }
    }
    Ok(())
}

/// Gives an image in the engine its short name and what it is called there besides.
async fn name_in_engine(
    run: &Run<'_>,
    image: &Image,
    local: &LocalImage,
) -> Result<(), ImageError> {
    let short_name: Reference =
        image.name.as_str().parse().map_err(|error: dockit_registry::ReferenceError| {
            ImageError {
                kind: ImageErrorKind::Engine,
                message: format!("{} cannot be a name in the engine: {error}", image.name),
            }
        })?;
    run.engine.tag(local, &short_name.or_latest()).await?;
    for alias in &image.aliases {
        run.engine.tag(local, alias).await?;
    }
    Ok(())
}
