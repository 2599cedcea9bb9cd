//! `--reports`: a report of each image of a run.

use std::num::NonZeroUsize;
use std::path::Path;

use dockit_core::Project;
use dockit_core::execute::RunReport;
use dockit_core::report::{self, StepRecorder};
use dockit_core::story::Services;
use tokio_util::sync::CancellationToken;

use crate::diagnostics::{Exit, Failure};

/// What became of the reports, to be said when nothing moves on the terminal any more.
#[derive(Default)]
pub(super) struct Written {
    pub(super) warnings: Vec<String>,
    pub(super) failures: Vec<String>,
}

/// Writes the reports of a run; an interrupted one has none.
pub(super) async fn write(
    directory: &Path,
    project: &Project,
    run: &RunReport,
    steps: &StepRecorder<'_>,
    services: &Services<'_>,
    jobs: NonZeroUsize,
    cancel: &CancellationToken,
) -> Written {
    let mut written = Written::default();
    let gathered = tokio::select! {
        biased;
        () = cancel.cancelled() => return written,
        gathered = report::gather(project, run, steps, services, jobs) => gathered,
    };
    for report in gathered {
        let name = &report.image;
        let warnings = report.warnings.iter().chain(&report.document.problems);
        written.warnings.extend(warnings.map(|text| format!("{name}: warning: {text}")));
        if let Err((file, error)) = report::write(directory, &report.document) {
            written.failures.push(format!("cannot write {}: {error}", file.display()));
        }
    }
    written
}

impl Written {
    /// That a report is missing is a failure of its own, when everything else was said.
    pub(super) fn failure(&self) -> Option<Failure> {
        (!self.failures.is_empty()).then(|| Failure::new(Exit::Failed, self.failures.join("\n")))
    }
}
