//! `dockit test`

use std::num::NonZeroUsize;

use clap::Args;
use dockit_core::execute::ImageErrorKind;
use dockit_core::story::Services;
use dockit_core::testing::{self, ImageTests, TestReport, TestRequest, TestStatus};
use serde::Serialize;

use super::prepare::PrepareArgs;
use super::{Format, GlobalArgs, creation_hints};
use crate::backends::Backends;
use crate::diagnostics::{Exit, Failure, run_hint};
use crate::interrupt;
use crate::session::{self, Connected};
use crate::ui::checks::{self, CheckEntry, ProjectEntry};
use crate::ui::{self, output};

/// Arguments of `dockit test`.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Images; all of them, and the tests of the project, when none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// How many images to test at the same time
    #[arg(short, long, value_name = "N", default_value = "4")]
    jobs: NonZeroUsize,
    /// Stop everything after the first test that fails
    #[arg(long)]
    fail_fast: bool,
    #[command(flatten)]
    prepare: PrepareArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    images: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_tests: Option<ProjectEntry>,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    key: String,
    reference: String,
    digest: Option<String>,
    status: &'static str,
    tests: Vec<CheckEntry>,
    error: Option<String>,
}

pub(super) async fn run(global: &GlobalArgs, args: &TestArgs) -> Result<Exit, Failure> {
    let Connected { project, registry, engine } = session::connected(global, "test")?;
    args.prepare.run(global, &project, &args.images, false).await?;
    let backends = Backends::of(&project, &[], &registry)?;
    let request = TestRequest {
        images: args.images.clone(),
        jobs: args.jobs,
        fail_fast: args.fail_fast,
        keys: session::key_options(),
        secrets: session::secret_options(),
    };
    let display = ui::progress::start(global);
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &backends.named(&engine),
        observer: &*display,
    };
    let cancel = interrupt::cancellation(interrupt::RUN_GRACE);
    let tested = testing::test(&project, &request, &services, &cancel).await;
    engine.settle(interrupt::SETTLE).await;
    backends.settle(interrupt::SETTLE).await;
    display.finish();
    let report = match tested {
        Err(_) if cancel.is_cancelled() => return Err(interrupt::failure()),
        Err(error) => return Err(creation_hints::of_lookups(&project, &registry, error)),
        Ok(report) => report,
    };
    for line in failures(&report) {
        ui::say(&line);
    }
    match global.format {
        Format::Json => output::json(&Document {
            schema: "dockit.test/1",
            images: report.images.iter().map(entry).collect(),
            project_tests: checks::project(&report.project_tests),
        })?,
        Format::Text => output::table(rows(&report))?,
    }
    let exit = exit(&report, cancel.is_cancelled());
    if let Some(hint) = absent_hint(&report).as_deref().or(run_hint(exit)) {
        ui::say(&format!("hint: {hint}"));
    }
    Ok(exit)
}

fn entry(image: &ImageTests) -> Entry {
    Entry {
        name: image.image.to_string(),
        key: image.key.to_string(),
        reference: ui::shown(&image.reference),
        digest: image.digest.as_ref().map(ToString::to_string),
        status: image.status.as_str(),
        tests: checks::entries(&image.tests),
        error: image.error.as_ref().map(|error| error.message.clone()),
    }
}

/// What went wrong, with the end of what the tests wrote.
fn failures(report: &TestReport) -> Vec<String> {
    let mut lines = Vec::new();
    for image in &report.images {
        let name = &image.image;
        for test in image.tests.iter().filter(|test| !test.passed()) {
            lines.push(format!("{name}: failed: the test {}", test.describe()));
        }
        if let Some(error) = &image.error {
            lines.push(format!("{name}: {}: {}", image.status.as_str(), error.message));
        }
    }
    lines.extend(report.project_tests.failure());
    lines
}

fn rows(report: &TestReport) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = report
        .images
        .iter()
        .map(|image| {
            let passed = image.tests.iter().filter(|test| test.passed()).count();
            let counted = match image.tests.len() {
                0 => String::new(),
                all => format!("{passed} of {} passed", ui::count(all, "test")),
            };
            vec![image.status.as_str().to_owned(), image.image.to_string(), counted]
        })
        .collect();
    if let Some(project) = checks::project(&report.project_tests) {
        rows.push(vec![project.status().to_owned(), "(the project)".to_owned(), String::new()]);
    }
    rows
}

fn exit(report: &TestReport, interrupted: bool) -> Exit {
    let any = |kinds: &[ImageErrorKind]| {
        let mut errors = report.images.iter().filter_map(|image| image.error.as_ref());
        errors.any(|error| kinds.contains(&error.kind))
    };
    if interrupted {
        Exit::Interrupted
    } else if any(&[ImageErrorKind::Engine, ImageErrorKind::EngineUnsuited]) {
        Exit::Engine
    } else if any(&[ImageErrorKind::Registry, ImageErrorKind::NoRepository]) {
        Exit::Registry
    } else if report.succeeded() {
        Exit::Done
    } else {
        Exit::Failed
    }
}

fn absent_hint(report: &TestReport) -> Option<String> {
    let absent: Vec<&str> = report
        .images
        .iter()
        .filter(|image| image.status == TestStatus::Absent)
        .map(|image| image.image.as_str())
        .collect();
    (!absent.is_empty())
        .then(|| format!("`dockit build {}` builds and tests what is absent", absent.join(" ")))
}
