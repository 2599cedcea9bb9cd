//! What a person sees. Nothing here decides anything.

pub(crate) mod checks;
pub(crate) mod ci;
pub(crate) mod copying;
pub(crate) mod inputs;
mod lines;
pub(crate) mod notes;
pub(crate) mod output;
mod plain;
pub(crate) mod printable;
pub(crate) mod progress;
pub(crate) mod summary;
mod terminal;

use std::io::Write as _;

use dockit_core::ImageName;
use dockit_core::events::Event;
use dockit_registry::{Digest, Reference};

/// One line on standard error. Where that is closed, nobody listens.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable::lines(line));
}

/// Lines on standard error, each with its line feed.
pub(crate) fn say_lines(lines: &str) {
    let _ = std::io::stderr().lock().write_all(printable::lines(lines).as_bytes());
}

/// What an event says that somebody should look after, and about which image.
pub(crate) fn warning_of(event: &Event) -> Option<(ImageName, String)> {
    let (image, text, is_warning) = plain::announcement(event)?;
    is_warning.then_some((image, text))
}

/// A reference as data shows it: a name that only the engine knows has no registry before it.
pub(crate) fn shown(reference: &Reference) -> String {
    let full = reference.to_string();
    if full.starts_with("docker.io/library/") { reference.familiar() } else { full }
}

/// The algorithm and the first 12 digits of a digest, for people.
pub(crate) fn short(digest: &Digest) -> String {
    let text = digest.as_str();
    let end = text.find(':').map_or(text.len(), |colon| colon + 1 + 12);
    text.get(..end).unwrap_or(text).to_owned()
}

/// `1 blob`, `2 blobs`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Bytes for people, in powers of ten as registries show them.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}
