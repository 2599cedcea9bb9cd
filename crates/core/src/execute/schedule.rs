//! When each image's turn is.
//!
//! An image is ready when all that it needs and that is built in this run is built. Of those that are
//! ready, the one with the longest chain of builds behind it begins first: what is left at the end is
//! then short, and a run with enough jobs takes as long as its longest chain. What is there already
//! keeps nothing waiting, and takes no job unless it is brought into the engine.
//!
//! Where several backends build, the order is the same, but an image that none of the free ones can build
//! lets others pass. One whose backend is lost is ready again.
//!
//! Two images can have one key in one repository: variants that differ in nothing that counts. Two
//! builds at once would push over each other, so the later one waits, and takes what the other has
//! built; if that failed, it is built by itself. The tests of all of them gate the content tag that they
//! share: whichever is built is tested with all, and one that does not pass fails them all.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use dockit_registry::{Platform, Reference};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Run;
use super::asking;
use super::assignment::{Assignment, Place, Wants};
use super::checks::Gate;
use super::image::{self, Done, Outcome};
use super::report::{ImageError, ImageErrorKind, ImageReport, RunReport, Status};
use crate::check::CheckResult;
use crate::events::Event;
use crate::image_name::ImageName;
use crate::key::FirstCommand;
use crate::plan::{Action, Plan, Step};

pub(super) async fn execute(run: &Run<'_>, plan: &Plan, cancel: &CancellationToken) -> RunReport {
    let images = plan.steps.iter().map(|step| step.image.clone()).collect();
    run.observer.event(Event::RunStarted { images });
    let mut schedule = Schedule::new(run, plan);
    let mut assignment = tokio::select! {
        biased;
        () = cancel.cancelled() => return schedule.into_report(),
        assignment = asking::assignment(run, plan) => assignment,
    };
    let several = asking::several(run);
    let mut running = FuturesUnordered::new();
    loop {
        let mut failed = false;
        while let Some(step) = schedule.stranded(&assignment) {
            failed = true;
            let (wants, command) = (schedule.wants(step), schedule.command(step));
            let error = asking::nobody_builds(run, &assignment, wants, command);
            let error = schedule.explained(step, error);
            schedule.finish(step, None, Err(error), Vec::new());
        }
        if failed && run.options.fail_fast {
            break;
        }
        while let Some(turn) = schedule.next(&assignment) {
            if let Some(place) = turn.place {
                assignment.begin(place);
            }
            let references = schedule.references_of(turn.step);
            let same = schedule.same_image(turn.step).cloned();
            let gates = schedule.gates(turn.step);
            let backend = run.backends[turn.backend().unwrap_or_default()];
            running.push(async move {
                let step = &plan.steps[turn.step];
                let mut done = Done::default();
                let before = image::Before { plan, references: &references, same: same.as_ref() };
                let result = image::work(run, backend, step, &before, &gates, &mut done).await;
                let lost = match (&result, turn.backend()) {
                    (Err(error), Some(_)) if several && !done.there => {
                        asking::is_lost(backend, error).await
                    }
                    _ => None,
                };
                (turn, result, done.tests, lost)
            });
        }
        let finished = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            finished = running.next() => finished,
        };
        let Some((turn, mut result, tests, lost)) = finished else {
            break;
        };
        if let Some(place) = turn.place {
            assignment.end(place);
        }
        if let (Some(error), Some(position)) = (lost, turn.backend()) {
            let message = error.to_string();
            asking::tell_lost(run, &mut assignment, position, error);
            if assignment.can_build(schedule.wants(turn.step)) {
                schedule.make_ready(turn.step);
                continue;
            }
            result = Err(ImageError { kind: ImageErrorKind::Engine, message });
        }
        if let Err(error) = &result
            && schedule.hand_over(turn, error, &assignment)
        {
            continue;
        }
        let result = result.map_err(|error| schedule.explained(turn.step, error));
        let failed = result.is_err();
        schedule.finish(turn.step, turn.backend(), result, tests);
        if failed && run.options.fail_fast {
            break;
        }
    }
    // Dropping the futures closes their connections; the engine ends builds nobody waits for.
    drop(running);
    schedule.into_report()
}

/// An image that begins.
#[derive(Clone, Copy)]
struct Turn {
    /// The position of its step in the plan.
    step: usize,
    /// What it takes up, if it takes up anything.
    place: Option<Place>,
}

impl Turn {
    /// The backend that works on it.
    fn backend(self) -> Option<usize> {
        match self.place? {
            Place::Backend(position) => Some(position),
            Place::Load => None,
        }
    }
}

