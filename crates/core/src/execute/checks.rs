//! Tests: those of an image before anybody gets it, those of the project before moving tags move.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use dockit_registry::{Digest, Platform, Reference};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Run;
use super::report::{ImageError, ImageErrorKind, ProjectTests, RunReport, Status};
use super::unfinished::{Unfinished, Work};
use crate::CommandLine;
use crate::backend::{
    BackendError, BackendErrorKind, ContainerEnd, ContainerRequest, Engine, LocalImage,
};
use crate::check::{Check, CheckEnd, CheckPlace, CheckResult, InfoCommand, OUTPUT_LIMIT};
use crate::events::{CheckSubject, Event, Observer};
use crate::image_name::ImageName;
use crate::key::ImageKey;
use crate::lockfile::prepare_state;
use crate::plan::Plan;
use crate::process::{Captured, Process, ProcessErrorKind};

/// What tests need of a project.
#[derive(Clone, Copy, Debug)]
pub struct Checks<'a> {
    /// The directory that commands of the host run in.
    pub root: &'a Path,
    /// Where a file for the project's tests may lie for a moment.
    pub state: &'a Path,
    /// The tests of the project.
    pub tests: &'a [Check],
    /// Where it is noted while they have not passed.
    pub unfinished: &'a Unfinished,
}

/// A test that must pass before an image has its content tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate<'a> {
    /// The image that it is written for; others can have the same content tag.
    pub(super) of: &'a ImageName,
    pub(super) test: &'a Check,
}

/// An image of the engine that commands are run on.
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a ImageName,
    pub(crate) key: ImageKey,
    pub(crate) local: &'a LocalImage,
}

impl Subject<'_> {
    /// What commands are told about it.
    fn environment(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            // Not a name: at build time it has none yet, and names can move.
            ("DOCKIT_IMAGE".to_owned(), self.local.id.clone()),
            ("DOCKIT_IMAGE_NAME".to_owned(), self.name.to_string()),
            ("DOCKIT_IMAGE_KEY".to_owned(), self.key.to_string()),
        ])
    }
}

/// Runs an image's tests in order; with `stop`, not further than to the first that fails. `results` gets
/// one entry for each that ran.
///
/// # Errors
///
/// The engine could not be asked, which says nothing about the image.
pub(crate) async fn image(
    engine: &dyn Engine,
    observer: &dyn Observer,
    root: &Path,
    subject: &Subject<'_>,
    tests: &[Check],
    stop: bool,
    results: &mut Vec<CheckResult>,
) -> Result<(), BackendError> {
    for test in tests {
        let of = CheckSubject::Image(subject.name.clone());
        let watch = Watch::start(observer, of, &test.command, test.on);
        let end = match test.on {
            CheckPlace::Container => {
                let request = ContainerRequest {
                    image: subject.local.clone(),
                    command: test.command.clone(),
                    environment: subject.environment(),
                    time_limit: test.timeout,
                };
                in_container(engine, request, &|bytes| watch.output(bytes)).await
            }
            CheckPlace::Host => {
                let process = test.command.process(root).time_limit(test.timeout);
                let process = subject
                    .environment()
                    .iter()
                    .fold(process, |process, (name, value)| process.env(name, value));
                // Dropping this future ends the process.
                Ok(on_host(process, &CancellationToken::new(), &watch).await)
            }
        };
        let result = watch.finish(end)?;
        let passed = result.passed();
        results.push(result);
        if stop && !passed {
            break;
        }
    }
    Ok(())
}

/// Runs an info command. Nobody is told its output but who asked.
///
/// # Errors
///
/// The engine could not be asked.
pub(crate) async fn info(
    engine: &dyn Engine,
    subject: &Subject<'_>,
    info: &InfoCommand,
) -> Result<CheckResult, BackendError> {
    let output = Mutex::new(Captured::default());
    let start = Instant::now();
    let request = ContainerRequest {
        image: subject.local.clone(),
        command: info.command.clone(),
        environment: subject.environment(),
        time_limit: info.timeout,
    };
    let end = in_container(engine, request, &|bytes| keep(&output, bytes)).await?;
    Ok(CheckResult {
        command: info.command.clone(),
        on: CheckPlace::Container,
        end,
        seconds: start.elapsed().as_secs_f64(),
        output: kept(output),
    })
}

