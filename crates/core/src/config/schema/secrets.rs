//! `secrets` and `ssh` as they are written.

use std::collections::BTreeMap;

use super::RunValue;
use crate::config::reader::{Document, Located, Table};

/// One secret: where it comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct SecretTable {
    pub(crate) file: Option<Located<String>>,
    pub(crate) env: Option<Located<String>>,
    pub(crate) run: Option<RunValue>,
}

/// One ssh agent: which it is, or the key of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct SshTable {
    pub(crate) agent: Option<AgentValue>,
    pub(crate) key: SecretTable,
}

/// Which agent.
#[derive(Clone, Debug)]
pub(crate) enum AgentValue {
    /// That of the environment, or none.
    Usual(Located<bool>),
    /// By its socket.
    Socket(Located<String>),
}

pub(super) fn secrets(
    document: &mut Document<'_>,
    table: &mut Table<'_, '_>,
) -> BTreeMap<String, Located<SecretTable>> {
    below(document, table, "secrets", secret)
}

pub(super) fn agents(
    document: &mut Document<'_>,
    table: &mut Table<'_, '_>,
) -> BTreeMap<String, Located<SshTable>> {
    below(document, table, "ssh", |document, table| SshTable {
        agent: if table.is_boolean("agent") {
            table.located_boolean(document, "agent").map(AgentValue::Usual)
        } else {
            table.string(document, "agent").map(AgentValue::Socket)
        },
        key: secret(document, table),
    })
}

fn secret(document: &mut Document<'_>, table: &mut Table<'_, '_>) -> SecretTable {
    SecretTable {
        file: table.string(document, "file"),
        env: table.string(document, "env"),
        run: super::read_run(document, table),
    }
}

fn below<T>(
    document: &mut Document<'_>,
    table: &mut Table<'_, '_>,
    key: &'static str,
    read: impl Fn(&mut Document<'_>, &mut Table<'_, '_>) -> T,
) -> BTreeMap<String, Located<T>> {
    let Some(Located { value, .. }) = table.below(document, key) else {
        return BTreeMap::new();
    };
    let tables = value.into_tables(document).into_iter();
    let read = tables.map(|(id, Located { value: mut table, line })| {
        let value = read(document, &mut table);
        table.finish(document);
        (id, Located { value, line })
    });
    read.collect()
}
