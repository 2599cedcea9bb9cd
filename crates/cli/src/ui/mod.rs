//! What a person sees. Nothing here decides anything.

pub(crate) mod inputs;
pub(crate) mod notes;
pub(crate) mod output;
mod plain;
pub(crate) mod printable;
pub(crate) mod progress;
pub(crate) mod summary;
mod terminal;

use std::io::Write as _;

use dockit_registry::Reference;

/// One line on standard error. Where that is closed, nobody listens.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable::lines(line));
}

/// A reference as data shows it: a name that only the engine knows has no registry before it.
pub(crate) fn shown(reference: &Reference) -> String {
    let full = reference.to_string();
    if full.starts_with("docker.io/library/") { reference.familiar() } else { full }
}
