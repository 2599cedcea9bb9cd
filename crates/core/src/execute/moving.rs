//! The last phase of a run: moving tags, after every image has ended.
//!
//! A registry cannot compare and swap, so a tag is looked at right before it is put, and again after
//! waiting twice as long as that took. A run of an older revision that put it in between is then seen
//! and overruled; one of a newer revision is left alone. What remains: a run of an older revision whose
//! look and put lie further apart than the newer one's wait can still put the tag back. The next run of
//! the newer revision corrects it.

use std::time::Instant;

use dockit_registry::{Access, Digest, RawManifest, Repository, Tag};
use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::Run;
use super::checks;
use super::publish::SETTLE;
use super::report::{ImageError, ImageReport, ProjectTests, RunReport, Status};
use crate::events::Event;
use crate::image_name::ImageName;
use crate::moving_tags::{HeldReason, HeldTag, WantedTag, record};
use crate::plan::{Plan, Step};
use crate::source::GitSource;

/// Images whose tags move at a time. Mostly they wait; the client bounds how many requests a host gets.
const AT_A_TIME: usize = 64;

/// How often a tag is put that another run takes away.
const TRIES: usize = 3;

/// Moves the tags of the images that ended well, unless something keeps all of them from moving.
pub(super) async fn finish(
    run: &Run<'_>,
    plan: &Plan,
    report: &mut RunReport,
    cancel: &CancellationToken,
) {
    let work = plan.steps.iter().zip(&report.images).filter_map(|(step, image)| {
        let ended_well = image.error.is_none()
            && matches!(image.status, Status::Built | Status::Reused | Status::Retagged);
        let pushed = run.graph.node(&step.image)?.image().is_pushed(run.options.push);
        let digest = image.digest.as_ref().filter(|_| ended_well && pushed)?;
        (!step.tags.is_empty()).then(|| (step, digest.clone()))
    });
    let work: Vec<(&Step, Digest)> = work.collect();
    let gate = if cancel.is_cancelled() {
        Err(HeldReason::Interrupted)
    } else if report.count(Status::Cancelled) > 0 {
        Err(HeldReason::Stopped)
    } else {
        project_tests(run, plan, report, !work.is_empty(), cancel).await
    };
    if let Err(reason) = gate {
        for (step, _) in work {
            let held = step.tags.iter().map(|wanted| wanted.held(reason.clone()));
            entry(report, step).held_tags.extend(held);
        }
        return;
    }
    let mut moving = stream::iter(work)
        .map(|(step, digest)| async move { (step, move_tags(run, step, digest, cancel).await) })
        .buffer_unordered(AT_A_TIME);
    while let Some((step, moved)) = moving.next().await {
        if !moved.tags.is_empty() || !moved.held.is_empty() {
            run.observer.event(Event::TagsMoved {
                image: step.image.clone(),
                tags: moved.tags.clone(),
                held: moved.held.clone(),
            });
        }
        let image = entry(report, step);
        if image.status == Status::Reused && !moved.tags.is_empty() {
            image.status = Status::Retagged;
        }
        image.tags.extend(moved.tags);
        image.held_tags.extend(moved.held);
        if let Some(error) = moved.error {
            (image.status, image.error) = (Status::Failed, Some(error));
            run.observer.event(Event::Finished(Box::new(image.clone())));
        }
    }
}

fn entry<'a>(report: &'a mut RunReport, step: &Step) -> &'a mut ImageReport {
    let image = report.images.iter_mut().find(|image| image.image == step.image);
    image.expect("the report has an entry for each step of the plan")
}

/// The tests of the project gate every moving tag, and run when all images are where they belong. The
/// reason for which no tag moves, if there is one.
async fn project_tests(
    run: &Run<'_>,
    plan: &Plan,
    report: &mut RunReport,
    moves: bool,
    cancel: &CancellationToken,
) -> Result<(), HeldReason> {
    report.project_tests = checks::project(run, plan, report, moves, cancel).await;
    let reason = match &report.project_tests {
        _ if cancel.is_cancelled() => return Err(HeldReason::Interrupted),
        // Tags do not move where what gates them could not say anything.
        ProjectTests::NotRun => {
            Some("the project's tests did not run, because not every image ended well".to_owned())
        }
        tests => tests.failure(),
    };
    reason.map_or(Ok(()), |reason| Err(HeldReason::ProjectTests(reason)))
}

/// What became of the tags of an image.
#[derive(Default)]
struct Moved {
    tags: Vec<Tag>,
    held: Vec<HeldTag>,
    error: Option<ImageError>,
}

