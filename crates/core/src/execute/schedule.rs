//! When each image's turn is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use dockit_registry::Reference;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::Run;
use super::image::{self, Outcome};
use super::report::{ImageError, ImageErrorKind, ImageReport, RunReport, Status};
use crate::events::Event;
use crate::image_name::ImageName;
use crate::plan::{Action, Plan, Step};

pub(super) async fn execute(run: &Run<'_>, plan: &Plan, cancel: &CancellationToken) -> RunReport {
    let mut schedule = Schedule::new(run, plan);
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < run.options.jobs.get() {
            let Some(step) = schedule.next_ready() else {
                break;
            };
            let references = schedule.references.clone();
            running.push(async move {
                let start = Instant::now();
                let result = image::work(run, step, &references).await;
                (step, result, start.elapsed().as_secs_f64())
            });
        }
        let finished = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            finished = running.next() => finished,
        };
        let Some((step, result, seconds)) = finished else {
            break;
        };
        let failed = result.is_err();
        schedule.finish(step, result, seconds);
        if failed && run.options.fail_fast {
            break;
        }
    }
    // Dropping the futures closes their connections; the engine ends builds nobody waits for.
    drop(running);
    schedule.into_report()
}

struct Schedule<'a> {
    run: &'a Run<'a>,
    plan: &'a Plan,
    waiting: BTreeSet<usize>,
    reports: BTreeMap<ImageName, ImageReport>,
    /// How a Dockerfile names each image that is done.
    references: BTreeMap<ImageName, Reference>,
}

impl<'a> Schedule<'a> {
    fn new(run: &'a Run<'a>, plan: &'a Plan) -> Self {
        Self {
            run,
            plan,
            waiting: (0..plan.steps.len()).collect(),
            reports: BTreeMap::new(),
            references: BTreeMap::new(),
        }
    }

    /// The first step of the plan whose dependencies are done. Steps that can no longer be done
    /// are reported on the way.
    fn next_ready(&mut self) -> Option<&'a Step> {
        loop {
            let (index, blocked_by) = self.waiting.iter().find_map(|index| {
                let step = &self.plan.steps[*index];
                match self.readiness(step) {
                    Readiness::Waiting => None,
                    Readiness::Ready => Some((*index, None)),
                    Readiness::Blocked(by) => Some((*index, Some(by))),
                }
            })?;
            self.waiting.remove(&index);
            let step = &self.plan.steps[index];
            match blocked_by {
                None => return Some(step),
                Some(dependency) => {
                    let error = ImageError {
                        kind: ImageErrorKind::Dependency,
                        message: format!("{dependency}, which it needs, was not built"),
                    };
                    self.report(step, Status::Skipped, Outcome::default(), 0.0, Some(error));
                }
            }
        }
    }

    fn readiness(&self, step: &Step) -> Readiness {
        if step.action != Action::Build {
            return Readiness::Ready;
        }
        let node = self.run.graph.node(&step.image).expect("the plan was made from this graph");
        let mut waiting = false;
        for dependency in node.dependencies() {
            match self.reports.get(dependency) {
                Some(report) if report.error.is_some() => {
                    return Readiness::Blocked(dependency.clone());
                }
                Some(_) => {}
                None => waiting = true,
            }
        }
        if waiting { Readiness::Waiting } else { Readiness::Ready }
    }

    fn finish(&mut self, step: &Step, result: Result<Outcome, ImageError>, seconds: f64) {
        match result {
            Ok(outcome) => {
                if let Some(reference) = &outcome.source {
                    self.references.insert(step.image.clone(), reference.clone());
                }
                let status = outcome.status;
                self.report(step, status, outcome, seconds, None);
            }
            Err(error) => {
                self.report(step, Status::Failed, Outcome::default(), seconds, Some(error));
            }
        }
    }

    fn report(
        &mut self,
        step: &Step,
        status: Status,
        outcome: Outcome,
        seconds: f64,
        error: Option<ImageError>,
    ) {
        let report = ImageReport {
            image: step.image.clone(),
            key: step.key,
            status,
            reference: step.reference.clone(),
            digest: outcome.digest,
            pushed: outcome.pushed,
            tags: outcome.tags,
            seconds,
            error,
        };
        self.run.observer.event(Event::Finished(report.clone()));
        self.reports.insert(step.image.clone(), report);
    }

    fn into_report(mut self) -> RunReport {
        for step in &self.plan.steps {
            if !self.reports.contains_key(&step.image) {
                self.report(step, Status::Cancelled, Outcome::default(), 0.0, None);
            }
        }
        let images =
            self.plan.steps.iter().filter_map(|step| self.reports.remove(&step.image)).collect();
        RunReport { images }
    }
}

enum Readiness {
    Ready,
    Waiting,
    Blocked(ImageName),
}
