//! Inputs of keys, and what differs between them, as text.

use std::collections::HashSet;
use std::fmt::Write as _;

use dockit_core::inputs::{Change, Document, How, Origin, What, rfc3339};
use dockit_core::why::{ImageChanges, Side, Why};

use super::output::columns;
use super::printable::one_line;

/// Changes of one kind that are told one by one; of more, how many there are.
const MAX_OF_A_KIND: usize = 20;

/// Everything that a key is computed from.
pub(crate) fn explanation(document: &Document) -> String {
    let mut text = format!("{}  {}\n", document.image, document.key());
    for whole in &document.whole_context {
        let reason = one_line(whole.reason.as_deref().unwrap_or("may read any of it"));
        let _ = writeln!(text, "  the whole build context counts: line {}: {reason}", whole.line);
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    // Values of one kind stand under each other.
    for lines in document.contributions().chunk_by(|one, next| one.what == next.what) {
        let values: Vec<Vec<String>> = lines.iter().map(|line| line.values.clone()).collect();
        let values = columns(&values, "");
        rows.extend(lines.iter().zip(values.lines()).map(|(line, values)| {
            vec![line.what.as_str().to_owned(), line.subject.clone(), values.to_owned()]
        }));
    }
    text + &columns(&rows, "  ")
}

/// What differs, dependencies under what depends on them.
pub(crate) fn why(why: &Why) -> String {
    let Some(first) = why.images.first() else {
        let (from, to) = (side(&why.from), side(&why.to));
        return format!("{} is the same: {}\n  in {from}\n  in {to}\n", why.image, why.to.key);
    };
    let mut text = format!(
        "{} changes: {} → {}\n  from {}\n  to   {}\n",
        why.image,
        why.from.key,
        why.to.key,
        side(&why.from),
        side(&why.to)
    );
    let mut told = HashSet::from([first.image.as_str()]);
    image(&mut text, why, first, 1, &mut told);
    text
}

/// From what an image was built, and when.
fn built(origin: &Origin) -> Option<String> {
    let revision = origin.revision.as_ref().map(|revision| format!("built from {revision}"));
    let started = origin.started.and_then(rfc3339).map(|time| format!("at {time}"));
    let words: Vec<String> = revision.into_iter().chain(started).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn side(side: &Side) -> String {
    let more: Vec<String> = [
        side.commit.as_ref().map(|commit| format!("commit {commit}")),
        side.reference.as_ref().map(ToString::to_string),
        side.origin.as_ref().and_then(built),
    ]
    .into_iter()
    .flatten()
    .filter(|more| *more != side.state.to_string())
    .collect();
    if more.is_empty() {
        side.state.to_string()
    } else {
        format!("{} ({})", side.state, more.join(", "))
    }
}

fn image<'a>(
    text: &mut String,
    why: &'a Why,
    changed: &'a ImageChanges,
    depth: usize,
    told: &mut HashSet<&'a str>,
) {
    let margin = "  ".repeat(depth);
    if let Some(unknown) = &changed.unknown {
        let _ = writeln!(text, "{margin}more is not known: {}", one_line(unknown));
    }
    let because: Vec<&str> = changed.because().collect();
    let is_followed = |change: &&Change| {
        change.what == What::Dependency
            && change.how == How::Changed
            && because.contains(&&*change.subject)
    };
    text.push_str(&columns(&rows(changed.changes.iter().filter(|c| !is_followed(c))), &margin));
    for name in because {
        let dependency = why.images.iter().find(|other| other.image.as_str() == name);
        let Some(dependency) = dependency else {
            let _ = writeln!(text, "{margin}because {name} changes");
            continue;
        };
        let (from, to) = (dependency.from.short(), dependency.to.short());
        if told.insert(name) {
            let _ = writeln!(text, "{margin}because {name} changes: {from} → {to}");
            image(text, why, dependency, depth + 1, told);
        } else {
            let _ = writeln!(text, "{margin}because {name} changes, as above");
        }
    }
}

fn rows<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut kind = (None, 0);
    let skipped = |rows: &mut Vec<Vec<String>>, kind: &(Option<What>, usize)| {
        if kind.1 > MAX_OF_A_KIND {
            let more = kind.1 - MAX_OF_A_KIND;
            rows.push(vec![String::new(), format!("… and {more} more")]);
        }
    };
    for change in changes {
        if kind.0 != Some(change.what) {
            skipped(&mut rows, &kind);
            kind = (Some(change.what), 0);
        }
        kind.1 += 1;
        if kind.1 <= MAX_OF_A_KIND {
            rows.push(row(change));
        }
    }
    skipped(&mut rows, &kind);
    rows
}

fn row(change: &Change) -> Vec<String> {
    let what = format!("{} {}", change.what.as_str(), change.how.as_str());
    let values = match (&change.from, &change.to) {
        (None, None) => String::new(),
        (Some(from), Some(to)) => format!("{} → {}", value(from), value(to)),
        (Some(only), None) | (None, Some(only)) => value(only),
    };
    if change.subject.is_empty() {
        vec![what, values]
    } else {
        vec![what, change.subject.clone(), values]
    }
}

/// A value that could break the line is written with escapes.
fn value(text: &str) -> String {
    if text.is_empty() {
        "\"\"".to_owned()
    } else if text.chars().any(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text.to_owned()
    }
}
