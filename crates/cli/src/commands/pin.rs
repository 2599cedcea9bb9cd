//! `dockit pin`

use std::time::Duration;

use clap::Args;
use dockit_core::pin::{self, AfterError, Cycle, Finding, PinError, PinOptions, PinStatus, Pins};
use dockit_core::revision::RevisionError;
use dockit_core::{ImageGraph, Lockfile, Project};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::ui::{self, output};
use crate::{interrupt, session};

/// How long an interrupted look at the files may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Arguments of `dockit pin`.
#[derive(Args, Debug)]
pub struct PinArgs {
    /// Write nothing; exit with 5 if a reference is not what the lockfile says
    #[arg(long)]
    check: bool,
    /// Look at every file of the repository, and not only at those that [pin] in dockit.toml names
    #[arg(long)]
    all_files: bool,
    /// List all references, not only those that are wrong
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    /// Files that were written.
    files: Vec<String>,
    references: Vec<Entry>,
}

/// A reference as JSON shows it.
#[derive(Serialize)]
pub(super) struct Entry {
    file: String,
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

pub(super) async fn run(global: &GlobalArgs, args: &PinArgs) -> Result<Exit, Failure> {
    let project = session::project(global)?;
    let registry = session::registry(Some(&project))?;
    let graph = ImageGraph::new(&project).map_err(dockit_core::Error::from)?;
    let lockfile = Lockfile::of(&project).map_err(dockit_core::Error::from)?;
    // Without a word about files, those that would change are listed.
    let unnamed = project.pins.is_empty() && !args.all_files;
    let options = PinOptions {
        all_files: args.all_files || unnamed,
        offline: global.offline,
        keys: session::key_options(),
    };
    let cancel = interrupt::cancellation(GRACE);
    let looked = pin::look(&project, &graph, &lockfile, &registry, &options, &cancel).await;
    let pins = match looked {
        Err(_) if cancel.is_cancelled() => return Err(interrupt::failure()),
        looked => looked?,
    };
    let writes = !args.check && !unnamed && !obstacles(&pins);
    if writes {
        pins.write(&project)?;
    }
    show(global, args, &pins, &project, writes)?;
    if writes {
        pin::run_after(&project, &pins, &cancel).await?;
    }
    Ok(ended(&pins, args, unnamed, writes))
}

/// Says what a run made of the references in files, and runs what follows.
pub(super) async fn of_run(
    project: &Project,
    pins: Option<Result<Pins, PinError>>,
    cancel: &CancellationToken,
) -> Result<(), Failure> {
    let Some(pins) = pins.transpose()? else {
        return Ok(());
    };
    if !pins.files.is_empty() {
        ui::say(&format!("references rewritten in {}", files(&pins, project).join(", ")));
    }
    for finding in pins.findings.iter().filter(|finding| finding.status.is_difference()) {
        if !matches!(finding.status, PinStatus::Stale { .. }) {
            ui::say_lines(&format!("warning: {}", text(finding, true)));
        }
    }
    Ok(pin::run_after(project, &pins, cancel).await?)
}

fn obstacles(pins: &Pins) -> bool {
    pins.findings.iter().any(|finding| finding.status.is_obstacle())
}

fn ended(pins: &Pins, args: &PinArgs, unnamed: bool, writes: bool) -> Exit {
    let differs = pins.findings.iter().any(|finding| finding.status.is_difference());
    if args.check {
        if differs {
            ui::say("hint: `dockit pin` rewrites what follows the lockfile");
        }
        return if differs { Exit::Differences } else { Exit::Done };
    }
    if unnamed {
        let would = ui::count(pins.files.len(), "file");
        return Failure::new(Exit::Usage, format!("nothing says which files may be changed; {would} would be"))
            .hint("[pin] files = [\"…\"] in dockit.toml names them, --all-files means all of the repository")
            .report();
    }
    if !writes {
        return Failure::new(
            Exit::Differences,
            "nothing was written: some references can never be right as they are",
        )
        .report();
    }
    // What remains is in nobody's hands but a person's.
    let left = |finding: &&Finding| {
        finding.status.is_difference() && !matches!(finding.status, PinStatus::Stale { .. })
    };
    match pins.findings.iter().filter(left).count() {
        0 => Exit::Done,
        count => {
            let message = format!("{} could not be made right", ui::count(count, "reference"));
            Failure::new(Exit::Differences, message).report()
        }
    }
}

fn show(
    global: &GlobalArgs,
    args: &PinArgs,
    pins: &Pins,
    project: &Project,
    written: bool,
) -> Result<(), Failure> {
    let shown = |finding: &&Finding| {
        args.all
            || finding.status.is_difference()
            || matches!(finding.status, PinStatus::NotAsked(_))
    };
    match global.format {
        Format::Json => output::json(&Document {
            schema: "dockit.pin/1",
            files: if written { files(pins, project) } else { Vec::new() },
            references: pins.findings.iter().map(|finding| entry(finding, written)).collect(),
        }),
        Format::Text => {
            for finding in pins.findings.iter().filter(shown) {
                output::text(&text(finding, written))?;
            }
            if written && !pins.files.is_empty() {
                ui::say(&format!("{} rewritten", ui::count(pins.files.len(), "file")));
            }
            Ok(())
        }
    }
}

fn files(pins: &Pins, project: &Project) -> Vec<String> {
    let root = project.root.canonicalize().unwrap_or_else(|_| project.root.clone());
    let shown = |path: &std::path::PathBuf| {
        path.strip_prefix(&root).unwrap_or(path).to_string_lossy().into_owned()
    };
    pins.files.iter().map(|file| shown(&file.path)).collect()
}

pub(super) fn entry(finding: &Finding, written: bool) -> Entry {
    Entry {
        file: finding.file.clone(),
        line: finding.line,
        image: finding.image.as_ref().map(ToString::to_string),
        found: finding.found.clone(),
        expected: match &finding.status {
            PinStatus::Stale { expected } => Some(expected.clone()),
            _ => None,
        },
        status: word(&finding.status, written),
        message: message(&finding.status),
    }
}

fn word(status: &PinStatus, written: bool) -> &'static str {
    match status {
        PinStatus::Right => "right",
        PinStatus::Stale { .. } if written => "rewritten",
        PinStatus::Stale { .. } => "stale",
        PinStatus::Kept => "kept",
        PinStatus::NotRecorded => "not-recorded",
        PinStatus::Ambiguous(_) => "ambiguous",
        PinStatus::TagAbsent(_) => "tag-absent",
        PinStatus::NotAsked(_) => "not-asked",
        PinStatus::Unknown => "unknown",
        PinStatus::RuleFailed(_) => "rule-failed",
        PinStatus::Cycle(_) => "cycle",
        _ => "other",
    }
}

