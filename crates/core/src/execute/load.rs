//! Bringing images into the engine of this machine, and what they are called there.

use dockit_registry::{Digest, Platform, Reference};

use super::Run;
use super::image::{Outcome, named};
use super::report::{ImageError, ImageErrorKind};
use crate::backend::{BackendError, Engine, LocalImage, NamedBackend};
use crate::events::Event;
use crate::plan::{Action, Plan, Step};
use crate::project::Image;
use crate::pull;

/// Brings a step's image into the engine, under its content tag, its short name and its aliases; of
/// several platforms the one that is for the engine, under the content tag of its index as well.
pub(super) async fn image(
    run: &Run<'_>,
    plan: &Plan,
    step: &Step,
    outcome: &Outcome,
    built_here: bool,
) -> Result<(), ImageError> {
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    // A part is called as its index is.
    let called = run.graph.node(node.image().declared_name()).unwrap_or(node).image();
    if node.image().is_part() && !is_for_engine(run, node.image(), called).await? {
        return Ok(());
    }
    let held = run.engine.find(&step.reference).await?;
    // What the engine has under the content tag is what was just built, or another image of the same key.
    let wanted = outcome.digest.as_ref().filter(|_| !built_here);
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
    if node.image().is_part()
        && let Some(index) = plan.step(&called.name).filter(|index| index.selected)
    {
        run.engine.tag(&local, &index.reference).await?;
    }
    name_in_engine(run, called, &local).await
}

/// Brings the part of an index that is for the engine into the engine, under the names of the index,
/// unless the part is there or made in this run: then it is brought by itself.
pub(super) async fn index(
    run: &Run<'_>,
    plan: &Plan,
    step: &Step,
    digest: &Digest,
) -> Result<(), ImageError> {
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    let image = node.image();
    let engine = platform(run.engine).await?;
    let Some(chosen) = engine.as_ref().and_then(|engine| engine.closest(image.platforms())) else {
        let engine = engine.map_or("of no known platform".to_owned(), |it| it.to_string());
        let message = format!("the engine is {engine}, and {} is not built for it", image.name);
        return Err(ImageError { kind: ImageErrorKind::Engine, message });
    };
    let by_itself = |part: &Step| {
        part.selected && matches!(part.action, Action::Build | Action::Reuse | Action::Retag(_))
    };
    if plan.step(&image.name.part(chosen)).is_some_and(by_itself) {
        return Ok(());
    }
    let source = step.reference.repository().with_digest(digest.clone());
    run.observer.event(Event::PullStarted { image: step.image.clone(), reference: source.clone() });
    let names = std::slice::from_ref(&step.reference);
    let local = pull::into_engine(run.registry, run.engine, &source, digest, chosen, names, None)
        .await?
        .image;
    name_in_engine(run, image, &local).await
}

/// Whether what this backend builds is in the engine of this machine.
pub(super) fn is_here(run: &Run<'_>, backend: NamedBackend<'_>) -> bool {
    backend.backend.engine().is_some_and(|engine| std::ptr::addr_eq(engine, run.engine))
}

/// The platform whose images an engine runs by itself, if it says so.
pub(crate) async fn platform(engine: &dyn Engine) -> Result<Option<Platform>, BackendError> {
    match engine.containers() {
        Some(containers) => containers.platform().await,
        None => Ok(None),
    }
}

/// Whether of all parts of an index this one is for the engine.
async fn is_for_engine(run: &Run<'_>, part: &Image, index: &Image) -> Result<bool, ImageError> {
    let engine = platform(run.engine).await?;
    Ok(engine.is_some_and(|engine| engine.closest(index.platforms()) == Some(&part.platform)))
}

/// Gives what the engine has under the content tag, if it has anything, the names that the configuration
/// gives the image besides: those of an index to the part that is for the engine.
pub(super) async fn put_aliases(run: &Run<'_>, step: &Step) -> Result<(), ImageError> {
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    let image = run.graph.node(node.image().declared_name()).unwrap_or(node).image();
    if image.aliases.is_empty() {
        return Ok(());
    }
    if node.image().is_part() && !is_for_engine(run, node.image(), image).await? {
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
