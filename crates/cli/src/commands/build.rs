//! `dockit build`

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dockit_core::PushPolicy;
use dockit_core::config::time_limit;
use dockit_core::execute::{ImageReport, RunReport, Skipped};
use dockit_core::report::StepRecorder;
use dockit_core::story::{self, Request, Services};
use dockit_core::wait::Wait;
use dockit_registry::Platform;
use serde::Serialize;

use super::held_tags::HeldEntry;
use super::one_image::OneImageArgs;
use super::pin;
use super::platforms::{PlatformArgs, PlatformEntry};
use super::reports::{self, Written};
use super::run_report::{RunRecorder, ToldArgs};
use super::{Format, GlobalArgs, creation_hints, written_files};
use crate::backends::Backends;
use crate::diagnostics::{self, Exit, Failure};
use crate::environment;
use crate::interrupt;
use crate::session::{self, Connected};
use crate::ui::checks::{CheckEntry, ProjectEntry};
use crate::ui::ci::{Ended, Outputs};
use crate::ui::{self, output};

/// Arguments of `dockit build`.
#[derive(Args, Debug)]
pub struct BuildArgs {
    /// Images, or globs such as 'app-*'; all of them when none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    platforms: PlatformArgs,
    /// Also build everything that depends on these images
    #[arg(long)]
    with_dependents: bool,
    /// When to push; without it, as `push` in dockit.toml says
    #[arg(long, value_enum)]
    push: Option<Push>,
    /// Afterwards each image is in the engine, under its content tag, its short name and its aliases
    #[arg(long)]
    load: bool,
    /// Move tags without placeholder on any branch, with uncommitted changes, and back to an older
    /// revision
    #[arg(long)]
    force_tags: bool,
    /// Build and push nothing: an image that is absent is a failure
    #[arg(long, conflicts_with_all = ["push", "rebuild", "replace", "force_tags"])]
    no_build: bool,
    /// Wait as long for images that another run makes, such as 120m or 1h30m; builds nothing
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = duration,
        conflicts_with_all = ["push", "rebuild", "replace", "force_tags"]
    )]
    wait: Option<Duration>,
    /// Build the images again, without layer cache; what is in the registry stays as it is
    #[arg(long)]
    rebuild: bool,
    /// Build the images again, without layer cache, and everything that depends on them, and move their
    /// content tags to what is built; what they were on stays in the registry
    #[arg(long)]
    replace: bool,
    /// How many images to work on at the same time
    #[arg(short, long, value_name = "N", default_value = "4")]
    jobs: NonZeroUsize,
    /// Build with this build backend of dockit.toml, and no other that is not named; repeatable. There are
    /// also `engine`, this machine's, and `assemble`, which needs none
    #[arg(long, value_name = "NAME")]
    backend: Vec<String>,
    /// Stop everything after the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Record the images in dockit.lock
    #[arg(long)]
    pin: bool,
    /// Fail rather than change dockit.lock
    #[arg(long)]
    locked: bool,
    #[command(flatten)]
    one_image: OneImageArgs,
    /// Write what each image is made of to DIR/IMAGE.json and DIR/IMAGE.md: layers, build steps, tests,
    /// and what its info commands say, which run for this
    #[arg(long, value_name = "DIR")]
    pub(super) reports: Option<PathBuf>,
    #[command(flatten)]
    pub(super) told: ToldArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    time_limit(text).ok_or_else(|| "not a duration such as 90s, 120m or 1h30m".to_owned())
}

/// When to push.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Push {
    /// Never; always build
    Never,
    /// In CI runs that are for no pull or merge request
    Auto,
    /// Always
    Always,
}

impl From<Push> for PushPolicy {
    fn from(push: Push) -> Self {
        match push {
            Push::Never => Self::Never,
            Push::Auto => Self::Auto,
            Push::Always => Self::Always,
        }
    }
}

#[derive(Clone, Serialize)]
pub(super) struct Entry {
    pub(super) name: String,
    #[serde(flatten)]
    platform: PlatformEntry,
    key: String,
    status: &'static str,
    reference: String,
    digest: Option<String>,
    pushed: bool,
    /// What the content tag was moved away from.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) held_tags: Vec<HeldEntry>,
    /// What built it, where there was a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    seconds: f64,
    pub(super) error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tests: Vec<CheckEntry>,
    /// Why an index was not put together, where that is no failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<SkippedEntry>,
}

#[derive(Clone, Serialize)]
struct SkippedEntry {
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    platforms: Vec<String>,
}

impl SkippedEntry {
    fn of(skipped: &Skipped) -> Self {
        let platforms = skipped.platforms().iter().map(ToString::to_string).collect();
        Self { kind: skipped.kind(), platforms }
    }
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    images: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_tests: Option<ProjectEntry>,
}

pub(super) async fn run(global: &GlobalArgs, args: &BuildArgs) -> Result<Exit, Failure> {
    session::require_network(global, "build")?;
    let outputs = Outputs::open(&args.told)?;
    let ran = build(global, args, &outputs).await;
    if let Err(failure) = &ran
        && failure.exit() != Exit::Interrupted
    {
        outputs.refused(failure.message());
    }
    ran
}

