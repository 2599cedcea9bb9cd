//! Running the tests of images that are there: what `dockit test` does.

use std::num::NonZeroUsize;

use dockit_registry::{Digest, Reference};
use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use crate::backend::LocalImage;
use crate::check::CheckResult;
use crate::error::Error;
use crate::events::Event;
use crate::execute::checks::{self, Subject, TestedImage};
use crate::execute::{Checks, ImageError, ImageErrorKind, ProjectTests, Unfinished};
use crate::image_name::ImageName;
use crate::key::{ImageKey, KeyOptions};
use crate::masking::MaskedObserver;
use crate::plan::{Action, Step};
use crate::project::{Image, Project, PushPolicy};
use crate::pull;
use crate::secrets::{self, SecretOptions};
use crate::story::{self, Planned, Request, Services};

/// What a person asked for.
#[derive(Clone, Debug)]
pub struct TestRequest {
    /// Names of images; none means all, and the tests of the project.
    pub images: Vec<String>,
    /// How many images are tested at the same time.
    pub jobs: NonZeroUsize,
    /// Stop everything after the first test that fails.
    pub fail_fast: bool,
    /// What keys are computed with.
    pub keys: KeyOptions,
    /// Where secrets come from, which are masked in what tests write.
    pub secrets: SecretOptions,
}

/// What the tests said.
#[derive(Clone, Debug, Default)]
pub struct TestReport {
    /// The selected images, dependencies first.
    pub images: Vec<ImageTests>,
    /// The tests of the project.
    pub project_tests: ProjectTests,
}

/// What the tests of one image said.
#[derive(Clone, Debug)]
pub struct ImageTests {
    /// The image.
    pub image: ImageName,
    /// Its key.
    pub key: ImageKey,
    /// Its reference with the content tag.
    pub reference: Reference,
    /// The manifest's digest, where the registry holds the image.
    pub digest: Option<Digest>,
    /// What became of its tests.
    pub status: TestStatus,
    /// Those that ran.
    pub tests: Vec<CheckResult>,
    /// Why it is not tested, or not to the end.
    pub error: Option<ImageError>,
}

/// What became of the tests of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestStatus {
    /// All of them passed.
    Passed,
    /// One did not, or could not be asked.
    Failed,
    /// There is no image with its key, whether it has tests or not.
    Absent,
    /// It is there, and has none.
    Untested,
    /// The run was interrupted, or stopped early, before they were done.
    Cancelled,
}

impl TestStatus {
    /// The word for this status in text and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Absent => "absent",
            Self::Untested => "untested",
            Self::Cancelled => "cancelled",
        }
    }
}

impl TestReport {
    /// Whether every image is there and passed the tests that it has, and the project's passed.
    pub fn succeeded(&self) -> bool {
        self.images_are_well() && self.project_tests.failure().is_none()
    }

    fn images_are_well(&self) -> bool {
        let well = [TestStatus::Passed, TestStatus::Untested];
        self.images.iter().all(|image| well.contains(&image.status))
    }
}

/// Runs the tests of the selected images that have an image with their present key: in the registry,
/// which is then fetched by digest into the engine of this machine, or else in the engine that
/// [keeps what is not pushed](story::keeper), where it is then tested. Nothing is built, and nothing is pushed.
/// All tests of all images are run, also after one failed. The tests of the project follow if no image
/// was named and all of them are well.
///
/// # Errors
///
/// As [`story::plan`]. What goes wrong with a single image stands in the report.
pub async fn test(
    project: &Project,
    request: &TestRequest,
    services: &Services<'_>,
    cancel: &CancellationToken,
) -> Result<TestReport, Error> {
    let masks = secrets::masks(project, &request.secrets, cancel).await;
    let observer = MaskedObserver::new(services.observer, &masks);
    let services = &Services { observer: &observer, ..*services };
    let planning = Request {
        images: request.images.clone(),
        // Whatever the project says: look for the images, with no intention to push.
        push: Some(PushPolicy::Auto),
        keys: request.keys.clone(),
        ..Request::default()
    };
    let planned = story::plan(project, &planning, services).await?;
    let engine = story::keeper(project, &planning, services).await?;
    let keeping = &Services { engine, ..*services };
    let steps: Vec<&Step> = planned.plan.steps.iter().filter(|step| step.selected).collect();
    let mut report = TestReport { images: Vec::new(), project_tests: ProjectTests::None };
    report.images =
        steps.iter().map(|step| beginning(project, step, held(project, &planned, step))).collect();
    let waiting: Vec<usize> = (0..steps.len())
        .filter(|index| report.images[*index].status == TestStatus::Cancelled)
        .collect();
    let mut running = stream::iter(waiting)
        .map(|index| {
            let step = steps[index];
            let image = &project.images[&step.image];
            let digest = held(project, &planned, step);
            let services = if digest.is_some() { services } else { keeping };
            async move {
                let mut tests = Vec::new();
                let stop = request.fail_fast;
                let ended =
                    test_one(project, image, (step, digest), services, stop, &mut tests).await;
                (index, tests, ended)
            }
        })
        .buffer_unordered(request.jobs.get());
    let mut stopped = false;
    while !stopped {
        let ended = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            ended = running.next() => ended,
        };
        let Some((index, mut tests, ended)) = ended else {
            break;
        };
        tests.iter_mut().for_each(|result| masks.result(result));
        let entry = &mut report.images[index];
        let passed = ended.is_ok() && tests.iter().all(CheckResult::passed);
        entry.status = if passed { TestStatus::Passed } else { TestStatus::Failed };
        entry.tests = tests;
        entry.error = ended.err();
        stopped = !passed && request.fail_fast;
    }
    // Dropping the futures ends what they run.
    drop(running);
    if request.images.is_empty() {
        report.project_tests = project_tests(project, request, &report, services, cancel).await;
        if let ProjectTests::Ran(results) = &mut report.project_tests {
            results.iter_mut().for_each(|result| masks.result(result));
        }
    }
    Ok(report)
}