fn message(status: &PinStatus) -> Option<String> {
    Some(match status {
        PinStatus::NotRecorded => {
            "the lockfile does not record the image: `dockit build --pin` does".to_owned()
        }
        PinStatus::Ambiguous(images) => {
            let images: Vec<&str> = images.iter().map(|image| image.as_str()).collect();
            format!("it may mean any of {}, which share a repository", images.join(", "))
        }
        PinStatus::TagAbsent(reference) => format!("there is no {}", ui::shown(reference)),
        PinStatus::NotAsked(reference) => {
            format!("what {} is on was not asked", ui::shown(reference))
        }
        PinStatus::Unknown => "no image of the project has this repository".to_owned(),
        PinStatus::RuleFailed(message) => message.clone(),
        PinStatus::Cycle(Cycle { input_of, ignore }) => {
            let why = format!(
                "it can never be right: the file is an input of {input_of}, whose image it pins or which \
                 that image needs"
            );
            match ignore {
                Some(line) => {
                    format!("{why}; {line:?} in the .dockerignore of {input_of} ends that")
                }
                None => format!("{why}, by `inputs` in dockit.toml"),
            }
        }
        _ => return None,
    })
}

/// A finding as lines: the place, and what stands there and should.
pub(super) fn text(finding: &Finding, written: bool) -> String {
    let Finding { file, line, found, status, .. } = finding;
    let image = finding.image.as_ref().map(|image| format!(" {image}")).unwrap_or_default();
    let mut text = format!("{file}:{line}:{image} {}\n", word(status, written));
    if !found.is_empty() {
        text.push_str(&format!("  found     {found}\n"));
    }
    if let PinStatus::Stale { expected } = status {
        text.push_str(&format!("  expected  {expected}\n"));
    }
    if let Some(message) = message(status) {
        text.push_str(&format!("  {message}\n"));
    }
    text
}

impl From<PinError> for Failure {
    fn from(error: PinError) -> Self {
        let message = error.to_string();
        match error {
            PinError::Project(error) => error.into(),
            PinError::Registry(error) => error.into(),
            PinError::Git(RevisionError::Process(_)) => Self::new(Exit::Usage, message)
                .hint("git lists the files that references are looked for in"),
            _ => Self::new(Exit::Usage, message),
        }
    }
}

impl From<AfterError> for Failure {
    fn from(error: AfterError) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}
