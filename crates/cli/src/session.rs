//! What every command starts with: the project, and clients that connect when they are used.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use dockit_core::backend::endpoint::EngineSearch;
use dockit_core::backend::{DockerEngine, LayoutStore, StoreSettings};
use dockit_core::config::LoadOptions;
use dockit_core::doctor::Place;
use dockit_core::secrets::SecretOptions;
use dockit_core::{KeyOptions, Project, config};
use dockit_registry::{
    CiCredentials, Client, ClientBuilder, Credential, CredentialChain, CredentialError,
    CredentialSource, DockerConfig, Issued, Limits, RegistryHost,
};

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
    connected_to(project(global)?)
}

/// The clients for a project that options describe.
pub(crate) fn connected_to(project: Project) -> Result<Connected, Failure> {
    let registry = registry(Some(&project))?;
    let engine = engine()?.with_layouts(store(&project, &registry));
    Ok(Connected { project, registry, engine })
}

/// The same, also where there is no project.
pub(crate) fn store_of(project: Option<&Project>, registry: &Client) -> LayoutStore {
    match project {
        Some(project) => store(project, registry),
        None => {
            let directory = environment::private_directory().join("images");
            LayoutStore::new(directory, registry.clone(), StoreSettings::default())
        }
    }
}

/// Where images of a project are put together, and stay where nothing else keeps them.
pub(crate) fn store(project: &Project, registry: &Client) -> LayoutStore {
    // Beside what lies in memory nothing is written.
    let directory = match environment::cache_directory() {
        Some(cache) if project.in_memory => cache,
        None if project.in_memory => environment::private_directory(),
        _ => project.state_directory(),
    };
    let settings = StoreSettings { root: project.root.clone(), compression: project.compression };
    LayoutStore::new(directory.join("images"), registry.clone(), settings)
}

/// Finds and reads the project that the arguments mean, and says what it warns about.
pub(crate) fn project(global: &GlobalArgs) -> Result<Project, Failure> {
    let file = config_file(global)?;
    let project = config::load(&file, &load_options()).map_err(dockit_core::Error::from)?;
    warn(&project);
    Ok(project)
}

/// Says what is valid and probably not meant.
pub(crate) fn warn(project: &Project) {
    for warning in &project.warnings {
        ui::say(&format!("warning: {warning}"));
    }
}

/// The project where there is one, for commands that also take references, which need none. A file that
/// cannot be read is then only in the way of what could mean an image of the project.
pub(crate) fn project_for(
    global: &GlobalArgs,
    texts: &[String],
) -> Result<Option<Project>, Failure> {
    if global.config.is_some() {
        return project(global).map(Some);
    }
    let directory = directory(global)?;
    if config::find(&directory).is_none() {
        return Ok(None);
    }
    match project(global) {
        Err(failure) if texts.iter().all(|text| is_written_as_reference(text)) => {
            let mut problems = failure.message().lines();
            let first = problems.next().unwrap_or_default();
            ui::say(&format!("warning: the project is not used: {first}"));
            Ok(None)
        }
        project => project.map(Some),
    }
}

/// Whether a text can be a reference: a name alone is only that of a project's image.
pub(crate) fn is_written_as_reference(text: &str) -> bool {
    text.contains(['/', ':', '@'])
}

/// The project whose settings count for what is asked. A `dockit.toml` that merely lies around must not
/// decide that somebody else's registry is spoken to without TLS.
pub(crate) fn settings<'a>(
    project: Option<&'a Project>,
    global: &GlobalArgs,
    names_its_images: bool,
) -> Option<&'a Project> {
    project.filter(|_| names_its_images || global.config.is_some())
}

/// What keys are computed with.
pub(crate) fn key_options() -> KeyOptions {
    let stat_cache = environment::cache_directory().map(|directory| directory.join("files"));
    KeyOptions { stat_cache, ..KeyOptions::default() }
}

/// What secrets of builds come from.
pub(crate) fn secret_options() -> SecretOptions {
    SecretOptions {
        environment: Some(environment::build_argument),
        home: environment::home(),
        temporary: environment::temporary_directory(),
    }
}

/// What configurations are read with.
pub(crate) fn load_options() -> LoadOptions<'static> {
    LoadOptions { environment: Some(&environment::build_argument) }
}

