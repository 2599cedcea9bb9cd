//! The references in files of a run that records its images.

use tokio_util::sync::CancellationToken;

use super::{Request, Services};
use crate::error::Error;
use crate::graph::ImageGraph;
use crate::lockfile::Lockfile;
use crate::pin::{self, PinError, PinOptions, PinStatus, Pins};
use crate::project::Project;

/// Whether the run keeps references true.
fn wanted(project: &Project, request: &Request) -> bool {
    request.pin && !project.in_memory && !project.pins.is_empty()
}

/// Sees before anything is built that what follows a build could be written: a rule that finds nothing
/// would leave a lockfile and files that contradict each other.
///
/// # Errors
///
/// [`Error::Usage`] names everything that is in the way.
pub(super) async fn check(
    project: &Project,
    request: &Request,
    graph: &ImageGraph,
    lockfile: &Lockfile,
    services: &Services<'_>,
    cancel: &CancellationToken,
) -> Result<(), Error> {
    if !wanted(project, request) {
        return Ok(());
    }
    let options = PinOptions { offline: true, keys: request.keys.clone(), ..PinOptions::default() };
    let looked = pin::look(project, graph, lockfile, services.registry, &options, cancel).await;
    let pins = looked.map_err(|error| match error {
        PinError::Project(error) => error,
        error => Error::Usage(error.to_string()),
    })?;
    let mut lines = Vec::new();
    for finding in pins.findings.iter().filter(|finding| finding.status.is_obstacle()) {
        let what = match &finding.status {
            PinStatus::RuleFailed(message) => message.clone(),
            PinStatus::Cycle(cycle) => format!(
                "{} can never be right: the file is an input of {}",
                finding.found, cycle.input_of
            ),
            _ => format!("{} cannot be kept true", finding.found),
        };
        lines.push(format!("{}:{}: {what}", finding.file, finding.line));
    }
    if lines.is_empty() { Ok(()) } else { Err(Error::Usage(lines.join("\n"))) }
}

/// Makes the references true once everything is recorded. With `locked`, they have to be.
pub(super) async fn write(
    project: &Project,
    request: &Request,
    graph: &ImageGraph,
    services: &Services<'_>,
    cancel: &CancellationToken,
) -> Option<Result<Pins, PinError>> {
    if !wanted(project, request) {
        return None;
    }
    Some(written(project, request, graph, services, cancel).await)
}

async fn written(
    project: &Project,
    request: &Request,
    graph: &ImageGraph,
    services: &Services<'_>,
    cancel: &CancellationToken,
) -> Result<Pins, PinError> {
    let lockfile = Lockfile::of(project).map_err(Error::from)?;
    let options = PinOptions { keys: request.keys.clone(), ..PinOptions::default() };
    let pins = pin::look(project, graph, &lockfile, services.registry, &options, cancel).await?;
    if request.locked {
        if !pins.files.is_empty() {
            let files: Vec<String> =
                pins.files.iter().map(|file| file.path.display().to_string()).collect();
            let message = format!("so would references in {}", files.join(", "));
            return Err(Error::Locked(message).into());
        }
        return Ok(pins);
    }
    pins.write(project)?;
    Ok(pins)
}