/// The failure that the tests of an image end in, if one of them did not pass.
pub(super) fn failure(results: &[CheckResult]) -> Option<ImageError> {
    let failed = results.iter().find(|result| !result.passed())?;
    let message = format!("the test {}", failed.describe());
    Some(ImageError { kind: ImageErrorKind::Test, message })
}

/// What a failed test in a container is told with where the engine's machine is of another platform than
/// the image: without emulation nothing of it runs there. Nothing where that cannot be it.
pub(crate) async fn foreign(
    engine: &dyn Engine,
    platform: &Platform,
    results: &[CheckResult],
) -> Option<String> {
    let failed = results.iter().find(|result| !result.passed())?;
    let machine = match engine.containers().filter(|_| failed.on == CheckPlace::Container) {
        Some(containers) => containers.platform().await.ok()??,
        None => return None,
    };
    (machine != *platform).then(|| {
        format!(
            "the image is for {platform} and the engine {machine}, which may not run it: `platforms` of a \
             test says for which images it is"
        )
    })
}

/// Notes that a plan which builds something ends with the tests of the project: what is built is there
/// for the next run, whatever becomes of this one.
pub(super) fn announce_project(run: &Run<'_>, plan: &Plan) {
    if let Some(checks) = run.checks.filter(|checks| !checks.tests.is_empty())
        && plan.builds()
    {
        checks.unfinished.note(&Work::project_tests(plan));
    }
}

/// Runs the tests of the project on what a run ended with, if all of it is well, and it built anything,
/// moves tags, is to be recorded, or an earlier run of the same images did not end with tests that
/// passed. Not further than to the first that fails.
pub(super) async fn project(
    run: &Run<'_>,
    plan: &Plan,
    report: &RunReport,
    moves: bool,
    cancel: &CancellationToken,
) -> ProjectTests {
    let Some(checks) = run.checks.filter(|checks| !checks.tests.is_empty()) else {
        return ProjectTests::None;
    };
    let work = Work::project_tests(plan);
    let changes = moves || run.options.pin || report.count(Status::Built) > 0;
    let changes = changes || checks.unfinished.has(&work);
    if cancel.is_cancelled() || !report.succeeded() || !changes {
        return ProjectTests::NotRun;
    }
    let images: Vec<TestedImage<'_>> = report
        .images
        .iter()
        .filter(|image| image.status.is_there())
        .map(|image| TestedImage {
            name: &image.image,
            key: image.key,
            reference: &image.reference,
            digest: image.digest.as_ref(),
        })
        .collect();
    let mut tests = project_tests(&checks, &images, run.observer, cancel, true).await;
    if let ProjectTests::Ran(results) = &mut tests {
        results.iter_mut().for_each(|result| run.secrets.masks().result(result));
    }
    if tests.failure().is_none() {
        checks.unfinished.done(&work);
    } else {
        checks.unfinished.note(&work);
    }
    tests
}

/// An image that tests of the project may look at.
pub(crate) struct TestedImage<'a> {
    pub(crate) name: &'a ImageName,
    pub(crate) key: ImageKey,
    pub(crate) reference: &'a Reference,
    pub(crate) digest: Option<&'a Digest>,
}