struct Schedule<'a> {
    run: &'a Run<'a>,
    plan: &'a Plan,
    /// By step: the steps that are built here and that it needs.
    needs: Vec<Vec<usize>>,
    /// By step: the steps that need it, if it is built here.
    needed_by: Vec<Vec<usize>>,
    /// By step: the next build under the same content tag.
    twin: Vec<Option<usize>>,
    /// By step: how many of what it needs are not built yet; the build before it under the same
    /// content tag is one.
    missing: Vec<usize>,
    /// By step: how many builds, one after the other, end with what depends on it; its own included.
    chain: Vec<usize>,
    /// Ready steps that take a job: the longest chain first, then in the plan's order.
    ready: BinaryHeap<(usize, Reverse<usize>)>,
    /// Steps that are ready and take none.
    light: VecDeque<usize>,
    started: BTreeMap<usize, Instant>,
    /// By step: the backend that worked on it last.
    built_by: BTreeMap<usize, usize>,
    /// Steps that were not assembled, with why: what runs commands may build them.
    refused: BTreeMap<usize, ImageError>,
    reports: BTreeMap<usize, ImageReport>,
    /// How a Dockerfile names each image that is there.
    references: BTreeMap<ImageName, Reference>,
}

impl<'a> Schedule<'a> {
    fn new(run: &'a Run<'a>, plan: &'a Plan) -> Self {
        let steps = plan.steps.len();
        let index: BTreeMap<&ImageName, usize> =
            plan.steps.iter().enumerate().map(|(index, step)| (&step.image, index)).collect();
        let mut needs = vec![Vec::new(); steps];
        let mut needed_by = vec![Vec::new(); steps];
        for (dependent, step) in plan.steps.iter().enumerate() {
            if step.action != Action::Build {
                continue;
            }
            let node = run.graph.node(&step.image).expect("the plan was made from this graph");
            for name in node.dependencies() {
                let dependency = index[name];
                if plan.steps[dependency].action == Action::Build {
                    needs[dependent].push(dependency);
                    needed_by[dependency].push(dependent);
                }
            }
        }
        let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
        let mut twin = vec![None; steps];
        let mut last: BTreeMap<(&Reference, bool), usize> = BTreeMap::new();
        for (index, step) in plan.steps.iter().enumerate() {
            if step.action != Action::Build {
                continue;
            }
            // The engine's own image of a name is none of a registry's.
            let place = (&step.reference, has_registry(run, step));
            if let Some(before) = last.insert(place, index) {
                twin[before] = Some(index);
                missing[index] += 1;
            }
        }
        let mut chain = vec![1; steps];
        // Every step comes after all that it needs.
        for step in (0..steps).rev() {
            chain[step] = 1 + needed_by[step].iter().map(|other| chain[*other]).max().unwrap_or(0);
        }
        let mut schedule = Self {
            run,
            plan,
            missing,
            needs,
            needed_by,
            twin,
            chain,
            ready: BinaryHeap::new(),
            light: VecDeque::new(),
            started: BTreeMap::new(),
            built_by: BTreeMap::new(),
            refused: BTreeMap::new(),
            reports: BTreeMap::new(),
            references: BTreeMap::new(),
        };
        for (index, step) in plan.steps.iter().enumerate() {
            if let Some(reference) = image::source_if_there(step) {
                schedule.references.insert(step.image.clone(), reference);
            }
            if schedule.missing[index] == 0 {
                schedule.make_ready(index);
            }
        }
        schedule
    }

    fn make_ready(&mut self, index: usize) {
        if self.takes_job(index) {
            self.ready.push((self.chain[index], Reverse(index)));
        } else {
            self.light.push_back(index);
        }
    }

    /// Whether the step puts an index together, which keeps no engine busy.
    fn is_index(&self, index: usize) -> bool {
        let node = self.run.graph.node(&self.plan.steps[index].image);
        node.is_some_and(|node| node.image().is_index())
    }

    fn platforms(&self, index: usize) -> Vec<Platform> {
        let node = self.run.graph.node(&self.plan.steps[index].image);
        node.map(|node| node.image().platforms().to_vec()).unwrap_or_default()
    }

    /// Whether the step keeps the engine busy.
    fn takes_job(&self, index: usize) -> bool {
        let step = &self.plan.steps[index];
        match step.action {
            Action::Build => !self.is_index(index),
            Action::Reuse | Action::Retag(_) => self.run.options.load && step.selected,
            Action::Skip | Action::Miss => false,
        }
    }

    fn next(&mut self, assignment: &Assignment) -> Option<Turn> {
        let turn = match self.light.pop_front() {
            Some(step) => Turn { step, place: None },
            None => self.next_with_place(assignment)?,
        };
        // One that a lost backend had begun goes on.
        self.started.entry(turn.step).or_insert_with(Instant::now);
        Some(turn)
    }

