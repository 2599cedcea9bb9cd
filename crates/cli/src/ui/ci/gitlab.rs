//! GitLab: a file for `artifacts:reports:dotenv`, and sections of the job's log.
//!
//! GitLab takes at most 5 KiB of such a file, and between 20 and 150 variables, depending on the plan
//! (docs.gitlab.com/ci/yaml/artifacts_reports, "artifacts:reports:dotenv"; the sizes are in
//! docs.gitlab.com/administration/instance_limits). It knows no quotes and no values of several lines.
//! So there is one variable for each image, its reference, which holds the digest.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use dockit_core::ImageName;
use dockit_core::events::CheckSubject;
use dockit_core::execute::RunReport;

use super::super::printable;
use super::{Ended, Output, command, failures, is_there, names, reference};
use crate::replace::replace;

/// Bytes that GitLab takes of the file.
const MOST_BYTES: usize = 5 * 1024;

/// Variables that every GitLab takes.
const SURE_VARIABLES: usize = 20;

pub(super) struct Gitlab {
    file: PathBuf,
}

impl Gitlab {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file }
    }
}

impl Output for Gitlab {
    fn ended(&self, run: &Ended<'_>) -> io::Result<()> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        command(&sections(run.report, now.map_or(0, |elapsed| elapsed.as_secs())));
        let text = text(run.report);
        let variables = text.lines().count();
        if text.len() > MOST_BYTES || variables > SURE_VARIABLES {
            super::super::say(&format!(
                "warning: {} has {} bytes and {variables} variables; GitLab takes {MOST_BYTES} \
                 bytes and, depending on the plan, 20 to 150 variables: build fewer images in one \
                 job, or pass them on with --report FILE as an artifact",
                self.file.display(),
                text.len(),
            ));
        }
        replace(&self.file, &text)
    }

    fn shows_failures(&self, _: &RunReport) -> bool {
        true
    }

    fn name(&self, image: &ImageName) -> String {
        names::variable(image)
    }

    fn replaced(&self) -> Option<&Path> {
        Some(&self.file)
    }
}

fn text(report: &RunReport) -> String {
    let mut text = String::new();
    for image in report.images.iter().filter(|image| is_there(image)) {
        let _ = writeln!(text, "{}_REFERENCE={}", names::variable(&image.image), reference(image));
    }
    text
}

/// What failed, once more at the end of the log, each in a section that can be linked to.
fn sections(report: &RunReport, now: u64) -> String {
    let mut text = String::new();
    for failed in failures(report) {
        let section = match &failed.of {
            CheckSubject::Image(image) => names::variable(image).to_ascii_lowercase(),
            // Those of images begin with another word.
            CheckSubject::Project => "project_tests".to_owned(),
        };
        let _ = write!(
            text,
            "\x1b[0Ksection_start:{now}:{section}\r\x1b[0K{name} failed\n{message}\n\
             \x1b[0Ksection_end:{now}:{section}\r\x1b[0K\n",
            name = failed.what(),
            // Without carriage returns and escapes no line of it can be taken for a section.
            message = printable::lines(&failed.message),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use dockit_core::execute::Status;

    use super::super::samples;
    use super::*;

    #[test]
    fn there_is_one_variable_for_each_image_that_is_there() {
        let text = text(&samples::report());
        let names: Vec<&str> = text.lines().map(|line| line.split_once('=').unwrap().0).collect();
        assert_eq!(names, ["DOCKIT_BASE_REFERENCE", "DOCKIT_CI_PY_TEST_REFERENCE"]);
    }

    #[test]
    fn what_a_build_wrote_makes_no_section() {
        let evil = "RUN x: exit code: 1\n    \x1b[0Ksection_end:0:x\r\x1b[0K";
        let report = RunReport {
            images: vec![samples::failed("child", evil), samples::image("base", Status::Built)],
            ..RunReport::default()
        };
        let text = sections(&report, 7);
        assert_eq!(text.matches("\x1b[0Ksection_").count(), 2, "{text:?}");
        assert!(text.starts_with("\x1b[0Ksection_start:7:dockit_child\r\x1b[0Kchild failed\n"));
        assert_eq!(text.matches('\r').count(), 2);
    }
}