async fn move_tags(
    run: &Run<'_>,
    step: &Step,
    digest: Digest,
    cancel: &CancellationToken,
) -> Moved {
    let repository = step.reference.repository();
    let mut mover = Mover {
        run,
        image: &step.image,
        repository,
        digest,
        manifest: None,
        moved: Moved::default(),
    };
    let mut waiting: Vec<&WantedTag> = step.tags.iter().collect();
    for round in 0..TRIES {
        let start = Instant::now();
        let mut put = Vec::new();
        while let Some(wanted) = waiting.pop() {
            let tried = tokio::select! {
                biased;
                () = cancel.cancelled() => Ok(Turn::Held(HeldReason::Interrupted)),
                tried = mover.turn(wanted, round) => tried,
            };
            match tried {
                Ok(Turn::There) => {}
                Ok(Turn::Put) => put.push(wanted),
                Ok(Turn::Held(reason)) => mover.hold(wanted, reason),
                Err(error) => mover.moved.error = mover.moved.error.take().or(Some(error)),
            }
        }
        if put.is_empty() {
            break;
        }
        let settle = (2 * start.elapsed()).clamp(*SETTLE.start(), *SETTLE.end());
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(settle) => {}
        }
        for wanted in put {
            match mover.there(&wanted.tag).await {
                Err(error) => mover.moved.error = mover.moved.error.take().or(Some(error)),
                Ok(Some(there)) if there != mover.digest && round + 1 < TRIES => {
                    waiting.push(wanted);
                }
                Ok(Some(there)) if there != mover.digest => {
                    mover.hold(wanted, HeldReason::Contested { digest: there });
                }
                Ok(None) => waiting.push(wanted),
                Ok(Some(_)) => mover.moved.tags.push(wanted.tag.clone()),
            }
        }
    }
    for wanted in waiting {
        let message =
            format!("the tag {} was put, but the registry says that it is absent", wanted.tag);
        let error = super::publish::registry_error(message);
        mover.moved.error = mover.moved.error.take().or(Some(error));
    }
    let order = |tag: &Tag| step.tags.iter().position(|wanted| wanted.tag == *tag);
    mover.moved.tags.sort_by_key(order);
    mover.moved
}

struct Mover<'a> {
    run: &'a Run<'a>,
    image: &'a ImageName,
    repository: &'a Repository,
    digest: Digest,
    manifest: Option<RawManifest>,
    moved: Moved,
}

/// What happened to a tag.
enum Turn {
    There,
    Put,
    Held(HeldReason),
}

impl Mover<'_> {
    /// Puts the tag, unless it is there, or must not be taken from where it is.
    async fn turn(&mut self, wanted: &WantedTag, round: usize) -> Result<Turn, ImageError> {
        match self.there(&wanted.tag).await? {
            Some(there) if there == self.digest => return Ok(Turn::There),
            // Whoever took a tag away that was just put is a rival, of whom the newer one wins.
            Some(there) if wanted.guarded || round > 0 => {
                let history = &self.run.history;
                let tag = &wanted.tag;
                let kept = history.keeps(self.run.registry, self.repository, &there, tag).await?;
                if let Some(reason) = kept {
                    return Ok(Turn::Held(reason));
                }
            }
            _ => {}
        }
        let manifest = match self.manifest.take() {
            Some(manifest) => manifest,
            None => {
                let source = self.repository.with_digest(self.digest.clone());
                self.run.registry.manifest(&source).await?
            }
        };
        if wanted.template.is_fixed() && round == 0 {
            self.record(&wanted.tag, &manifest).await;
        }
        let put = self.run.registry.put_manifest(self.repository, &wanted.tag, &manifest).await;
        self.manifest = Some(manifest);
        put?;
        Ok(Turn::Put)
    }

    /// Says beside the image for which commit the tag is put; where that fails, the tag is put all the
    /// same.
    async fn record(&self, tag: &Tag, manifest: &RawManifest) {
        let Some(commit) = self.run.history.source.and_then(GitSource::clean_commit) else {
            return;
        };
        let recorded =
            record::record(self.run.registry, self.repository, manifest, tag, commit).await;
        if let Err(error) = recorded {
            let image = self.image.clone();
            self.run.observer.event(Event::TagNotRecorded { image, tag: tag.clone(), error });
        }
    }

    async fn there(&self, tag: &Tag) -> Result<Option<Digest>, ImageError> {
        let reference = self.repository.with_tag(tag.clone());
        let head = self.run.registry.head_manifest(&reference, Access::PullPush).await?;
        Ok(head.map(|head| head.digest))
    }

    fn hold(&mut self, wanted: &WantedTag, reason: HeldReason) {
        self.moved.held.push(wanted.held(reason));
    }
}