/// Runs the tests of the project on these images; with `stop`, not further than to the first that fails.
pub(crate) async fn project_tests(
    checks: &Checks<'_>,
    images: &[TestedImage<'_>],
    observer: &dyn Observer,
    cancel: &CancellationToken,
    stop: bool,
) -> ProjectTests {
    let file = match images_file(checks, images) {
        Ok(file) => file,
        Err(error) => return ProjectTests::Broken(format!("cannot write DOCKIT_IMAGES: {error}")),
    };
    let mut results = Vec::new();
    for test in checks.tests {
        let watch = Watch::start(observer, CheckSubject::Project, &test.command, test.on);
        let process = test.command.process(checks.root).time_limit(test.timeout);
        let process = process.env("DOCKIT_IMAGES", file.path());
        let end = on_host(process, cancel, &watch).await;
        let result = watch.result(end);
        let passed = result.passed();
        results.push(result);
        if (stop && !passed) || cancel.is_cancelled() {
            break;
        }
    }
    ProjectTests::Ran(results)
}

/// The images as a JSON document that tests can read.
fn images_file(
    checks: &Checks<'_>,
    images: &[TestedImage<'_>],
) -> std::io::Result<tempfile::NamedTempFile> {
    #[derive(Serialize)]
    struct Document {
        schema: &'static str,
        images: Vec<Entry>,
    }
    #[derive(Serialize)]
    struct Entry {
        name: String,
        key: String,
        reference: String,
        digest: Option<String>,
    }
    let images = images
        .iter()
        .map(|image| Entry {
            name: image.name.to_string(),
            key: image.key.to_string(),
            reference: image.reference.familiar(),
            digest: image.digest.map(ToString::to_string),
        })
        .collect();
    prepare_state(checks.state)?;
    let mut builder = tempfile::Builder::new();
    let mut file = builder.prefix("images.").suffix(".json").tempfile_in(checks.state)?;
    let mut json = serde_json::to_vec_pretty(&Document { schema: "dockit.images/1", images })?;
    json.push(b'\n');
    file.write_all(&json)?;
    Ok(file)
}

async fn in_container(
    engine: &dyn Engine,
    request: ContainerRequest,
    output: &(dyn for<'piece> Fn(&'piece [u8]) + Sync),
) -> Result<CheckEnd, BackendError> {
    let containers = engine.containers().ok_or_else(|| {
        BackendError::new(BackendErrorKind::Engine, "it builds images, but runs no containers")
    })?;
    let limit = request.time_limit;
    Ok(match containers.run_container(request, output).await? {
        ContainerEnd::Exited(code) => CheckEnd::Exited(code),
        ContainerEnd::TimedOut => CheckEnd::TimedOut(limit),
        ContainerEnd::NotStarted(reason) => CheckEnd::NotStarted(reason),
    })
}

async fn on_host(process: Process, cancel: &CancellationToken, watch: &Watch<'_>) -> CheckEnd {
    // What it writes is kept as it comes, both streams together.
    let process = process.output_limit(0);
    match process.run_observed(cancel, &|bytes| watch.output(bytes)).await {
        Ok(ran) => ran.code.map_or(CheckEnd::Signalled, |code| CheckEnd::Exited(code.into())),
        Err(error) => match error.kind {
            ProcessErrorKind::TimedOut(limit) => CheckEnd::TimedOut(limit),
            ProcessErrorKind::Cancelled => CheckEnd::Cancelled,
            _ => CheckEnd::NotStarted(error.to_string()),
        },
    }
}

/// Follows one test: tells the observer, and keeps the end of the output.
struct Watch<'a> {
    observer: &'a dyn Observer,
    of: CheckSubject,
    command: &'a CommandLine,
    on: CheckPlace,
    start: Instant,
    output: Mutex<Captured>,
}

impl<'a> Watch<'a> {
    fn start(
        observer: &'a dyn Observer,
        of: CheckSubject,
        command: &'a crate::CommandLine,
        on: CheckPlace,
    ) -> Self {
        observer.event(Event::CheckStarted { of: of.clone(), command: command.to_string(), on });
        Self { observer, of, command, on, start: Instant::now(), output: Mutex::default() }
    }

    fn output(&self, bytes: &[u8]) {
        keep(&self.output, bytes);
        let (of, bytes) = (self.of.clone(), bytes.to_vec());
        self.observer.event(Event::CheckOutput { of, bytes });
    }

    fn finish(self, end: Result<CheckEnd, BackendError>) -> Result<CheckResult, BackendError> {
        match end {
            Ok(end) => Ok(self.result(end)),
            Err(error) => {
                let seconds = self.start.elapsed().as_secs_f64();
                self.observer.event(Event::CheckFinished { of: self.of, passed: false, seconds });
                Err(error)
            }
        }
    }

    fn result(self, end: CheckEnd) -> CheckResult {
        let result = CheckResult {
            command: self.command.clone(),
            on: self.on,
            end,
            seconds: self.start.elapsed().as_secs_f64(),
            output: kept(self.output),
        };
        let (passed, seconds) = (result.passed(), result.seconds);
        self.observer.event(Event::CheckFinished { of: self.of, passed, seconds });
        result
    }
}

fn keep(output: &Mutex<Captured>, bytes: &[u8]) {
    let mut output = output.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    output.append(bytes, OUTPUT_LIMIT);
}

fn kept(output: Mutex<Captured>) -> Captured {
    let mut output = output.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    output.shorten(OUTPUT_LIMIT);
    output
}
