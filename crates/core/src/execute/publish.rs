//! Putting an image into a registry so that everybody ends up with the same digest.
//!
//! A registry has no compare-and-swap: of two runs that push the same key, the later manifest wins
//! the content tag. Each run therefore asks again right before it pushes, reads the pushed manifest
//! back, waits twice as long as its own push took (a rival whose push began before ours ended is
//! then done too, also if it is slower), and takes whatever the tag is on as the result. A rival
//! that takes far longer to push the same layers can still move the tag afterwards; its image has
//! the same key. (Pushing under another tag first would close that gap, but leaves a tag behind
//! where tags cannot be deleted, and fails where they cannot be moved.)
//!
//! A backend that pushes by digest leaves next to nothing of that gap. The image is whole in the
//! registry, checked and tested, before anybody looks at the content tag; between that look and the
//! tag there are two small requests, however large the image is. The wait is twice what these took
//! here: of a rival that looked before our tag was there, nothing longer than that is left to do.
//!
//! In a layout of this machine nothing is waited for: the look at the tag and the tag are one step there,
//! and of several runs all take what the first has put.
//!
//! A run that replaces images moves the tag away from what the plan saw there, and from nothing
//! else: what another run has put there since then is taken as the result, as in any other run. Of
//! two replacing runs one adopts the other's image.
//!
//! Moving tags are put at the end of the run on what is the result here; in that case they are on
//! an image of the same key that the content tag has left.

use std::time::{Duration, Instant};

use dockit_registry::{Access, Digest, ImageChoice, Platform, choose_image};

use super::push;
use super::replace;
use super::report::{ImageError, ImageErrorKind};
use super::unfinished::Work;
use super::{Publishing, Run};
use crate::backend::{Engine, KEY_LABEL, LocalImage, Pushed};
use crate::events::Event;
use crate::inputs::{self, Origin};
use crate::plan::Step;
use crate::repositories::{self, Found};

/// Bounds of the wait between a push and the last look at its tag.
pub(super) const SETTLE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(200)..=Duration::from_secs(10);

/// When an image was built.
#[derive(Clone, Copy, Debug)]
pub(super) struct BuildTime {
    pub(super) started: time::OffsetDateTime,
    pub(super) seconds: f64,
}

/// Whose image the content tag is on.
#[derive(Debug)]
pub(super) enum Published {
    /// What this run pushed.
    Ours(Digest),
    /// Another run's image of the same key.
    Theirs {
        /// Its digest.
        digest: Digest,
        /// Whether this run had pushed as well.
        pushed: bool,
    },
}

/// Sees that the step's repository can be pushed to.
pub(super) async fn make_ready(run: &Run<'_>, step: &Step) -> Result<(), ImageError> {
    let repository = step.reference.repository();
    match repositories::ready(run.registry, run.registries, repository).await? {
        Found::Ready => {}
        Found::Created => run.observer.event(Event::RepositoryCreated {
            image: step.image.clone(),
            repository: repository.clone(),
        }),
        Found::Missing => {
            let message =
                format!("there is no repository {repository}, and pushing does not make it");
            return Err(ImageError { kind: ImageErrorKind::NoRepository, message });
        }
    }
    Ok(())
}

/// Pushes an image of an engine under its content tag, unless somebody else was faster: what is
/// there is another run's, but for what is to be replaced.
pub(super) async fn publish(
    run: &Run<'_>,
    engine: &dyn Engine,
    step: &Step,
    platform: &Platform,
    local: &LocalImage,
) -> Result<Published, ImageError> {
    let reference = &step.reference;
    match run.registry.head_manifest(reference, Access::PullPush).await? {
        Some(head) if step.replaces() != Some(&head.digest) => {
            return Ok(Published::Theirs { digest: head.digest, pushed: false });
        }
        _ => {}
    }
    announce(run, step);
    let start = Instant::now();
    let pushed = push::push(run, engine, step, platform, local).await;
    let digest = match pushed.map_err(|error| replace::explained(step, error))? {
        Pushed::Ours(digest) => digest,
        Pushed::Theirs(digest) => return Ok(Published::Theirs { digest, pushed: false }),
    };
    verify(run, step, &digest, platform, Some(local)).await?;
    settle(run, step, digest, start).await
}

