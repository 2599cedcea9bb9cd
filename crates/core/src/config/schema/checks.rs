//! Tests and info commands as they are written.

use std::collections::BTreeMap;

use super::RunValue;
use crate::config::reader::{Document, Entry, Located, Table};

/// A command, by its text alone or as a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckTable {
    pub(crate) run: Option<RunValue>,
    pub(crate) on: Option<Located<String>>,
    pub(crate) timeout: Option<Located<String>>,
    pub(crate) platforms: Vec<Located<String>>,
}

/// Reads `test`: an array of strings and tables; none where it is not there.
pub(super) fn tests(
    document: &mut Document<'_>,
    table: &mut Table<'_, '_>,
) -> Option<Vec<Located<CheckTable>>> {
    let there = table.has("test");
    let entries = table.entries(document, "test").into_iter();
    let tests = entries.map(|entry| check(document, entry, true)).collect();
    there.then_some(tests)
}

/// Reads `info`: a table of strings and tables.
pub(super) fn info(
    document: &mut Document<'_>,
    table: &mut Table<'_, '_>,
) -> BTreeMap<String, Located<CheckTable>> {
    let entries = table.entry_map(document, "info").into_iter();
    entries.map(|(name, entry)| (name, check(document, entry, false))).collect()
}

/// Only a test has a place to run, and images that it is for.
fn check(
    document: &mut Document<'_>,
    entry: Located<Entry<'_, '_>>,
    has_place: bool,
) -> Located<CheckTable> {
    let Located { value: entry, line } = entry;
    let value = match entry {
        Entry::Text(value) => CheckTable {
            run: Some(RunValue::Shell(Located { value, line })),
            ..CheckTable::default()
        },
        Entry::Table(mut table) => {
            let value = CheckTable {
                run: super::read_run(document, &mut table),
                on: if has_place { table.string(document, "on") } else { None },
                timeout: table.string(document, "timeout"),
                platforms: if has_place {
                    table.strings(document, "platforms")
                } else {
                    Vec::new()
                },
            };
            table.finish(document);
            value
        }
    };
    Located { value, line }
}
