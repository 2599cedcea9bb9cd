//! Commands of the project that make inputs of builds.
//!
//! They run before any key is taken, and only where somebody calls [`prepare`]: what only reads a
//! project never runs its code. [`story::build`](crate::story::build) calls it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::command_line::CommandLine;
use crate::config::Problem;
use crate::events::{Event, Observer};
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::process::ProcessErrorKind;
use crate::project::{Image, Project};
use crate::project_path::ProjectPath;

/// Runs what prepares these images and everything that they depend on: dependencies first, one
/// command after the other, and each once, however many images have the same command with the same
/// outputs. Returns how many ran.
///
/// A command may have changed anything that the graph was made from: after one ran, make it anew.
///
/// # Errors
///
/// The first command that cannot be run, fails, takes too long, or leaves an output out.
pub async fn prepare(
    project: &Project,
    graph: &ImageGraph,
    names: &BTreeSet<ImageName>,
    observer: &dyn Observer,
    cancel: &CancellationToken,
) -> Result<usize, PrepareError> {
    let jobs = jobs(graph, names);
    for job in &jobs {
        job.run(project, observer, cancel).await?;
    }
    Ok(jobs.len())
}

/// What runs before the keys of an image are taken: `prepare` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The command. It runs in the directory of the configuration file.
    pub run: CommandLine,
    /// What has to be there afterwards, sorted by path.
    pub outputs: Vec<ProjectPath>,
    /// How long it may take; without one, as long as it does.
    pub timeout: Option<Duration>,
}

/// Why a build could not be prepared.
#[derive(Debug, thiserror::Error)]
#[error("image {image}: the prepare command `{command}` {kind}")]
pub struct PrepareError {
    /// The first image that it prepares.
    pub image: ImageName,
    /// The command.
    pub command: CommandLine,
    /// What happened.
    pub kind: PrepareErrorKind,
    /// The end of what the command wrote.
    pub output: String,
}

/// Kinds of [`PrepareError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum PrepareErrorKind {
    /// It did not run to its end.
    Process(ProcessErrorKind),
    /// It ended with this exit code, or by a signal.
    Failed(Option<i32>),
    /// It ended well without having made these.
    NoOutput(Vec<ProjectPath>),
}

/// A command that has to run, with the first image that wants it.
struct Job<'a> {
    image: &'a ImageName,
    command: &'a CommandLine,
    outputs: &'a [ProjectPath],
    timeout: Option<Duration>,
}

fn jobs<'a>(graph: &'a ImageGraph, names: &BTreeSet<ImageName>) -> Vec<Job<'a>> {
    let mut jobs: Vec<Job<'a>> = Vec::new();
    for node in graph.with_dependencies(names) {
        let image = node.image();
        let Some(Prepare { run, outputs, timeout }) = &image.prepare else {
            continue;
        };
        let same = jobs.iter_mut().find(|job| {
            let paths = |outputs: &'a [ProjectPath]| outputs.iter().map(ProjectPath::as_str);
            job.command == run && paths(job.outputs).eq(paths(outputs))
        });
        match same {
            // Who allows more time gets it.
            Some(job) => job.timeout = job.timeout.zip(*timeout).map(|(one, other)| one.max(other)),
            None => jobs.push(Job { image: &image.name, command: run, outputs, timeout: *timeout }),
        }
    }
    jobs
}

impl Job<'_> {
    async fn run(
        &self,
        project: &Project,
        observer: &dyn Observer,
        cancel: &CancellationToken,
    ) -> Result<(), PrepareError> {
        let process = self.command.process(&project.root);
        let process = process.time_limit(self.timeout.unwrap_or(Duration::MAX));
        let image = || self.image.clone();
        observer.event(Event::PrepareStarted { image: image(), command: self.command.to_string() });
        let start = Instant::now();
        let show = |bytes: &[u8]| {
            observer.event(Event::PrepareOutput { image: image(), bytes: bytes.to_vec() });
        };
        let ran = process.run_observed(cancel, &show).await;
        let (kind, output) = match ran {
            Err(error) => (Some(PrepareErrorKind::Process(error.kind)), String::new()),
            Ok(ran) => {
                let output = ran.stdout.text() + &ran.stderr.text();
                (
                    if ran.succeeded() {
                        self.missing()
                    } else {
                        Some(PrepareErrorKind::Failed(ran.code))
                    },
                    output,
                )
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        let succeeded = kind.is_none();
        observer.event(Event::PrepareFinished { image: image(), succeeded, seconds });
        match kind {
            None => Ok(()),
            Some(kind) => {
                Err(PrepareError { image: image(), command: self.command.clone(), kind, output })
            }
        }
    }

    fn missing(&self) -> Option<PrepareErrorKind> {
        let missing: Vec<ProjectPath> =
            self.outputs.iter().filter(|output| !output.location().exists()).cloned().collect();
        (!missing.is_empty()).then_some(PrepareErrorKind::NoOutput(missing))
    }
}

impl fmt::Display for PrepareErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(ProcessErrorKind::Cancelled) => formatter.write_str("was cancelled"),
            Self::Process(error @ ProcessErrorKind::TimedOut(_)) => {
                write!(formatter, "was {error}")
            }
            Self::Process(error) => write!(formatter, "could not run: {error}"),
            Self::Failed(Some(code)) => write!(formatter, "ended with exit code {code}"),
            Self::Failed(None) => formatter.write_str("was ended by a signal"),
            Self::NoOutput(outputs) => {
                let names: Vec<&str> = outputs.iter().map(ProjectPath::as_str).collect();
                write!(formatter, "did not make {}", names.join(", "))
            }
        }
    }
}

/// Outputs that are not there, each by the line of the configuration that names it.
pub(crate) fn missing_outputs(project: &Project, image: &Image) -> Vec<Problem> {
    let outputs = image.prepare.iter().flat_map(|prepare| &prepare.outputs);
    outputs
        .filter(|output| !output.location().exists())
        .map(|output| Problem {
            file: project.config_file.clone(),
            line: output.line(),
            message: format!("there is no {output}, which prepare makes"),
            suggestion: None,
        })
        .collect()
}
