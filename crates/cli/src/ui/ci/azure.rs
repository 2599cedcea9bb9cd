//! Azure Pipelines: output variables, issues, and a summary, by logging commands.
//!
//! The format is that of "Logging commands" in Azure's documentation, the escapes those of the agent
//! (`;`, `]`, CR and LF; `%` as `%AZP25`). The agent reads both streams of a step.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use dockit_core::ImageName;
use dockit_core::execute::RunReport;

use super::{Ended, Output, command, facts, failures, markdown, names, shortened};
use crate::diagnostics::{Exit, Failure};
use crate::environment;
use crate::replace::replace;

/// Bytes of a message of an issue.
const MESSAGE: usize = 4000;

/// Bytes of a summary.
const SUMMARY: usize = 1024 * 1024;

pub(super) struct Azure {
    summary: PathBuf,
}

impl Azure {
    pub(super) fn new() -> Result<Self, Failure> {
        let Some(directory) = environment::variable("AGENT_TEMPDIRECTORY") else {
            let message = "--output azure: AGENT_TEMPDIRECTORY is not set";
            return Err(Failure::new(Exit::Usage, message)
                .hint("Azure Pipelines sets it in every job; pass it on into containers"));
        };
        // Several steps of a job may have one, and the agent reads it after we are gone.
        let name = format!("dockit-{:016x}.md", RandomState::new().build_hasher().finish());
        Ok(Self { summary: Path::new(&directory).join(name) })
    }
}

impl Output for Azure {
    fn ended(&self, run: &Ended<'_>) -> io::Result<()> {
        replace(&self.summary, &markdown::summary(run.report, SUMMARY))?;
        command(&commands(run));
        command(&format!("##vso[task.uploadsummary]{}\n", escape(&self.summary.to_string_lossy())));
        Ok(())
    }

    fn refused(&self, message: &str) {
        command(&issue("error", message));
    }

    fn shows_failures(&self, _: &RunReport) -> bool {
        true
    }

    fn name(&self, image: &ImageName) -> String {
        names::azure(image)
    }

    fn files(&self) -> Vec<&Path> {
        vec![&self.summary]
    }
}

fn commands(run: &Ended<'_>) -> String {
    let mut text = String::new();
    for image in &run.report.images {
        let name = names::azure(&image.image);
        for (fact, value) in facts(image) {
            let _ = writeln!(
                text,
                "##vso[task.setvariable variable={name}_{fact};isOutput=true]{}",
                escape(&value)
            );
        }
    }
    for (image, warning) in run.warnings {
        text.push_str(&issue("warning", &format!("{image}: {warning}")));
    }
    for failed in failures(run.report) {
        text.push_str(&issue("error", &format!("{}: {}", failed.what(), failed.message)));
    }
    text
}

fn issue(kind: &str, message: &str) -> String {
    format!("##vso[task.logissue type={kind}]{}\n", escape(&shortened(message, MESSAGE)))
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '%' => escaped.push_str("%AZP25"),
            ';' => escaped.push_str("%3B"),
            '\r' => escaped.push_str("%0D"),
            '\n' => escaped.push_str("%0A"),
            ']' => escaped.push_str("%5D"),
            // Of several commands in a line the agent obeys the first one, which is ours.
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn every_command_is_one_line_of_its_own() {
        let report = samples::report();
        let warnings = [("base".parse().unwrap(), "look; at [this]\r\n##vso[x]".to_owned())];
        let text = commands(&Ended { report: &report, warnings: &warnings });
        let digest = "cd".repeat(32);
        assert!(text.starts_with(&format!(
            "##vso[task.setvariable variable=base_reference;isOutput=true]\
             r.example:5000/p/base@sha256:{digest}\n"
        )));
        assert!(text.contains(
            "##vso[task.logissue type=warning]base: look%3B at [this%5D%0D%0A##vso[x%5D\n"
        ));
        assert!(text.ends_with(
            "##vso[task.logissue type=error]child: [2/2%5D RUN x: exit code: 1%0A    a %AZP25 b%0A    \
             ::error::evil\n"
        ));
        for line in text.lines() {
            assert!(line.starts_with("##vso[task."), "{line}");
            assert_eq!(line.matches(']').count(), 1, "{line}");
        }
    }
}
