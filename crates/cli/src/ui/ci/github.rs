//! GitHub Actions: outputs of the step, a summary, and annotations.
//!
//! The formats are those of "Workflow commands for GitHub Actions" in GitHub's documentation, the
//! escapes those of the runner (`%`, CR and LF; in properties also `:` and `,`). The runner reads both
//! streams of a step, shows ten errors and ten warnings of one, cuts a message at 4,096 characters, and
//! takes a summary of 1 MiB.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use dockit_core::ImageName;
use dockit_core::execute::{ImageReport, RunReport};
use serde::Serialize;

use super::{
    Ended, Output, command, facts, failures, file, is_there, markdown, names, reference, shortened,
};
use crate::diagnostics::{Exit, Failure};
use crate::environment;

/// Annotations of one kind that a step can have.
const ANNOTATIONS: usize = 10;

/// Bytes of a message.
const MESSAGE: usize = 4000;

/// Bytes of all that a step writes to its summary.
const SUMMARY: usize = 1024 * 1024;

pub(super) struct Github {
    output: PathBuf,
    summary: PathBuf,
}

/// An element of the output `images`.
#[derive(Serialize)]
struct Entry {
    name: String,
    key: String,
    status: &'static str,
    reference: Option<String>,
    digest: Option<String>,
    pushed: bool,
}

impl Github {
    pub(super) fn new() -> Result<Self, Failure> {
        let file = |name: &str| match environment::variable(name) {
            Some(file) => Ok(PathBuf::from(file)),
            None => Err(Failure::new(Exit::Usage, format!("--output github: {name} is not set"))
                .hint("GitHub Actions sets it in every step; pass it on into containers")),
        };
        Ok(Self { output: file("GITHUB_OUTPUT")?, summary: file("GITHUB_STEP_SUMMARY")? })
    }
}

impl Output for Github {
    fn ended(&self, run: &Ended<'_>) -> io::Result<()> {
        command(&annotations(run));
        file::append(&self.output, &outputs(run.report, &delimiter()))?;
        let written = std::fs::metadata(&self.summary).map_or(0, |metadata| metadata.len());
        let room = SUMMARY.saturating_sub(usize::try_from(written).unwrap_or(SUMMARY));
        file::append(&self.summary, &markdown::summary(run.report, room))
    }

    fn refused(&self, message: &str) {
        command(&annotation("error", "dockit", message));
    }

    fn shows_failures(&self, report: &RunReport) -> bool {
        failures(report).len() <= ANNOTATIONS
    }

    fn name(&self, image: &ImageName) -> String {
        names::github(image)
    }

    fn files(&self) -> Vec<&Path> {
        vec![&self.output, &self.summary]
    }
}

/// Nobody who writes a value can know it.
fn delimiter() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("dockit_{:016x}{:016x}", random(), random())
}

fn outputs(report: &RunReport, delimiter: &str) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        let _ = write!(text, "{name}<<{delimiter}\n{value}\n{delimiter}\n");
    };
    for image in &report.images {
        let name = names::github(&image.image);
        for (fact, value) in facts(image) {
            put(&format!("{name}_{fact}"), &value);
        }
    }
    let entries: Vec<Entry> = report.images.iter().map(entry).collect();
    put("images", &serde_json::to_string(&entries).unwrap_or_default());
    text
}

fn entry(image: &ImageReport) -> Entry {
    Entry {
        name: image.image.to_string(),
        key: image.key.to_string(),
        status: image.status.as_str(),
        reference: is_there(image).then(|| reference(image)),
        digest: image.digest.as_ref().map(ToString::to_string),
        pushed: image.pushed,
    }
}

fn annotations(run: &Ended<'_>) -> String {
    let mut text = String::new();
    let failures = failures(run.report);
    let errors: Vec<(String, &str)> = failures
        .iter()
        .map(|failed| (format!("{} failed", failed.what()), failed.message.as_str()))
        .collect();
    let warnings: Vec<(String, &str)> =
        run.warnings.iter().map(|(image, text)| (image.to_string(), text.as_str())).collect();
    for (kind, messages) in [("error", errors), ("warning", warnings)] {
        let shown = if messages.len() > ANNOTATIONS { ANNOTATIONS - 1 } else { messages.len() };
        for (title, message) in &messages[..shown] {
            text.push_str(&annotation(kind, title, message));
        }
        let names: Vec<&str> = messages[shown..].iter().map(|(title, _)| title.as_str()).collect();
        if !names.is_empty() {
            let title = format!("{} more, see the log", names.len());
            text.push_str(&annotation(kind, &title, &names.join(", ")));
        }
    }
    text
}

fn annotation(kind: &str, title: &str, message: &str) -> String {
    format!("::{kind} title={}::{}\n", property(title), data(&shortened(message, MESSAGE)))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn outputs_stand_between_delimiters() {
        let text = outputs(&samples::report(), "D");
        let (key, digest) = ("ab".repeat(32), "cd".repeat(32));
        let base = format!("r.example:5000/p/base@sha256:{digest}");
        assert!(text.starts_with(&format!(
            "base_reference<<D\n{base}\nD\nbase_digest<<D\nsha256:{digest}\nD\nbase_status<<D\nbuilt\nD\n\
             base_key<<D\nk1:{key}\nD\nci_py_test_reference<<D\n"
        )));
        let (_, images) = text.split_once("images<<D\n").unwrap();
        let images: serde_json::Value =
            serde_json::from_str(images.strip_suffix("\nD\n").unwrap()).unwrap();
        assert_eq!(images[0]["reference"], base);
        assert_eq!(images[2]["status"], "failed");
        assert!(images[2]["reference"].is_null());
        assert_ne!(delimiter(), delimiter());
    }

    #[test]
    fn annotations_are_escaped_as_the_runner_unescapes() {
        let report = samples::report();
        let warnings = [("base".parse().unwrap(), "x, y: 1%\r\n::set-output name=a::b".to_owned())];
        assert_eq!(
            annotations(&Ended { report: &report, warnings: &warnings }),
            "::error title=child failed::[2/2] RUN x: exit code: 1%0A    a %25 b%0A    ::error::evil\n\
             ::warning title=base::x, y: 1%25%0D%0A::set-output name=a::b\n"
        );
        assert_eq!(annotation("error", "a:b,c\n", "m"), "::error title=a%3Ab%2Cc%0A::m\n");
    }

    #[test]
    fn more_failures_than_a_step_can_show_are_named_in_the_last_one() {
        let images = (0..13).map(|number| samples::failed(&format!("i{number}"), "x")).collect();
        let text = annotations(&Ended {
            report: &RunReport { images, ..RunReport::default() },
            warnings: &[],
        });
        assert_eq!(text.lines().count(), 10);
        assert!(text.ends_with(
            "::error title=4 more%2C see the log::i9 failed, i10 failed, i11 failed, i12 failed\n"
        ));
    }
}
