//! What a run did, as text.

use std::fmt::Write as _;

use dockit_core::execute::{RunReport, Status};

/// A line for each image with what it is now, and the counts.
pub(crate) fn text(report: &RunReport) -> String {
    let width =
        report.images.iter().map(|image| image.image.as_str().len()).max().unwrap_or_default();
    let mut text = String::new();
    for image in &report.images {
        let reference = match &image.digest {
            Some(digest) => image.reference.repository().with_digest(digest.clone()).to_string(),
            None => super::shown(&image.reference),
        };
        let _ = writeln!(
            text,
            "{:9}  {:width$}  {}",
            image.status.as_str(),
            image.image.as_str(),
            reference
        );
    }
    let counts: Vec<String> = [
        Status::Built,
        Status::Reused,
        Status::Retagged,
        Status::Skipped,
        Status::Failed,
        Status::Cancelled,
    ]
    .into_iter()
    .map(|status| (report.count(status), status.as_str()))
    .filter(|(count, status)| *count > 0 || *status == "built")
    .map(|(count, status)| format!("{count} {status}"))
    .collect();
    let _ = writeln!(text, "{}", counts.join(", "));
    text
}