/// An error means that no image was worked on: whatever happens later is said here, and counts for the
/// exit code.
async fn build(global: &GlobalArgs, args: &BuildArgs, outputs: &Outputs) -> Result<Exit, Failure> {
    let Connected { project, registry, engine } = connected(global, args).inspect_err(|_| {
        // What an earlier run has left is none of this one.
        let _ = outputs.clear();
    })?;
    let backends = Backends::of(&project, &args.backend, &registry)?;
    let request = request(args, args.platforms.of(&project, &args.images)?);
    written_files::check(&project, &request, args, outputs)?;
    outputs.clear()?;
    let display = ui::progress::start(global);
    let steps = StepRecorder::new(&*display);
    let recorder = RunRecorder::start(&project, args.told.report.as_deref(), &steps);
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &backends.named(&engine),
        observer: &recorder,
    };
    let cancel = interrupt::cancellation(interrupt::RUN_GRACE);
    let built = story::build(&project, &request, &services, &cancel).await;
    let written = match (&built, &args.reports) {
        (Ok(built), Some(directory)) => {
            let (run, jobs) = (&built.report, args.jobs);
            // What is not pushed is described where it was built.
            let keeper = story::keeper(&project, &request, &services).await;
            let services = Services { engine: keeper.unwrap_or(&engine), ..services };
            reports::write(directory, &project, run, &steps, &services, jobs, &cancel).await
        }
        _ => Written::default(),
    };
    engine.settle(interrupt::SETTLE).await;
    backends.settle(interrupt::SETTLE).await;
    display.finish();
    let warnings = recorder.finish(&built);
    let story::Built { report, recorded, pins } = match built {
        Err(_) if cancel.is_cancelled() => return Err(interrupt::failure()),
        Err(error) => return Err(creation_hints::of_lookups(&project, &registry, error)),
        Ok(built) => built,
    };
    let shown = show(global, &report);
    if let Some(failure) = report.project_tests.failure() {
        ui::say(&failure);
    }
    for warning in &written.warnings {
        ui::say(warning);
    }
    if environment::ci_run().ci && !outputs.show_failures(&report) {
        ui::say_lines(&ui::summary::failures(&report));
    }
    let told = outputs.ended(&Ended { report: &report, warnings: &warnings });
    let of_images = diagnostics::exit_of(&report, cancel.is_cancelled());
    let pinned = pin::of_run(&project, pins, &cancel).await;
    let recorded = recorded.err().map(Failure::from);
    let others = [shown.err(), recorded, pinned.err(), written.failure(), told.err()];
    let exit = others.iter().flatten().fold(of_images, |exit, failure| exit.or(failure.report()));
    for hint in diagnostics::absence_hints(&project, &report) {
        ui::say(&format!("hint: {hint}"));
    }
    for hint in creation_hints::of_run(&project, &registry, &report) {
        ui::say(&format!("hint: {hint}"));
    }
    if let Some(hint) = diagnostics::build_hint(&report, of_images) {
        ui::say(&format!("hint: {hint}"));
    }
    Ok(exit)
}

fn connected(global: &GlobalArgs, args: &BuildArgs) -> Result<Connected, Failure> {
    let described = args.one_image.project(
        global,
        &args.platforms,
        &[("--with-dependents", args.with_dependents)],
        &[("--pin", args.pin), ("--locked", args.locked)],
    )?;
    match described {
        Some(project) => session::connected_to(project),
        None => session::connected(global, "build"),
    }
}

fn request(args: &BuildArgs, platforms: BTreeSet<Platform>) -> Request {
    Request {
        images: args.images.clone(),
        platforms,
        with_dependents: args.with_dependents,
        push: args.push.map(Into::into),
        ci: environment::ci_run(),
        rebuild: args.rebuild,
        replace: args.replace,
        jobs: args.jobs,
        fail_fast: args.fail_fast,
        load: args.load,
        pin: args.pin,
        locked: args.locked,
        force_tags: args.force_tags,
        no_build: args.no_build || args.wait.is_some(),
        wait: args.wait.map(|limit| Wait {
            limit,
            temporary: environment::temporary_directory(),
            environment: Some(environment::build_argument),
        }),
        keys: session::key_options(),
        secrets: session::secret_options(),
    }
}

/// The run as data.
fn show(global: &GlobalArgs, report: &RunReport) -> Result<(), Failure> {
    match global.format {
        Format::Json => output::json(&Document {
            schema: "dockit.run/1",
            images: report.images.iter().map(entry).collect(),
            project_tests: ui::checks::project(&report.project_tests),
        }),
        Format::Text => output::text(&ui::summary::text(report)),
    }
}

pub(super) fn entry(image: &ImageReport) -> Entry {
    Entry {
        name: image.image.to_string(),
        platform: PlatformEntry::new(&image.image, &image.platforms),
        key: image.key.to_string(),
        status: image.status.as_str(),
        reference: ui::shown(&image.reference),
        digest: image.digest.as_ref().map(ToString::to_string),
        pushed: image.pushed,
        replaced: image.replaced.as_ref().map(ToString::to_string),
        tags: image.tags.iter().map(ToString::to_string).collect(),
        held_tags: image.held_tags.iter().map(HeldEntry::of).collect(),
        backend: image.backend.clone(),
        seconds: (image.seconds * 1000.0).round() / 1000.0,
        error: image.error.as_ref().map(|error| error.message.clone()),
        tests: ui::checks::entries(&image.tests),
        skipped: image.skipped.as_ref().map(SkippedEntry::of),
    }
}

#[cfg(test)]
impl Entry {
    /// What tests of reports write.
    pub(super) fn sample(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            platform: PlatformEntry::default(),
            key: String::new(),
            status: "built",
            reference: String::new(),
            digest: None,
            pushed: true,
            replaced: None,
            tags: Vec::new(),
            held_tags: Vec::new(),
            backend: None,
            seconds: 1.0,
            error: None,
            tests: Vec::new(),
            skipped: None,
        }
    }
}