    /// The first of those that are ready for which something is free.
    fn next_with_place(&mut self, assignment: &Assignment) -> Option<Turn> {
        let mut waiting = Vec::new();
        let mut turn = None;
        while let Some(entry) = self.ready.pop() {
            let (_, Reverse(step)) = entry;
            let place = match self.plan.steps[step].action {
                Action::Build => assignment.for_build(self.wants(step), &self.near(step)),
                _ => assignment.for_load(),
            };
            if place.is_some() {
                turn = Some(Turn { step, place });
                break;
            }
            waiting.push(entry);
        }
        self.ready.extend(waiting);
        turn
    }

    /// A step that is ready and that no backend which is left can build. It is not ready any more.
    fn stranded(&mut self, assignment: &Assignment) -> Option<usize> {
        let stranded = self.ready.iter().map(|(_, Reverse(step))| *step).find(|step| {
            self.plan.steps[*step].action == Action::Build
                && !assignment.can_build(self.wants(*step))
        })?;
        self.ready.retain(|(_, Reverse(step))| *step != stranded);
        Some(stranded)
    }

    /// What the build of a step takes.
    fn wants(&self, step: usize) -> Wants<'a> {
        let node = self.run.graph.node(&self.plan.steps[step].image);
        let platform = &node.expect("the plan was made from this graph").image().platform;
        let commands = self.command(step).is_some() || self.refused.contains_key(&step);
        Wants { platform, commands }
    }

    /// Gives a step that a backend did not assemble to those that run commands, if any may build it: what
    /// BuildKit takes and dockit does not is theirs.
    fn hand_over(&mut self, turn: Turn, error: &ImageError, assignment: &Assignment) -> bool {
        let Some(backend) = turn.backend().map(|position| self.run.backends[position]) else {
            return false;
        };
        if backend.backend.runs_commands() || error.kind != ImageErrorKind::Build {
            return false;
        }
        self.refused.insert(turn.step, error.clone());
        if !assignment.can_build(self.wants(turn.step)) {
            return false;
        }
        self.make_ready(turn.step);
        true
    }

    /// What is told of a step that was refused and that no engine has built, either: if there was none, why
    /// it was refused.
    fn explained(&self, step: usize, error: ImageError) -> ImageError {
        match self.refused.get(&step) {
            Some(refused)
                if matches!(error.kind, ImageErrorKind::Build | ImageErrorKind::Engine) =>
            {
                let by_engine =
                    error.kind == ImageErrorKind::Build && error.message != refused.message;
                if by_engine { error } else { asking::refused(refused) }
            }
            _ => error,
        }
    }

    /// The first command that the build of a step runs.
    fn command(&self, step: usize) -> Option<&'a FirstCommand> {
        self.run.keys.get(&self.plan.steps[step].image)?.command.as_ref()
    }

    /// The backends that have built something which the step needs.
    fn near(&self, step: usize) -> BTreeSet<usize> {
        self.needs[step].iter().filter_map(|needed| self.built_by.get(needed).copied()).collect()
    }

    /// How the step's Dockerfile names what it needs.
    fn references_of(&self, index: usize) -> BTreeMap<ImageName, Reference> {
        let node = self.run.graph.node(&self.plan.steps[index].image);
        let node = node.expect("the plan was made from this graph");
        let names = node.dependencies().into_iter();
        names.filter_map(|name| Some((name.clone(), self.references.get(name)?.clone()))).collect()
    }

    /// The steps that are built under this step's content tag, itself included, in the plan's order.
    fn twins(&self, index: usize) -> Vec<usize> {
        let step = &self.plan.steps[index];
        let same = |other: &usize| {
            let other = &self.plan.steps[*other];
            other.action == Action::Build
                && other.reference == step.reference
                && has_registry(self.run, other) == has_registry(self.run, step)
        };
        (0..self.plan.steps.len()).filter(same).collect()
    }

    /// The image that is there now under this step's content tag, because another step has built it.
    fn same_image(&self, index: usize) -> Option<&ImageReport> {
        let there = |report: &&ImageReport| matches!(report.status, Status::Built | Status::Reused);
        let twins = self.twins(index).into_iter().filter(|other| *other < index);
        twins.filter_map(|other| self.reports.get(&other)).find(there)
    }

    /// The tests that gate the step's content tag: those of all images that it is the tag of, each once,
    /// under the first that has it.
    fn gates(&self, index: usize) -> Vec<Gate<'a>> {
        let mut gates: Vec<Gate<'a>> = Vec::new();
        if self.run.checks.is_none() {
            return gates;
        }
        for twin in self.twins(index) {
            let node = self.run.graph.node(&self.plan.steps[twin].image);
            let image = node.expect("the plan was made from this graph").image();
            for test in &image.tests {
                if gates.iter().all(|gate| gate.test != test) {
                    gates.push(Gate { of: &image.name, test });
                }
            }
        }
        gates
    }

    fn finish(
        &mut self,
        index: usize,
        backend: Option<usize>,
        result: Result<Outcome, ImageError>,
        tests: Vec<CheckResult>,
    ) {
        // What another image of the same key has built was no work.
        if let Some(backend) = backend.filter(|_| self.same_image(index).is_none()) {
            self.built_by.insert(index, backend);
        }
        match result {
            Ok(outcome) => {
                if let Some(reference) = &outcome.source {
                    let name = self.plan.steps[index].image.clone();
                    self.references.insert(name, reference.clone());
                }
                let status = outcome.status;
                // What was tested for the one was tested for the other.
                let tests = match self.same_image(index) {
                    Some(same) if tests.is_empty() => same.tests.clone(),
                    _ => tests,
                };
                self.report(index, status, Outcome { tests, ..outcome }, None);
                for dependent in self.needed_by[index].clone() {
                    self.waits_for_one_less(dependent);
                }
            }
            Err(error) => {
                let mut failed = vec![index];
                if error.kind == ImageErrorKind::Test {
                    failed.extend(self.twins(index).into_iter().filter(|other| *other > index));
                    // None of them has a turn any more.
                    for index in &failed {
                        self.twin[*index] = None;
                    }
                }
                for index in failed {
                    if !self.reports.contains_key(&index) {
                        let outcome = Outcome { tests: tests.clone(), ..Outcome::default() };
                        self.report(index, Status::Failed, outcome, Some(error.clone()));
                        self.skip_dependents(index);
                    }
                }
            }
        }
    }

    fn waits_for_one_less(&mut self, index: usize) {
        self.missing[index] -= 1;
        if self.missing[index] == 0 && !self.reports.contains_key(&index) {
            self.make_ready(index);
        }
    }

    /// Reports everything that can no longer be built because this step failed.
    fn skip_dependents(&mut self, failed: usize) {
        let name = |step: usize| &self.plan.steps[step].image;
        let mut skipped = Vec::new();
        // In the plan's order, so that what stands between an image and the cause is known before it.
        for step in failed + 1..self.plan.steps.len() {
            if self.reports.contains_key(&step) {
                continue;
            }
            let needs = &self.needs[step];
            let message = if needs.contains(&failed) {
                format!("{}, which it needs, failed", name(failed))
            } else if let Some(between) = needs.iter().find(|other| skipped.contains(*other)) {
                let (between, failed) = (name(*between), name(failed));
                format!("{between}, which it needs, was not built, because {failed} failed")
            } else {
                continue;
            };
            skipped.push(step);
            let error = ImageError { kind: ImageErrorKind::Dependency, message };
            self.report(step, Status::Skipped, Outcome::default(), Some(error));
        }
    }

    fn report(
        &mut self,
        index: usize,
        status: Status,
        outcome: Outcome,
        error: Option<ImageError>,
    ) {
        let step = &self.plan.steps[index];
        let started = self.started.get(&index);
        let ended_well = matches!(status, Status::Built | Status::Reused | Status::Retagged);
        let report = ImageReport {
            image: step.image.clone(),
            platforms: self.platforms(index),
            key: step.key,
            status,
            reference: step.reference.clone(),
            digest: outcome.digest,
            pushed: outcome.pushed,
            replaced: outcome.replaced,
            tags: Vec::new(),
            held_tags: if ended_well { step.held_tags.clone() } else { Vec::new() },
            backend: self.backend_of(index),
            seconds: started.map_or(0.0, |started| started.elapsed().as_secs_f64()),
            tests: outcome.tests,
            error,
            skipped: outcome.skipped,
        };
        self.run.observer.event(Event::Finished(Box::new(report.clone())));
        self.reports.insert(index, report);
        if let Some(twin) = self.twin[index] {
            self.waits_for_one_less(twin);
        }
    }

    fn backend_of(&self, index: usize) -> Option<String> {
        let several = self.run.backends.len() > 1;
        let backend = self.built_by.get(&index).filter(|_| several)?;
        Some(self.run.backends[*backend].name.to_owned())
    }

    fn into_report(mut self) -> RunReport {
        for index in 0..self.plan.steps.len() {
            if !self.reports.contains_key(&index) {
                self.report(index, Status::Cancelled, Outcome::default(), None);
            }
        }
        RunReport { images: self.reports.into_values().collect(), ..RunReport::default() }
    }
}

fn has_registry(run: &Run<'_>, step: &Step) -> bool {
    run.graph.node(&step.image).is_some_and(|node| node.image().has_registry)
}