/// The directory that the arguments mean, absolute.
pub(crate) fn directory(global: &GlobalArgs) -> Result<PathBuf, Failure> {
    let directory = match &global.directory {
        Some(directory) => directory.clone(),
        None => environment::working_directory().map_err(|error| {
            Failure::new(Exit::Usage, format!("the working directory is gone: {error}"))
        })?,
    };
    let directory = std::path::absolute(&directory)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", directory.display())))?;
    if global.config.is_none() && !directory.is_dir() {
        let message = format!("there is no directory {}", directory.display());
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(directory)
}

fn config_file(global: &GlobalArgs) -> Result<PathBuf, Failure> {
    let directory = directory(global)?;
    if let Some(file) = &global.config {
        return Ok(directory.join(file));
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
    let chain = CredentialChain::new().then(docker_config());
    let chain = places().into_iter().fold(chain, |chain, place| chain.then(place.source));
    build(identities(client_builder(project)).credentials(Arc::new(chain)).limits(limits))
}

/// Who this machine or job is to the clouds. Nothing is looked for before a registry asks.
fn identities(builder: ClientBuilder) -> ClientBuilder {
    #[cfg(feature = "aws")]
    let builder = builder.aws(Arc::new(dockit_registry::AwsEnvironment::from_environment()));
    #[cfg(feature = "azure")]
    let builder = builder.azure(Arc::new(dockit_registry::AzureIdentity::from_environment()));
    #[cfg(feature = "google")]
    let builder = builder.google(Arc::new(dockit_registry::GoogleIdentity::from_environment()));
    builder
}

/// A client that asks one registry with this credential and no other.
pub(crate) fn registry_as(
    project: Option<&Project>,
    credential: Credential,
) -> Result<Client, Failure> {
    build(client_builder(project).credentials(Arc::new(Given(credential))))
}

fn build(builder: ClientBuilder) -> Result<Client, Failure> {
    builder.build().map_err(|error| Failure::new(Exit::Registry, error.to_string()))
}

fn client_builder(project: Option<&Project>) -> ClientBuilder {
    let insecure = project.into_iter().flat_map(|project| &project.insecure_registries);
    let builder = match project {
        Some(project) => Client::builder().layouts_relative_to(&project.root),
        None => Client::builder(),
    };
    builder
        .insecure_hosts(insecure.cloned())
        .registries(project.map(|project| project.registries.clone()).unwrap_or_default())
        .user_agent(concat!("dockit/", env!("CARGO_PKG_VERSION")))
}

/// Where Docker's own tools keep credentials.
pub(crate) fn docker_config() -> DockerConfig {
    let locations = DockerConfig::locations(&environment::variable, environment::home().as_deref());
    DockerConfig::new(locations)
}

/// Where credentials are looked for next.
pub(crate) fn places() -> Vec<Place> {
    let source = Box::new(CiCredentials::new(&environment::variable));
    vec![Place { name: "the variables of the CI job", source }]
}

/// What a person has just typed.
struct Given(Credential);

#[async_trait]
impl CredentialSource for Given {
    async fn credential(&self, _: &RegistryHost) -> Result<Issued, CredentialError> {
        Ok(self.0.clone().into())
    }
}

/// The engine that Docker's own tools would take, with a word on one that could be anybody.
pub(crate) fn engine() -> Result<DockerEngine, Failure> {
    let engine = engine_to_examine()?;
    if let Some(endpoint) = engine.endpoint()
        && endpoint.tls.as_ref().is_some_and(|tls| !tls.verify)
    {
        ui::say(&format!(
            "warning: the certificate of the engine at {endpoint} is not checked: whoever answers there \
             gets the build and the credentials for registries"
        ));
    }
    Ok(engine)
}

/// The same for a command that says itself what is wrong with it.
pub(crate) fn engine_to_examine() -> Result<DockerEngine, Failure> {
    let search = EngineSearch {
        variable: &environment::variable,
        home: environment::home(),
        user: environment::user(),
        root: PathBuf::from("/"),
    };
    let endpoint = search.find()?;
    if let Some(context) = &endpoint.overruled_context {
        ui::say(&format!(
            "warning: DOCKER_HOST is set, so DOCKER_CONTEXT ({context:?}) does not count"
        ));
    }
    Ok(DockerEngine::at(endpoint))
}

/// Commands that ask a registry or an engine cannot do so offline.
pub(crate) fn require_network(global: &GlobalArgs, command: &str) -> Result<(), Failure> {
    if global.offline {
        let message = format!("`dockit {command}` asks registries, which --offline forbids");
        return Err(Failure::new(Exit::Usage, message)
            .hint("`dockit key`, `dockit list`, `dockit graph` and `dockit why` work offline, and `dockit copy` \
                   from layout to layout"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Cli;
    use clap::Parser as _;

    #[test]
    fn a_project_that_is_not_meant_changes_nothing() {
        let text = "[project]\ninsecure-registries = [\"r.example\"]\n[images.base]\n";
        let project =
            config::parse("/nowhere/dockit.toml".as_ref(), text, &LoadOptions::default()).unwrap();
        for (arguments, names_its_images, counts) in [
            (&["dockit", "list"][..], false, false),
            (&["dockit", "list", "-C", "/nowhere"], false, false),
            (&["dockit", "list"], true, true),
            (&["dockit", "list", "--config", "dockit.toml"], false, true),
        ] {
            let global = Cli::parse_from(arguments).global;
            let settings = settings(Some(&project), &global, names_its_images);
            assert_eq!(settings.is_some(), counts, "{arguments:?}");
        }
    }
}
