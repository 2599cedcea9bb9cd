//! What can be written in `dockit.toml`, as it is written: strings with their lines.
//!
//! Nothing is interpreted here; `super::validate` turns this into domain types.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeValue;

use super::problem::Problem;
use super::reader::{Document, Located, Table};

#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    pub(crate) project: ProjectTable,
    pub(crate) images: BTreeMap<String, Located<ImageTable>>,
}

#[derive(Debug, Default)]
pub(crate) struct ProjectTable {
    pub(crate) registry: Option<Located<String>>,
    pub(crate) push: Option<Located<String>>,
    pub(crate) lockfile: Option<Located<String>>,
    pub(crate) insecure_registries: Vec<Located<String>>,
}

#[derive(Debug, Default)]
pub(crate) struct ImageTable {
    pub(crate) repository: Option<Located<String>>,
    pub(crate) dockerfile: Option<Located<String>>,
    pub(crate) context: Option<Located<String>>,
    pub(crate) target: Option<Located<String>>,
    pub(crate) platforms: Vec<Located<String>>,
    pub(crate) args: BTreeMap<String, Located<String>>,
    pub(crate) unkeyed_args: BTreeMap<String, Located<String>>,
    pub(crate) tags: Vec<Located<String>>,
    pub(crate) needs: Vec<Located<String>>,
}

/// Reads a file's text; what cannot be read is left out and reported.
pub(crate) fn read(file: &Path, text: &str) -> (ConfigFile, Vec<Problem>) {
    let mut document = Document::new(file, text);
    let parsed = document.parse();
    let mut root = Table::new(&document, "the file".to_owned(), parsed.get_ref());
    let project = root
        .table(&mut document, "project")
        .map(|table| {
            let mut table = Table::new(&document, "[project]".to_owned(), table);
            let project = ProjectTable {
                registry: table.string(&mut document, "registry"),
                push: table.string(&mut document, "push"),
                lockfile: table.string(&mut document, "lockfile"),
                insecure_registries: table.strings(&mut document, "insecure-registries"),
            };
            table.finish(&mut document);
            project
        })
        .unwrap_or_default();
    let mut images = BTreeMap::new();
    if let Some(tables) = root.table(&mut document, "images") {
        for (name, value) in tables {
            let line = document.line_at(&name.span());
            let name = name.get_ref().to_string();
            if let DeValue::Table(table) = value.get_ref() {
                let table = Table::new(&document, format!("[images.{name}]"), table);
                let image = read_image(&mut document, table);
                images.insert(name, Located { value: image, line });
            } else {
                document.problem(line, format!("[images.{name}] must be a table"));
            }
        }
    }
    root.finish(&mut document);
    (ConfigFile { project, images }, document.problems)
}

fn read_image(document: &mut Document<'_>, mut table: Table<'_, '_>) -> ImageTable {
    let image = ImageTable {
        repository: table.string(document, "repository"),
        dockerfile: table.string(document, "dockerfile"),
        context: table.string(document, "context"),
        target: table.string(document, "target"),
        platforms: table.strings(document, "platforms"),
        args: table.string_map(document, "args"),
        unkeyed_args: table.string_map(document, "unkeyed-args"),
        tags: table.strings(document, "tags"),
        needs: table.strings(document, "needs"),
    };
    table.finish(document);
    image
}
