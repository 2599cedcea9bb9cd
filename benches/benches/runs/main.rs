//! Whole runs of the command, as ratios to peers and to what no run can be faster than.
//!
//! ```text
//! cargo bench -p dockit-benches --bench runs -- [--quick] [no-op] [start] [critical-path] [assembled]
//! ```
//!
//! Without a name all are measured, which takes about four minutes on two cores. Take figures on a quiet
//! machine only: everything here is processes and their scheduling. `--quick` takes fewer turns.
//! `assembled` needs nothing. The others need `docker-registry`, `no-op` and `start` also `skopeo`, `start` also `curl`, and
//! `critical-path` a Docker Engine and an image with a shell that it can pull, named by
//! `DOCKIT_TEST_BASE` (`scripts/setup` installs all of it and writes the name to
//! `target/dockit-setup/env`). What is built is removed from the engine afterwards.
//!
//! What is compared takes turns, and ratios are taken within each turn; what is printed is the median.
//! The command that is measured is this program itself, which is `dockit` when it is started so.
//!
//! - *no-op*: `dockit build` over 50 and 300 images that are all present, next to `skopeo inspect --raw`
//!   in a loop over the same references.
//! - *start*: from the start of the process to its first connection, next to `curl` with the same
//!   server, and to `skopeo --version`, which connects to nothing.
//! - *critical-path*: a run that builds and pushes a generated project, next to its critical path, which
//!   follows from the seconds of the single images in the run's own report, and to all seconds divided
//!   by the jobs. The larger one of these is what a run needs at least.
//! - *assembled*: 1,000 images that only put files together, into a layout: a first run, next to a loop of
//!   `tar` and `gzip` over the same files, and one with nothing to do, next to computing the keys.

mod assembled;
mod critical_path;
mod noop;
mod start;

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use dockit_benches::turns::Done;

/// Set in processes that are to be `dockit`.
const AS_DOCKIT: &str = "DOCKIT_BENCH_IS_DOCKIT";

type Measurement = fn(bool, &mut dyn Write) -> Done;

const MEASUREMENTS: [(&str, Measurement); 4] = [
    ("no-op", noop::measure),
    ("start", start::measure),
    ("critical-path", critical_path::measure),
    ("assembled", assembled::measure),
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if variable(AS_DOCKIT).is_some() {
        return Ok(dockit_cli::main());
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (flags, names): (Vec<&str>, Vec<&str>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with("--"));
    if let Some(name) = names.iter().find(|name| MEASUREMENTS.iter().all(|one| one.0 != **name)) {
        return Err(format!("no measurement is named {name}").into());
    }
    let mut out = std::io::stdout().lock();
    for (name, measure) in MEASUREMENTS {
        if names.is_empty() || names.contains(&name) {
            measure(flags.contains(&"--quick"), &mut out)?;
            writeln!(out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `dockit` in a project's directory, with nothing of the machine's settings but the engine.
fn dockit(root: &Path, arguments: &[&str]) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(arguments)
        .current_dir(root)
        .env_clear()
        .env(AS_DOCKIT, "1")
        .env("HOME", root.join(".home"));
    if let Some(engine) = variable("DOCKER_HOST") {
        command.env("DOCKER_HOST", engine);
    }
    Ok(command)
}

/// What a command prints as JSON.
fn json(mut command: Command) -> Result<serde_json::Value, Box<dyn Error>> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The values of a field of the images in a report.
fn field<'a>(report: &'a serde_json::Value, name: &str) -> Vec<&'a str> {
    let images = report["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    images.iter().filter_map(|image| image[name].as_str()).collect()
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "benches are told what to use")]
    std::env::var(name).ok()
}
