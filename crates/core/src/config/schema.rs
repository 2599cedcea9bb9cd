//! What can be written in `dockit.toml`, as it is written: strings with their lines.
//!
//! Nothing is interpreted here; `super::validate` turns this into domain types.

mod backends;
mod changed;
mod checks;
mod pins;
mod promotions;
mod secrets;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use toml::de::DeValue;

use super::problem::Problem;
use super::reader::{Document, Located, Table};

pub(crate) use backends::{BackendTable, TlsTable};
pub(crate) use changed::ChangedTable;
pub(crate) use checks::CheckTable;
pub(crate) use pins::PinTable;
pub(crate) use promotions::{GateTable, PromotionTable};
pub(crate) use secrets::{AgentValue, SecretTable, SshTable};

#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    pub(crate) project: ProjectTable,
    pub(crate) registries: BTreeMap<String, Located<RegistryTable>>,
    pub(crate) backends: BTreeMap<String, Located<BackendTable>>,
    pub(crate) images: BTreeMap<String, Located<ImageTable>>,
    pub(crate) promotions: BTreeMap<String, Located<PromotionTable>>,
    /// Variants that every image has.
    pub(crate) variants: BTreeMap<String, Located<ImageTable>>,
    /// Of every image.
    pub(crate) secrets: BTreeMap<String, Located<SecretTable>>,
    pub(crate) ssh: BTreeMap<String, Located<SshTable>>,
    pub(crate) pins: Vec<Located<PinTable>>,
    pub(crate) changed: ChangedTable,
}

/// What is said about one registry, by its host.
#[derive(Debug, Default)]
pub(crate) struct RegistryTable {
    pub(crate) provider: Option<Located<String>>,
    pub(crate) api_url: Option<Located<String>>,
    pub(crate) create_repositories: Option<bool>,
    pub(crate) questions: Option<NonZeroU32>,
    pub(crate) downloads: Option<NonZeroU32>,
    pub(crate) uploads: Option<NonZeroU32>,
    pub(crate) requests_per_second: Option<NonZeroU32>,
}

#[derive(Debug, Default)]
pub(crate) struct ProjectTable {
    pub(crate) registry: Option<Located<String>>,
    pub(crate) push: Option<Located<String>>,
    pub(crate) compression: Option<Located<String>>,
    pub(crate) lockfile: Option<Located<String>>,
    pub(crate) insecure_registries: Vec<Located<String>>,
    pub(crate) publish_inputs: Option<Located<String>>,
    pub(crate) publish_args: Vec<Located<String>>,
    pub(crate) args: BTreeMap<String, Located<String>>,
    pub(crate) unkeyed_args: BTreeMap<String, Located<String>>,
    pub(crate) test: Vec<Located<CheckTable>>,
    pub(crate) layer_cache: Option<bool>,
    pub(crate) build_platform: Option<Located<String>>,
    pub(crate) cache_registry: Option<Located<String>>,
    pub(crate) version: Option<Located<DeclaredTable>>,
    pub(crate) default_branch: Option<Located<String>>,
}

/// An image, or a variant; `super::merge` says what a variant takes over. A list is none where its key
/// is not written: an empty one replaces another.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageTable {
    pub(crate) repository: Option<Located<String>>,
    pub(crate) dockerfile: Option<Located<String>>,
    pub(crate) context: Option<Located<String>>,
    pub(crate) target: Option<Located<String>>,
    pub(crate) platforms: Option<Vec<Located<String>>>,
    pub(crate) args: BTreeMap<String, Located<String>>,
    pub(crate) unkeyed_args: BTreeMap<String, Located<String>>,
    pub(crate) tags: Option<Vec<Located<String>>>,
    pub(crate) env_args: Option<Vec<Located<String>>>,
    pub(crate) needs: Option<Vec<Located<String>>>,
    pub(crate) inputs: Option<Vec<Located<String>>>,
    pub(crate) refresh: Option<Located<String>>,
    pub(crate) declared_key: Option<Located<BTreeMap<String, Located<DeclaredTable>>>>,
    pub(crate) prepare: Option<Located<PrepareTable>>,
    pub(crate) strict_modes: Option<bool>,
    pub(crate) publish_inputs: Option<Located<String>>,
    pub(crate) publish_args: Option<Vec<Located<String>>>,
    pub(crate) tag_prefix: Option<Located<String>>,
    pub(crate) aliases: Option<Vec<Located<String>>>,
    pub(crate) variants: BTreeMap<String, Located<ImageTable>>,
    pub(crate) exclude_variants: Option<Vec<Located<String>>>,
    pub(crate) only_variants: Option<Located<bool>>,
    pub(crate) test: Option<Vec<Located<CheckTable>>>,
    pub(crate) info: BTreeMap<String, Located<CheckTable>>,
    pub(crate) layer_cache: Option<bool>,
    pub(crate) network: Option<Located<String>>,
    pub(crate) hosts: BTreeMap<String, Located<String>>,
    pub(crate) shm_size: Option<Located<String>>,
    pub(crate) ulimits: BTreeMap<String, Located<String>>,
    pub(crate) secrets: BTreeMap<String, Located<SecretTable>>,
    pub(crate) ssh: BTreeMap<String, Located<SshTable>>,
}

