//! Tests: what is shown while they run, and what data says about them.

use dockit_core::check::{CheckEnd, CheckPlace, CheckResult};
use dockit_core::events::CheckSubject;
use dockit_core::execute::ProjectTests;
use serde::Serialize;

/// Whose test it is, as lines begin.
pub(super) fn who(of: &CheckSubject) -> String {
    match of {
        CheckSubject::Image(image) => image.to_string(),
        CheckSubject::Project => "project tests".to_owned(),
    }
}

/// What is said when a test begins.
pub(super) fn beginning(command: &str, on: CheckPlace) -> String {
    match on {
        CheckPlace::Container => format!("testing: {command}"),
        CheckPlace::Host => format!("testing on the host: {command}"),
    }
}

/// A test in JSON.
#[derive(Clone, Serialize)]
pub(crate) struct CheckEntry {
    command: String,
    on: &'static str,
    passed: bool,
    /// None if it did not end by itself.
    exit_code: Option<i64>,
    seconds: f64,
    /// The end of what it wrote.
    output: String,
    /// Whether there was more before it.
    truncated: bool,
    /// Why it did not end by itself.
    error: Option<String>,
}

/// Bytes of what a test wrote that are kept where a report is written again and again.
const KEPT_OUTPUT: usize = 16 * 1024;

impl CheckEntry {
    /// Leaves only the end of what it wrote.
    pub(crate) fn shorten(&mut self) {
        let excess = self.output.len().saturating_sub(KEPT_OUTPUT);
        if excess > 0 {
            let from = (excess..).find(|at| self.output.is_char_boundary(*at));
            self.output.drain(..from.unwrap_or(excess));
            self.truncated = true;
        }
    }
}

/// Tests as data.
pub(crate) fn entries(results: &[CheckResult]) -> Vec<CheckEntry> {
    results.iter().map(entry).collect()
}

fn entry(result: &CheckResult) -> CheckEntry {
    let ended = matches!(result.end, CheckEnd::Exited(_));
    CheckEntry {
        command: result.command.to_string(),
        on: result.on.as_str(),
        passed: result.passed(),
        exit_code: result.exit_code(),
        seconds: (result.seconds * 1000.0).round() / 1000.0,
        output: result.output.text(),
        truncated: result.output.truncated,
        error: (!ended).then(|| result.end.to_string()),
    }
}

/// The tests of the project in JSON.
#[derive(Serialize)]
pub(crate) struct ProjectEntry {
    status: &'static str,
    tests: Vec<CheckEntry>,
    error: Option<String>,
}

impl ProjectEntry {
    /// What became of them, in a word.
    pub(crate) fn status(&self) -> &'static str {
        self.status
    }
}

/// The tests of the project as data, if there are any.
pub(crate) fn project(tests: &ProjectTests) -> Option<ProjectEntry> {
    let error = tests.failure();
    let status = match tests {
        ProjectTests::None => return None,
        ProjectTests::NotRun => "not-run",
        _ if error.is_some() => "failed",
        _ => "passed",
    };
    let tests = match tests {
        ProjectTests::Ran(results) => entries(results),
        _ => Vec::new(),
    };
    Some(ProjectEntry { status, tests, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_a_test_wrote_is_kept() {
        let mut entry = CheckEntry {
            command: "x".to_owned(),
            on: "host",
            passed: false,
            exit_code: Some(1),
            seconds: 0.0,
            output: "é".repeat(10_000) + "x the end",
            truncated: false,
            error: None,
        };
        entry.shorten();
        assert!(entry.output.len() <= KEPT_OUTPUT && entry.output.len() > KEPT_OUTPUT - 4);
        assert!(entry.truncated && entry.output.ends_with("éx the end"));
        let before = entry.output.clone();
        entry.shorten();
        assert_eq!(entry.output, before);
    }
}
