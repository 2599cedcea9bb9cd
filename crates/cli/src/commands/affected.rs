//! Images that a change affects, as `update` and `changed` show them.

use std::fmt::Write as _;

use dockit_core::inputs::Change;
use dockit_core::update::AffectedImage;
use serde::Serialize;

/// Reasons that text shows of each image.
const REASONS: usize = 3;

/// An affected image, as JSON shows it.
#[derive(Serialize)]
pub(super) struct AffectedEntry {
    image: String,
    /// The key before.
    from: Option<String>,
    to: Option<String>,
    new: bool,
    /// Whether something of its own differs.
    direct: bool,
    /// The images because of which it is affected.
    because: Vec<String>,
    changes: Vec<ChangeEntry>,
    /// Why its keys cannot be compared.
    problem: Option<String>,
}

#[derive(Serialize)]
struct ChangeEntry {
    what: &'static str,
    how: &'static str,
    name: String,
}

impl AffectedEntry {
    pub(super) fn new(affected: &AffectedImage) -> Self {
        let changes = affected.changes.iter().map(|change| ChangeEntry {
            what: change.what.as_str(),
            how: change.how.as_str(),
            name: change.subject.clone(),
        });
        Self {
            image: affected.image.to_string(),
            from: affected.from.map(|key| key.to_string()),
            to: affected.to.map(|key| key.to_string()),
            new: affected.is_new,
            direct: affected.is_direct(),
            because: affected.through.iter().map(ToString::to_string).collect(),
            changes: changes.collect(),
            problem: affected.problem.clone(),
        }
    }
}

/// A line for each image, with the first reasons.
pub(super) fn affected_lines(images: &[AffectedImage]) -> String {
    let mut text = String::new();
    for image in images {
        let _ = writeln!(text, "  {}: {}", image.image, reasons(image));
    }
    text
}

/// The first reasons in one line.
pub(super) fn reasons(image: &AffectedImage) -> String {
    let mut reasons: Vec<String> = image.changes.iter().take(REASONS).map(described).collect();
    if image.changes.len() > REASONS {
        reasons.push(format!("{} more", image.changes.len() - REASONS));
    }
    if image.is_new {
        reasons.insert(0, "new".to_owned());
    }
    if !image.through.is_empty() {
        let names: Vec<String> = image.through.iter().map(ToString::to_string).collect();
        reasons.push(format!("because of {}", names.join(", ")));
    }
    if let Some(problem) = &image.problem {
        let first = problem.lines().next().unwrap_or_default();
        reasons.push(format!("keys cannot be compared: {first}"));
    }
    reasons.join("; ")
}

fn described(change: &Change) -> String {
    let what = change.what.as_str();
    let how = change.how.as_str();
    match change.subject.as_str() {
        "" => format!("{what} {how}"),
        subject => format!("{what} {subject} {how}"),
    }
}