/// One value of a `declared-key`, or the project's `version`.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeclaredTable {
    pub(crate) file: Option<Located<String>>,
    pub(crate) pattern: Option<Located<String>>,
    pub(crate) field: Option<Located<String>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct PrepareTable {
    pub(crate) run: Option<RunValue>,
    pub(crate) outputs: Vec<Located<String>>,
    pub(crate) timeout: Option<Located<String>>,
}

/// A command as it is written.
#[derive(Clone, Debug)]
pub(crate) enum RunValue {
    Shell(Located<String>),
    Program(Vec<Located<String>>),
}

impl RunValue {
    /// Where it stands; 0 for an empty list.
    pub(crate) fn line(&self) -> usize {
        match self {
            Self::Shell(text) => text.line,
            Self::Program(words) => words.first().map_or(0, |word| word.line),
        }
    }
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
                compression: table.string(&mut document, "compression"),
                lockfile: table.string(&mut document, "lockfile"),
                insecure_registries: table.strings(&mut document, "insecure-registries"),
                publish_inputs: table.string(&mut document, "publish-inputs"),
                publish_args: table.strings(&mut document, "publish-args"),
                args: table.string_map(&mut document, "args"),
                unkeyed_args: table.string_map(&mut document, "unkeyed-args"),
                test: checks::tests(&mut document, &mut table).unwrap_or_default(),
                layer_cache: table.boolean(&mut document, "layer-cache"),
                build_platform: table.string(&mut document, "build-platform"),
                cache_registry: table.string(&mut document, "cache-registry"),
                version: table
                    .below(&mut document, "version")
                    .map(|version| read_declared(&mut document, version)),
                default_branch: table.string(&mut document, "default-branch"),
            };
            table.finish(&mut document);
            project
        })
        .unwrap_or_default();
    let registries = root.table(&mut document, "registries").map(|table| {
        let table = Table::new(&document, "[registries]".to_owned(), table);
        let tables = table.into_tables(&mut document).into_iter();
        tables.map(|(host, table)| (host, read_registry(&mut document, table))).collect()
    });
    let registries = registries.unwrap_or_default();
    let backends = root.table(&mut document, "backends").map(|table| {
        let table = Table::new(&document, "[backends]".to_owned(), table);
        let tables = table.into_tables(&mut document).into_iter();
        tables.map(|(name, table)| (name, backends::read(&mut document, table))).collect()
    });
    let backends = backends.unwrap_or_default();
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
    let variants = root.table(&mut document, "variants").map(|table| {
        let table = Table::new(&document, "[variants]".to_owned(), table);
        read_variants(&mut document, table)
    });
    let variants = variants.unwrap_or_default();
    let secrets = secrets::secrets(&mut document, &mut root);
    let ssh = secrets::agents(&mut document, &mut root);
    let promotions = promotions::read(&mut document, &mut root);
    let pins = pins::read(&mut document, &mut root);
    let changed = changed::read(&mut document, &mut root);
    root.finish(&mut document);
    let file = ConfigFile {
        project,
        registries,
        backends,
        images,
        promotions,
        variants,
        secrets,
        ssh,
        pins,
        changed,
    };
    (file, document.problems)
}