/// Puts the content tag on an image that a backend has pushed by digest, unless somebody else was
/// faster.
pub(super) async fn name(
    run: &Run<'_>,
    step: &Step,
    digest: Digest,
) -> Result<Published, ImageError> {
    let reference = &step.reference;
    let start = Instant::now();
    match run.registry.head_manifest(reference, Access::PullPush).await? {
        Some(head) if head.digest == digest => return Ok(Published::Ours(digest)),
        Some(head) if step.replaces() != Some(&head.digest) => {
            return Ok(Published::Theirs { digest: head.digest, pushed: true });
        }
        _ => {}
    }
    announce(run, step);
    let repository = reference.repository();
    let manifest = run.registry.manifest(&repository.with_digest(digest.clone())).await?;
    let (tag, expected) = (step.key.tag(), step.replaces());
    let put = run.registry.put_manifest_if(repository, &tag, &manifest, expected).await;
    put.map_err(|error| replace::explained(step, error.into()))?;
    settle(run, step, digest, start).await
}

/// Says, to whoever watches and to the next run, that the image gets its content tag.
fn announce(run: &Run<'_>, step: &Step) {
    let reference = &step.reference;
    run.observer
        .event(Event::PushStarted { image: step.image.clone(), reference: reference.clone() });
    if let Some(publishing) = inputs_of(run, step) {
        publishing.unfinished.note(&Work::Inputs(reference.clone()));
    }
}

/// Waits until a rival is done that began when we did, and looks whose image the content tag is on.
pub(super) async fn settle(
    run: &Run<'_>,
    step: &Step,
    digest: Digest,
    start: Instant,
) -> Result<Published, ImageError> {
    let reference = &step.reference;
    if reference.repository().host().layout().is_none() {
        tokio::time::sleep((2 * start.elapsed()).clamp(*SETTLE.start(), *SETTLE.end())).await;
    }
    match run.registry.head_manifest(reference, Access::PullPush).await? {
        Some(head) if head.digest == digest => Ok(Published::Ours(digest)),
        Some(head) => Ok(Published::Theirs { digest: head.digest, pushed: true }),
        None => Err(registry_error(format!(
            "{reference} was pushed as {digest}, but the registry says that the tag is absent"
        ))),
    }
}

/// Reads back what was pushed: it must be the image that was built, where its identifier is known,
/// or one of the same key that another run of the same engine put under the content tag in between.
pub(super) async fn verify(
    run: &Run<'_>,
    step: &Step,
    digest: &Digest,
    platform: &Platform,
    local: Option<&LocalImage>,
) -> Result<(), ImageError> {
    let is_built = |id: &str| local.is_some_and(|local| local.id == id);
    let repository = step.reference.repository();
    let pushed = run.registry.manifest(&repository.with_digest(digest.clone())).await?;
    if is_built(digest.as_str()) {
        return Ok(());
    }
    let image = match choose_image(run.registry, repository, &pushed, platform).await? {
        ImageChoice::Image(image) => image,
        ImageChoice::NoneFor(_) => {
            let message = format!("{digest} was pushed, but it has no image for {platform}");
            return Err(registry_error(message));
        }
        ImageChoice::Nested(_) => {
            return Err(registry_error(format!("{digest} was pushed, which holds no image")));
        }
    };
    if is_built(image.manifest.config.digest.as_str()) {
        return Ok(());
    }
    if local.is_some() && step.replaces() == Some(digest) {
        return Err(registry_error(format!(
            "{digest} was pushed, which is what was to be replaced: something else gave the engine's copy \
             of it the name {} meanwhile",
            step.reference
        )));
    }
    let config = image.config(run.registry, repository).await?;
    if config.labels.get(KEY_LABEL) == Some(&step.key.to_string()) {
        return Ok(());
    }
    Err(registry_error(match local {
        Some(local) => format!(
            "{digest} was pushed, which is not the image that was built ({}): take the tag {} away, or \
             the next run takes what it is on for this image",
            local.id, step.reference
        ),
        None => format!("{digest} was pushed, which does not say that its key is {}", step.key),
    }))
}

