//! What every command starts with: the project, and clients that connect when they are used.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use dockit_core::backend::DockerEngine;
use dockit_core::config::LoadOptions;
use dockit_core::{KeyOptions, Project, config};
use dockit_registry::{Client, DockerConfig, Limits};

use crate::commands::GlobalArgs;
use crate::diagnostics::{Exit, Failure};
use crate::environment;
use crate::ui;

/// What commands work with that ask registries and an engine. Nothing is connected yet.
pub(crate) struct Connected {
    pub(crate) project: Project,
    pub(crate) registry: Client,
    pub(crate) engine: DockerEngine,
}

/// The project and the clients for a command; `--offline` forbids it.
pub(crate) fn connected(global: &GlobalArgs, command: &str) -> Result<Connected, Failure> {
    require_network(global, command)?;
    let project = project(global)?;
    let registry = registry(Some(&project))?;
    Ok(Connected { project, registry, engine: engine()? })
}

/// Finds and reads the project that the arguments mean, and says what it warns about.
pub(crate) fn project(global: &GlobalArgs) -> Result<Project, Failure> {
    let file = config_file(global)?;
    let project = config::load(&file, &load_options()).map_err(dockit_core::Error::from)?;
    for warning in &project.warnings {
        ui::say(&format!("warning: {warning}"));
    }
    Ok(project)
}

/// The project where there is one, for commands that work without it as well.
pub(crate) fn project_if_any(global: &GlobalArgs) -> Result<Option<Project>, Failure> {
    if global.config.is_none() && global.directory.is_none() {
        let directory = environment::working_directory().ok();
        if directory.as_deref().and_then(config::find).is_none() {
            return Ok(None);
        }
    }
    project(global).map(Some)
}

/// What keys are computed with.
pub(crate) fn key_options() -> KeyOptions {
    let stat_cache = environment::cache_directory().map(|directory| directory.join("files"));
    KeyOptions { stat_cache, ..KeyOptions::default() }
}

/// What configurations are read with.
pub(crate) fn load_options() -> LoadOptions<'static> {
    LoadOptions { environment: Some(&environment::build_argument) }
}

fn config_file(global: &GlobalArgs) -> Result<PathBuf, Failure> {
    let directory = match &global.directory {
        Some(directory) => directory.clone(),
        None => environment::working_directory().map_err(|error| {
            Failure::new(Exit::Usage, format!("the working directory is gone: {error}"))
        })?,
    };
    if let Some(file) = &global.config {
        return Ok(directory.join(file));
    }
    let directory = std::path::absolute(&directory)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", directory.display())))?;
    if !directory.is_dir() {
        let message = format!("there is no directory {}", directory.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    config::find(&directory).ok_or_else(|| {
        let message = format!("no dockit.toml in {} or above it", directory.display());
        Failure::new(Exit::Usage, message)
            .hint("write one with a table [images.NAME] for each image, or name it with --config")
    })
}

/// A registry client with the credentials that Docker's own tools use.
pub(crate) fn registry(project: Option<&Project>) -> Result<Client, Failure> {
    registry_with(project, Limits::default())
}

/// The same, for commands that move `jobs` blobs at a time.
pub(crate) fn registry_for_blobs(
    project: Option<&Project>,
    jobs: NonZeroUsize,
) -> Result<Client, Failure> {
    let mut limits = Limits::default();
    limits.downloads = limits.downloads.max(jobs.get());
    limits.uploads = limits.uploads.max(jobs.get());
    registry_with(project, limits)
}

fn registry_with(project: Option<&Project>, limits: Limits) -> Result<Client, Failure> {
    let insecure = project.into_iter().flat_map(|project| &project.insecure_registries);
    let locations = DockerConfig::locations(&environment::variable, environment::home().as_deref());
    Client::builder()
        .credentials(Arc::new(DockerConfig::new(locations)))
        .insecure_hosts(insecure.cloned())
        .limits(limits)
        .user_agent(concat!("dockit/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::new(Exit::Registry, error.to_string()))
}

/// The engine that `DOCKER_HOST` names, or the one at Docker's usual socket.
pub(crate) fn engine() -> Result<DockerEngine, Failure> {
    let endpoint = environment::docker_host()
        .unwrap_or_else(|| dockit_core::backend::DEFAULT_ENDPOINT.to_owned());
    if environment::docker_tls() && !endpoint.starts_with("unix://") {
        let message = format!("TLS to an engine ({endpoint}) is not supported by this version");
        return Err(Failure::new(Exit::Engine, message)
            .hint("unset DOCKER_TLS_VERIFY if the connection is safe without it"));
    }
    Ok(DockerEngine::new(endpoint))
}

/// Commands that ask a registry or an engine cannot do so offline.
pub(crate) fn require_network(global: &GlobalArgs, command: &str) -> Result<(), Failure> {
    if global.offline {
        let message = format!("`dockit {command}` asks registries, which --offline forbids");
        return Err(Failure::new(Exit::Usage, message)
            .hint("`dockit key`, `dockit list`, `dockit graph` and `dockit why` work offline"));
    }
    Ok(())
}
