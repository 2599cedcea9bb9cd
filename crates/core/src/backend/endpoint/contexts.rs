//! Docker's contexts: files below `contexts/` beside `config.json`
//! (<https://github.com/docker/cli/tree/master/cli/context/store>).

use std::io;
use std::path::{Path, PathBuf};

use dockit_registry::Digest;
use serde::Deserialize;

use super::{EndpointError, TlsFiles};

/// The context that is none: what the environment and the defaults say.
pub(super) const DEFAULT: &str = "default";

/// What a context says about the engine.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) host: String,
    pub(super) tls: Option<TlsFiles>,
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Endpoints", default)]
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
struct Endpoints {
    docker: Option<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

/// The context that `config.json` names, if it is there and names one.
pub(super) fn current(file: &Path) -> Result<Option<String>, EndpointError> {
    let Some(config) = parsed::<ConfigFile>(file)? else {
        return Ok(None);
    };
    Ok(config.current_context.filter(|name| !name.is_empty()))
}

/// The context of this name.
pub(super) fn read(
    store: Option<&Path>,
    name: &str,
    named_by: &str,
) -> Result<Context, EndpointError> {
    let missing = || EndpointError::NoContext {
        name: name.to_owned(),
        named_by: named_by.to_owned(),
        known: store.map(names).unwrap_or_default(),
    };
    let store = store.ok_or_else(missing)?;
    let directory = Digest::of(name.as_bytes());
    let directory = directory.as_str().trim_start_matches("sha256:");
    let file = store.join("meta").join(directory).join("meta.json");
    let metadata: Metadata = parsed(&file)?.ok_or_else(missing)?;
    let Some(endpoint) = metadata.endpoints.docker else {
        let reason = "the context has no Docker endpoint".to_owned();
        return Err(EndpointError::Unreadable { path: file, reason });
    };
    let tls = store.join("tls").join(directory).join("docker");
    let tls = TlsFiles::in_directory(Some(&tls), !endpoint.skip_tls_verify)?;
    let tls = (endpoint.skip_tls_verify || !tls.is_empty()).then_some(tls);
    Ok(Context { host: endpoint.host, tls })
}

/// The names of all contexts that can be read.
fn names(store: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(store.join("meta")).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path().join("meta.json"));
    let mut names: Vec<String> =
        files.filter_map(|file: PathBuf| Some(parsed::<Metadata>(&file).ok()??.name)).collect();
    names.sort();
    names
}

/// A JSON file; `None`: there is none.
fn parsed<T: for<'a> Deserialize<'a>>(file: &Path) -> Result<Option<T>, EndpointError> {
    let unreadable = |reason: String| EndpointError::Unreadable { path: file.to_owned(), reason };
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            // Its text could quote a credential that lies in the same file.
            unreadable(format!("line {} is not what it should be", error.line()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error.to_string())),
    }
}
