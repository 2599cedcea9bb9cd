//! `[[pin]]`, as it is written.

use std::num::NonZeroU32;

use super::super::reader::{Document, Located, Table};
use super::{RunValue, read_run};

/// Which references are kept true, and where.
#[derive(Debug, Default)]
pub(crate) struct PinTable {
    pub(crate) files: Vec<Located<String>>,
    pub(crate) tags: Option<bool>,
    pub(crate) pattern: Option<Located<String>>,
    pub(crate) field: Option<Located<String>>,
    pub(crate) image: Option<Located<String>>,
    pub(crate) expect: Option<NonZeroU32>,
    pub(crate) run: Option<RunValue>,
}

/// Reads `[pin]` or each `[[pin]]`.
pub(super) fn read(
    document: &mut Document<'_>,
    root: &mut Table<'_, '_>,
) -> Vec<Located<PinTable>> {
    let tables = root.one_or_more(document, "pin");
    tables
        .into_iter()
        .map(|Located { value: mut table, line }| {
            let value = PinTable {
                files: table.strings(document, "files"),
                tags: table.boolean(document, "tags"),
                pattern: table.string(document, "pattern"),
                field: table.string(document, "field"),
                image: table.string(document, "image"),
                expect: table.count(document, "expect"),
                run: table.has("run").then(|| read_run(document, &mut table)).flatten(),
            };
            table.finish(document);
            Located { value, line }
        })
        .collect()
}
