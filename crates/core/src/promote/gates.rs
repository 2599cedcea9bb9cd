//! Running the gates of promotions.

use std::io::Write as _;
use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Gate;
use super::journal::Move;
use crate::check::{CheckEnd, CheckPlace, CheckResult, OUTPUT_LIMIT};
use crate::lockfile::prepare_state;
use crate::process::{Captured, ProcessErrorKind};
use crate::project::Project;

/// The variable that names the file with what is to be promoted.
const VARIABLE: &str = "DOCKIT_PROMOTION";

/// Runs one gate, which finds in the file that `DOCKIT_PROMOTION` names what is to be promoted.
///
/// # Errors
///
/// That file cannot be written.
pub(super) async fn run(
    project: &Project,
    gate: &Gate,
    moves: &[&Move],
    cancel: &CancellationToken,
) -> std::io::Result<CheckResult> {
    let file = file(project, moves)?;
    let process = gate.command.process(&project.root).time_limit(gate.timeout).output_limit(0);
    let process = process.env(VARIABLE, file.path());
    let output = Mutex::new(Captured::default());
    let keep = |bytes: &[u8]| {
        if let Ok(mut output) = output.lock() {
            output.append(bytes, OUTPUT_LIMIT);
        }
    };
    let start = Instant::now();
    let end = match process.run_observed(cancel, &keep).await {
        Ok(ran) => ran.code.map_or(CheckEnd::Signalled, |code| CheckEnd::Exited(code.into())),
        Err(error) => match error.kind {
            ProcessErrorKind::TimedOut(limit) => CheckEnd::TimedOut(limit),
            ProcessErrorKind::Cancelled => CheckEnd::Cancelled,
            _ => CheckEnd::NotStarted(error.to_string()),
        },
    };
    let mut output = output.into_inner().unwrap_or_default();
    output.shorten(OUTPUT_LIMIT);
    let seconds = (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    let command = gate.command.clone();
    Ok(CheckResult { command, on: CheckPlace::Host, end, seconds, output })
}

fn file(project: &Project, moves: &[&Move]) -> std::io::Result<tempfile::NamedTempFile> {
    #[derive(Serialize)]
    struct Document {
        schema: &'static str,
        moves: Vec<Entry>,
    }
    #[derive(Serialize)]
    struct Entry {
        image: String,
        source: String,
        digest: String,
        target: String,
        previous: Option<String>,
    }
    let entry = |one: &&Move| Entry {
        image: one.image.clone(),
        source: one.source.to_string(),
        digest: one.new.to_string(),
        target: one.target().to_string(),
        previous: one.old_digest().map(ToString::to_string),
    };
    let moves = moves.iter().map(entry).collect();
    let state = project.state_directory();
    prepare_state(&state)?;
    let mut builder = tempfile::Builder::new();
    let mut file = builder.prefix("promotion.").suffix(".json").tempfile_in(&state)?;
    let document = Document { schema: "dockit.promotion-moves/1", moves };
    file.write_all(&serde_json::to_vec_pretty(&document)?)?;
    Ok(file)
}
