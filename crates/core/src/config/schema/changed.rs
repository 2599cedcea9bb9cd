//! What counts as a change, as it is written.

use crate::config::reader::{Document, Located, Table};

/// `[changed]`: patterns over paths.
#[derive(Debug, Default)]
pub(crate) struct ChangedTable {
    pub(crate) ignore: Vec<Located<String>>,
    pub(crate) all: Vec<Located<String>>,
}

/// Reads `changed` of the whole file.
pub(super) fn read(document: &mut Document<'_>, root: &mut Table<'_, '_>) -> ChangedTable {
    let Some(table) = root.table(document, "changed") else {
        return ChangedTable::default();
    };
    let mut table = Table::new(document, "[changed]".to_owned(), table);
    let changed = ChangedTable {
        ignore: table.strings(document, "ignore"),
        all: table.strings(document, "all"),
    };
    table.finish(document);
    changed
}
