//! `[backends.NAME]`, as it is written.

use std::num::NonZeroU32;

use super::super::reader::{Document, Located, Table};

/// What is said about one build backend.
#[derive(Debug, Default)]
pub(crate) struct BackendTable {
    pub(crate) docker: Option<Located<String>>,
    pub(crate) buildkit: Option<Located<String>>,
    pub(crate) assemble: Option<Located<bool>>,
    pub(crate) tls: Option<Located<TlsTable>>,
    pub(crate) jobs: Option<NonZeroU32>,
    pub(crate) platforms: Option<Located<Vec<Located<String>>>>,
}

/// Files for TLS, in PEM.
#[derive(Debug, Default)]
pub(crate) struct TlsTable {
    pub(crate) ca: Option<Located<String>>,
    pub(crate) cert: Option<Located<String>>,
    pub(crate) key: Option<Located<String>>,
}

pub(super) fn read(
    document: &mut Document<'_>,
    table: Located<Table<'_, '_>>,
) -> Located<BackendTable> {
    let Located { value: mut table, line } = table;
    let value = BackendTable {
        docker: table.string(document, "docker"),
        buildkit: table.string(document, "buildkit"),
        assemble: table.located_boolean(document, "assemble"),
        tls: table.below(document, "tls").map(|table| read_tls(document, table)),
        jobs: table.count(document, "jobs"),
        platforms: table.list(document, "platforms").map(|value| Located { value, line }),
    };
    table.finish(document);
    Located { value, line }
}

fn read_tls(document: &mut Document<'_>, table: Located<Table<'_, '_>>) -> Located<TlsTable> {
    let Located { value: mut table, line } = table;
    let value = TlsTable {
        ca: table.string(document, "ca"),
        cert: table.string(document, "cert"),
        key: table.string(document, "key"),
    };
    table.finish(document);
    Located { value, line }
}
