//! `[promotions.NAME]` as it is written.

use std::collections::BTreeMap;

use super::RunValue;
use crate::config::reader::{Document, Entry, Located, Table};

#[derive(Debug, Default)]
pub(crate) struct PromotionTable {
    pub(crate) tags: Vec<Located<String>>,
    pub(crate) from: Option<Located<String>>,
    pub(crate) images: Vec<Located<String>>,
    pub(crate) after: Vec<Located<String>>,
    pub(crate) branch: Option<Located<String>>,
    pub(crate) clean: Option<bool>,
    pub(crate) gates: Vec<Located<GateTable>>,
}

#[derive(Debug, Default)]
pub(crate) struct GateTable {
    pub(crate) name: Option<Located<String>>,
    pub(crate) run: Option<RunValue>,
    pub(crate) timeout: Option<Located<String>>,
}

/// Reads the table of all promotions.
pub(super) fn read(
    document: &mut Document<'_>,
    root: &mut Table<'_, '_>,
) -> BTreeMap<String, Located<PromotionTable>> {
    let Some(Located { value: table, .. }) = root.below(document, "promotions") else {
        return BTreeMap::new();
    };
    let tables = table.into_tables(document).into_iter();
    tables
        .map(|(name, Located { value: mut table, line })| {
            let value = PromotionTable {
                tags: table.strings(document, "tags"),
                from: table.string(document, "from"),
                images: table.strings(document, "images"),
                after: table.strings(document, "after"),
                branch: table.string(document, "branch"),
                clean: table.boolean(document, "clean"),
                gates: gates(document, &mut table),
            };
            table.finish(document);
            (name, Located { value, line })
        })
        .collect()
}

/// A gate without a name could not be skipped, so that a text alone is none.
fn gates(document: &mut Document<'_>, table: &mut Table<'_, '_>) -> Vec<Located<GateTable>> {
    let entries = table.entries(document, "gates").into_iter();
    entries
        .map(|Located { value: entry, line }| {
            let value = match entry {
                Entry::Text(value) => {
                    let run = Some(RunValue::Shell(Located { value, line }));
                    GateTable { run, ..GateTable::default() }
                }
                Entry::Table(mut table) => {
                    let value = GateTable {
                        name: table.string(document, "name"),
                        run: super::read_run(document, &mut table),
                        timeout: table.string(document, "timeout"),
                    };
                    table.finish(document);
                    value
                }
            };
            Located { value, line }
        })
        .collect()
}