/// What the registry holds of a step's image: a part can have been left with its index alone.
fn held<'a>(project: &Project, planned: &'a Planned, step: &'a Step) -> Option<&'a Digest> {
    let index = || planned.plan.step(project.images[&step.image].declared_name());
    step.digest.as_ref().or_else(|| index()?.digest.as_ref())
}

/// The entry of an image that has not been tested.
fn beginning(project: &Project, step: &Step, held: Option<&Digest>) -> ImageTests {
    let absent = !matches!(step.action, Action::Reuse | Action::Retag(_)) && held.is_none();
    // Also without tests of its own: those of the project are about all images.
    let (status, error) = if absent {
        let message = format!("there is no image with the key {}", step.key);
        (TestStatus::Absent, Some(ImageError { kind: ImageErrorKind::Test, message }))
    } else if project.images[&step.image].tests.is_empty() {
        (TestStatus::Untested, None)
    } else {
        (TestStatus::Cancelled, None)
    };
    ImageTests {
        image: step.image.clone(),
        key: step.key,
        reference: step.reference.clone(),
        digest: held.cloned(),
        status,
        tests: Vec::new(),
        error,
    }
}

async fn test_one(
    project: &Project,
    image: &Image,
    (step, digest): (&Step, Option<&Digest>),
    services: &Services<'_>,
    stop: bool,
    results: &mut Vec<CheckResult>,
) -> Result<(), ImageError> {
    let local = local(image, step, digest, services).await?;
    let subject = Subject { name: &step.image, key: step.key, local: &local };
    let (engine, observer) = (services.engine, services.observer);
    checks::image(engine, observer, &project.root, &subject, &image.tests, stop, results).await?;
    match checks::foreign(engine, &image.platform, results).await {
        None => Ok(()),
        Some(message) => Err(ImageError { kind: ImageErrorKind::Test, message }),
    }
}

/// The image in the engine's store: the registry's, where it holds one.
async fn local(
    image: &Image,
    step: &Step,
    digest: Option<&Digest>,
    services: &Services<'_>,
) -> Result<LocalImage, ImageError> {
    let (registry, engine) = (services.registry, services.engine);
    let Some(digest) = digest else {
        return engine.find(&step.reference).await?.ok_or_else(|| ImageError {
            kind: ImageErrorKind::Engine,
            message: format!("{} is no longer in the engine", step.reference),
        });
    };
    let source = step.reference.repository().with_digest(digest.clone());
    services
        .observer
        .event(Event::PullStarted { image: step.image.clone(), reference: source.clone() });
    let platform = &image.platform;
    let pulled = pull::into_engine(registry, engine, &source, digest, platform, &[], None).await?;
    Ok(pulled.image)
}

async fn project_tests(
    project: &Project,
    request: &TestRequest,
    report: &TestReport,
    services: &Services<'_>,
    cancel: &CancellationToken,
) -> ProjectTests {
    if project.tests.is_empty() {
        return ProjectTests::None;
    }
    if cancel.is_cancelled() || !report.images_are_well() {
        return ProjectTests::NotRun;
    }
    let state = project.state_directory();
    let unfinished = Unfinished::new(project);
    let (root, tests) = (&project.root, &project.tests);
    let checks = Checks { root, state: &state, tests, unfinished: &unfinished };
    let images: Vec<TestedImage<'_>> = report
        .images
        .iter()
        .map(|image| TestedImage {
            name: &image.image,
            key: image.key,
            reference: &image.reference,
            digest: image.digest.as_ref(),
        })
        .collect();
    checks::project_tests(&checks, &images, services.observer, cancel, request.fail_fast).await
}
