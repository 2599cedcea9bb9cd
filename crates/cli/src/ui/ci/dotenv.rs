//! A file of `NAME=value` lines, for shells and whatever reads such files.
//!
//! No value needs quotes: references, digests, keys and words hold nothing but letters, digits and
//! `.:/@_-`.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use dockit_core::ImageName;
use dockit_core::execute::RunReport;

use super::{Ended, Output, facts, names};
use crate::replace::replace;

pub(super) struct Dotenv {
    file: PathBuf,
}

impl Dotenv {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file }
    }
}

impl Output for Dotenv {
    fn ended(&self, run: &Ended<'_>) -> io::Result<()> {
        replace(&self.file, &text(run.report))
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
    for image in &report.images {
        let name = names::variable(&image.image);
        for (fact, value) in facts(image) {
            let _ = writeln!(text, "{name}_{}={value}", fact.to_ascii_uppercase());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn each_line_is_a_plain_assignment() {
        let text = text(&samples::report());
        let first: Vec<&str> = text.lines().take(5).collect();
        let (key, digest) = ("ab".repeat(32), "cd".repeat(32));
        assert_eq!(
            first,
            [
                &format!("DOCKIT_BASE_REFERENCE=r.example:5000/p/base@sha256:{digest}"),
                &format!("DOCKIT_BASE_DIGEST=sha256:{digest}"),
                "DOCKIT_BASE_STATUS=built",
                &format!("DOCKIT_BASE_KEY=k1:{key}"),
                &format!("DOCKIT_CI_PY_TEST_REFERENCE=r.example:5000/p/ci/py.test@sha256:{digest}"),
            ]
        );
        assert!(!text.contains("DOCKIT_CHILD_REFERENCE"), "what failed cannot be used");
        assert!(text.contains("DOCKIT_CHILD_STATUS=failed\n"));
        for line in text.lines() {
            let (name, value) = line.split_once('=').unwrap();
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
            assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || ".:/@_-".contains(c)));
        }
    }
}