/// What is published with the images, if something is with this one.
fn inputs_of<'a>(run: &Run<'a>, step: &Step) -> Option<Publishing<'a>> {
    run.publishing.filter(|publishing| publishing.documents.contains_key(&step.image))
}

/// Forgets that the inputs of what was pushed are to be published.
pub(super) fn inputs_done(run: &Run<'_>, step: &Step) {
    if let Some(publishing) = inputs_of(run, step) {
        publishing.unfinished.done(&Work::Inputs(step.reference.clone()));
    }
}

/// Publishes the inputs of an image that is there already, if an earlier run of this work tree was
/// cut off after it had pushed it. To look at others would be a request for each image that is
/// reused.
pub(super) async fn finish_inputs(run: &Run<'_>, step: &Step) {
    let (Some(publishing), Some(digest)) = (inputs_of(run, step), &step.digest) else {
        return;
    };
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    let pushed = node.image().is_pushed(run.options.push);
    if pushed && publishing.unfinished.has(&Work::Inputs(step.reference.clone())) {
        // Whether it is the image that was to be pushed nobody has looked at.
        match has_key(run, step, digest).await {
            Ok(true) => attach_missing_inputs(run, step, digest).await,
            Ok(false) => {}
            Err(_) => return,
        }
        inputs_done(run, step);
    }
}

/// Whether the image with this digest says that it has the step's key.
async fn has_key(
    run: &Run<'_>,
    step: &Step,
    digest: &Digest,
) -> Result<bool, dockit_registry::Error> {
    let repository = step.reference.repository();
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    let manifest = run.registry.manifest(&repository.with_digest(digest.clone())).await?;
    match choose_image(run.registry, repository, &manifest, &node.image().platform).await? {
        ImageChoice::Image(image) => {
            let config = image.config(run.registry, repository).await?;
            Ok(config.labels.get(KEY_LABEL) == Some(&step.key.to_string()))
        }
        _ => Ok(false),
    }
}

/// Puts the list of an image's inputs beside it. The image is pushed whether that succeeds or not,
/// and one that was there before is not touched.
pub(super) async fn attach_inputs(
    run: &Run<'_>,
    step: &Step,
    digest: &Digest,
    replaced: Option<&Digest>,
    built: BuildTime,
) {
    let Some(publishing) = &run.publishing else {
        return;
    };
    let Some(document) = publishing.documents.get(&step.image) else {
        return;
    };
    let origin = Origin {
        revision: publishing.revision.map(|commit| commit.id.clone()),
        committed: publishing.revision.and_then(|commit| commit.time),
        started: Some(built.started),
        seconds: Some(built.seconds),
        replaced: replaced.cloned(),
        ..Origin::now()
    };
    let repository = step.reference.repository();
    if let Err(error) = inputs::attach(run.registry, repository, digest, document, &origin).await {
        run.observer.event(Event::InputsNotPublished { image: step.image.clone(), error });
    }
}

/// Publishes the inputs of an image that was there before, if they are not: publishing can fail
/// after the image was pushed. From which revision that was is not known any more.
pub(super) async fn attach_missing_inputs(run: &Run<'_>, step: &Step, digest: &Digest) {
    let document = run.publishing.and_then(|publishing| publishing.documents.get(&step.image));
    let Some(document) = document else {
        return;
    };
    let repository = step.reference.repository();
    let there = inputs::fetch(run.registry, repository, digest, step.key).await;
    if matches!(there, Ok(Some(_))) {
        return;
    }
    let origin = Origin::now();
    if let Err(error) = inputs::attach(run.registry, repository, digest, document, &origin).await {
        run.observer.event(Event::InputsNotPublished { image: step.image.clone(), error });
    }
}

pub(super) fn registry_error(message: String) -> ImageError {
    ImageError { kind: ImageErrorKind::Registry, message }
}
