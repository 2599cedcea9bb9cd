//! What a person sees. Nothing here decides anything.

pub(crate) mod output;
mod plain;
pub(crate) mod progress;
pub(crate) mod summary;
mod terminal;

use std::io::Write as _;

/// One line on standard error. Where that is closed, nobody listens.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
