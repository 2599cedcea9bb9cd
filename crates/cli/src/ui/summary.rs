//! What a run did, as text.

use std::fmt::Write as _;

use dockit_core::ImageName;
use dockit_core::execute::{RunReport, Status};
use dockit_core::moving_tags::HeldTag;

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
    for image in &report.images {
        if let Some(old) = &image.replaced {
            let _ = writeln!(text, "{} is replaced; before, its tag was on {old}", image.image);
        }
        if let Some(why) = &image.skipped {
            let _ = writeln!(text, "{} is not put together: {why}", image.image);
        }
    }
    text.push_str(&held(
        report.images.iter().map(|image| (&image.image, image.held_tags.as_slice())),
    ));
    let _ = writeln!(text, "{}", counts(report));
    text
}

/// How many images ended how; what nothing ended as is left out, but for what was built.
pub(crate) fn counts(report: &RunReport) -> String {
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
    counts.join(", ")
}

/// What failed, with the last lines of what it wrote, once more at the end of a log in which that stands
/// far above.
pub(crate) fn failures(report: &RunReport) -> String {
    let mut text = String::new();
    for image in report.images.iter().filter(|image| image.status == Status::Failed) {
        if let Some(error) = &image.error {
            let _ = writeln!(text, "{}: {}: {}", image.image, image.status.as_str(), error.message);
        }
    }
    text
}

/// A line for each moving tag that stays where it is and each reason, with the images of which this is
/// so: on a branch that is not the default one it is the same for most of them.
pub(crate) fn held<'a>(images: impl Iterator<Item = (&'a ImageName, &'a [HeldTag])>) -> String {
    let mut lines: Vec<((String, String), Vec<&str>)> = Vec::new();
    for (image, held) in images {
        for held in held {
            let line = (held.name(), held.reason.to_string());
            match lines.iter_mut().find(|(known, _)| *known == line) {
                Some((_, images)) => images.push(image.as_str()),
                None => lines.push((line, vec![image.as_str()])),
            }
        }
    }
    let lines = lines.into_iter().map(|((tag, reason), images)| {
        format!("{tag} is not moved ({}): {reason}\n", images.join(", "))
    });
    lines.collect()
}