fn read_registry(
    document: &mut Document<'_>,
    table: Located<Table<'_, '_>>,
) -> Located<RegistryTable> {
    let Located { value: mut table, line } = table;
    let value = RegistryTable {
        provider: table.string(document, "provider"),
        api_url: table.string(document, "api-url"),
        create_repositories: table.boolean(document, "create-repositories"),
        questions: table.count(document, "questions"),
        downloads: table.count(document, "downloads"),
        uploads: table.count(document, "uploads"),
        requests_per_second: table.count(document, "requests-per-second"),
    };
    table.finish(document);
    Located { value, line }
}

fn read_image(document: &mut Document<'_>, mut table: Table<'_, '_>) -> ImageTable {
    let image = ImageTable {
        repository: table.string(document, "repository"),
        dockerfile: table.string(document, "dockerfile"),
        context: table.string(document, "context"),
        target: table.string(document, "target"),
        platforms: table.list(document, "platforms"),
        args: table.string_map(document, "args"),
        unkeyed_args: table.string_map(document, "unkeyed-args"),
        tags: table.list(document, "tags"),
        env_args: table.list(document, "env-args"),
        needs: table.list(document, "needs"),
        inputs: table.list(document, "inputs"),
        refresh: table.string(document, "refresh"),
        declared_key: table.below(document, "declared-key").map(|Located { value, line }| {
            let values = value.into_tables(document).into_iter();
            let value =
                values.map(|(name, table)| (name, read_declared(document, table))).collect();
            Located { value, line }
        }),
        prepare: table.below(document, "prepare").map(|table| read_prepare(document, table)),
        strict_modes: table.boolean(document, "strict-modes"),
        publish_inputs: table.string(document, "publish-inputs"),
        publish_args: table.list(document, "publish-args"),
        tag_prefix: table.string(document, "tag-prefix"),
        aliases: table.list(document, "aliases"),
        variants: table
            .below(document, "variants")
            .map(|Located { value, .. }| read_variants(document, value))
            .unwrap_or_default(),
        exclude_variants: table.list(document, "exclude-variants"),
        only_variants: table.located_boolean(document, "only-variants"),
        test: checks::tests(document, &mut table),
        info: checks::info(document, &mut table),
        layer_cache: table.boolean(document, "layer-cache"),
        network: table.string(document, "network"),
        hosts: table.string_map(document, "hosts"),
        shm_size: table.string(document, "shm-size"),
        ulimits: table.number_map(document, "ulimits"),
        secrets: secrets::secrets(document, &mut table),
        ssh: secrets::agents(document, &mut table),
    };
    table.finish(document);
    image
}

/// What a variant cannot have of its own.
const OF_THE_IMAGE: [&str; 5] =
    ["dockerfile", "context", "variants", "exclude-variants", "only-variants"];

fn read_variants(
    document: &mut Document<'_>,
    table: Table<'_, '_>,
) -> BTreeMap<String, Located<ImageTable>> {
    let tables = table.into_tables(document).into_iter();
    tables
        .map(|(name, Located { value: mut table, line })| {
            let why = "a variant has the Dockerfile and build context of its image";
            table.refuse(document, &OF_THE_IMAGE, why);
            (name, Located { value: read_image(document, table), line })
        })
        .collect()
}

fn read_declared(
    document: &mut Document<'_>,
    table: Located<Table<'_, '_>>,
) -> Located<DeclaredTable> {
    let Located { value: mut table, line } = table;
    let value = DeclaredTable {
        file: table.string(document, "file"),
        pattern: table.string(document, "pattern"),
        field: table.string(document, "field"),
    };
    table.finish(document);
    Located { value, line }
}

fn read_prepare(
    document: &mut Document<'_>,
    table: Located<Table<'_, '_>>,
) -> Located<PrepareTable> {
    let Located { value: mut table, line } = table;
    let value = PrepareTable {
        run: read_run(document, &mut table),
        outputs: table.strings(document, "outputs"),
        timeout: table.string(document, "timeout"),
    };
    table.finish(document);
    Located { value, line }
}

/// Reads `run`: a text for the shell, or a program and its arguments.
fn read_run(document: &mut Document<'_>, table: &mut Table<'_, '_>) -> Option<RunValue> {
    if table.is_array("run") {
        Some(RunValue::Program(table.strings(document, "run")))
    } else {
        table.string(document, "run").map(RunValue::Shell)
    }
}
