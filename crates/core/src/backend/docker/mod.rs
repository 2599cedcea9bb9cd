//! Docker Engine, and what speaks its API as Podman does: never the `docker` command.

mod archive_body;
mod archives;
mod auth;
mod building;
mod buildkit;
mod cache_sources;
mod classic;
pub(super) mod connection;
mod container;
mod contents;
mod disturbed;
mod failure;
mod heredoc;
mod layouts;
mod options;
pub(super) mod passing;
mod podman;
pub(super) mod progress;
mod pulling;
pub(super) mod session_auth;
mod unique_name;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, PushImageOptionsBuilder, TagImageOptionsBuilder,
};
use dockit_registry::{Credential, Digest, Platform, Reference};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::OnceCell;
use tokio_util::task::TaskTracker;

use super::endpoint::{EndpointSource, EngineAddress, EngineEndpoint};
use super::{
    ArchiveBackend, BackendError, BackendErrorKind, BuildBackend, BuildObserver, BuildRequest,
    Built, ContainerBackend, ContentsBackend, Engine, LayoutStore, LocalImage, PullProgress,
    Pushed,
};
use failure::{describe, is_connection_error, is_forbidden};

/// The oldest API with BuildKit's progress in the build stream (Docker 19.03).
const OLDEST_API: (usize, usize) = (1, 40);

/// An engine has to answer the first request within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One behind ssh, which may take as long as `docker` grants it.
const SSH_TIMEOUT: Duration = Duration::from_secs(40);

/// A build answers when it is done; nothing but the engine knows how long that may take.
const REQUEST_TIMEOUT_SECONDS: u64 = 24 * 60 * 60;

/// An engine that moves an image tells how far it is many times a minute. One that waits for a transfer
/// of its own that hangs, as Docker does without end, says nothing.
const LONGEST_SILENCE: Duration = Duration::from_secs(15 * 60);

/// Which engine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineKind {
    /// Docker Engine, or what says nothing else of itself.
    Docker,
    /// Podman.
    Podman,
}

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    /// Which engine it is.
    pub kind: EngineKind,
    /// Its version.
    pub version: String,
    /// The version of its API that both sides know.
    pub api_version: String,
    /// Its operating system and architecture, as `linux/amd64`.
    pub platform: String,
}

/// A Docker Engine with BuildKit, or Podman. Connects on first use.
pub struct DockerEngine {
    endpoint: Result<EngineEndpoint, String>,
    client: OnceLock<Docker>,
    facts: OnceLock<EngineFacts>,
    /// What removes containers.
    containers: TaskTracker,
    /// Whether what earlier runs left behind was looked for.
    swept: OnceCell<()>,
    /// What knows about images in layouts.
    layouts: Option<LayoutStore>,
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("DockerEngine").field(&self.place()).finish()
    }
}

impl DockerEngine {
    /// The engine at an endpoint that was [found](super::endpoint::EngineSearch::find).
    pub fn at(endpoint: EngineEndpoint) -> Self {
        Self::with(Ok(endpoint))
    }

    /// An engine at `unix://PATH`, `tcp://HOST:PORT` (without TLS) or `ssh://HOST`. What is none of
    /// these is an error when it is used.
    pub fn new(address: &str) -> Self {
        let endpoint = address.parse::<EngineAddress>().map(|address| EngineEndpoint {
            address,
            source: EndpointSource::Given,
            tls: None,
            overruled_context: None,
            missing: Vec::new(),
        });
        Self::with(endpoint.map_err(|error| error.to_string()))
    }

    fn with(endpoint: Result<EngineEndpoint, String>) -> Self {
        Self {
            endpoint,
            client: OnceLock::new(),
            facts: OnceLock::new(),
            containers: TaskTracker::new(),
            swept: OnceCell::new(),
            layouts: None,
        }
    }

    /// Where the engine is, and who said so.
    pub fn endpoint(&self) -> Option<&EngineEndpoint> {
        self.endpoint.as_ref().ok()
    }

    /// What the engine says of itself. It is asked once.
    ///
    /// # Errors
    ///
    /// There is none, or it is too old.
    pub async fn facts(&self) -> Result<EngineFacts, BackendError> {
        if let Some(facts) = self.facts.get() {
            return Ok(facts.clone());
        }
        let client = self.client().await?;
        let version = client.version().await;
        let version = version.map_err(|error| self.failed(BackendErrorKind::Engine, &error))?;
        let is_podman = |name: &str| name == "Podman Engine";
        let components = version.components.unwrap_or_default();
        let kind = match components.iter().any(|component| is_podman(&component.name)) {
            true => EngineKind::Podman,
            false => EngineKind::Docker,
        };
        let text = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        let facts = EngineFacts {
            kind,
            version: text(version.version),
            api_version: client.client_version().to_string(),
            platform: format!("{}/{}", text(version.os), text(version.arch)),
        };
        Ok(self.facts.get_or_init(|| facts).clone())
    }

    /// The client; the first call makes sure that an engine answers.
    async fn client(&self) -> Result<&Docker, BackendError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let endpoint = self.endpoint.as_ref().map_err(|error| self.unavailable(error.clone()))?;
        let client = connection::client(endpoint).map_err(|error| self.unavailable(error))?;
        let client = client.with_request_modifier(auth::url_safe_header);
        let limit = self.patience();
        // The newest version that both sides know.
        let negotiation = client.negotiate_version();
        let client = match tokio::time::timeout(limit, negotiation).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) if is_forbidden(&error) => {
                let message = format!("permission denied at {}", self.place());
                return Err(BackendError::new(BackendErrorKind::Forbidden, message));
            }
            Ok(Err(error)) => return Err(self.unavailable(describe(&error))),
            Err(_) => {
                let message = format!("no answer within {} seconds", limit.as_secs());
                return Err(self.unavailable(message));
            }
        };
        let version = client.client_version();
        if (version.major_version, version.minor_version) < OLDEST_API {
            return Err(self.unavailable(format!("the engine is too old (API {version})")));
        }
        Ok(self.client.get_or_init(|| client))
    }

    /// Longest that it may take to answer a question.
    fn patience(&self) -> Duration {
        match self.endpoint.as_ref().map(|endpoint| &endpoint.address) {
            Ok(EngineAddress::Ssh(_)) => SSH_TIMEOUT,
            _ => CONNECT_TIMEOUT,
        }
    }

    /// The endpoint as messages name it.
    fn place(&self) -> String {
        match &self.endpoint {
            Ok(endpoint) => endpoint.to_string(),
            Err(_) => "the given address".to_owned(),
        }
    }

    fn unavailable(&self, message: String) -> BackendError {
        let place = self.place();
        BackendError::new(BackendErrorKind::Unavailable, format!("{message} at {place}"))
    }

    /// `kind` unless the error means that the engine itself is gone.
    fn failed(&self, kind: BackendErrorKind, error: &EngineError) -> BackendError {
        if is_connection_error(error) {
            self.unavailable(format!("lost the connection ({})", describe(error)))
        } else {
            BackendError::new(kind, describe(error))
        }
    }

    async fn inspect(&self, name: &str) -> Result<Option<LocalImage>, BackendError> {
        match self.client().await?.inspect_image(name).await {
            Ok(image) => {
                let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
                let id = image.id.ok_or_else(|| {
                    BackendError::new(BackendErrorKind::Engine, format!("{name} has no identifier"))
                })?;
                Ok(Some(LocalImage { id, labels: labels.into_iter().collect() }))
            }
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.failed(BackendErrorKind::Engine, &error)),
        }
    }

    /// What the engine says next of a transfer.
    async fn next_word<S: Stream + Unpin>(
        &self,
        events: &mut S,
    ) -> Result<Option<S::Item>, BackendError> {
        tokio::time::timeout(LONGEST_SILENCE, events.next()).await.map_err(|_| {
            let minutes = LONGEST_SILENCE.as_secs() / 60;
            let message =
                format!("the engine at {} said nothing for {minutes} minutes", self.place());
            BackendError::new(BackendErrorKind::Engine, message)
        })
    }

    async fn present(&self, name: &str) -> Result<LocalImage, BackendError> {
        self.inspect(name).await?.ok_or_else(|| {
            let message =
                format!("{name} is not in the engine's store, though it was just put there");
            BackendError::new(BackendErrorKind::Engine, message)
        })
    }
}

#[async_trait]
impl BuildBackend for DockerEngine {
    async fn build(
        &self,
        request: BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<Built, BackendError> {
        self.build_image(request, observer).await.map(Built::InStore)
    }

    async fn platforms(&self) -> Result<BTreeSet<Platform>, BackendError> {
        let asked = async {
            let client = self.client().await?;
            client.version().await.map_err(|error| self.failed(BackendErrorKind::Engine, &error))
        };
        let version = tokio::time::timeout(self.patience(), asked).await.unwrap_or_else(|_| {
            let seconds = self.patience().as_secs();
            Err(self.unavailable(format!("no answer within {seconds} seconds")))
        })?;
        let name = version.os.zip(version.arch).map(|(os, arch)| format!("{os}/{arch}"));
        // What has no name here is nothing that anybody could ask for.
        Ok(name.and_then(|name| name.parse().ok()).into_iter().collect())
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(self)
    }
}

#[async_trait]
impl Engine for DockerEngine {
    async fn find(&self, name: &Reference) -> Result<Option<LocalImage>, BackendError> {
        self.inspect(&layouts::called(name).familiar()).await
    }

    async fn push(
        &self,
        name: &Reference,
        credential: &Credential,
    ) -> Result<Digest, BackendError> {
        if layouts::is_in_layout(name) {
            let store = self.put_into_store(name).await?;
            return store.push(name, credential).await;
        }
        let repository = name.repository().familiar();
        let tag = name.tag_or_latest();
        let options = PushImageOptionsBuilder::default().tag(tag.as_str()).build();
        let credentials = auth::docker_credentials(name.repository().host(), credential);
        let mut events = self.client().await?.push_image(&repository, Some(options), credentials);
        let mut digest = None;
        while let Some(event) = self.next_word(&mut events).await? {
            let info = event.map_err(|error| {
                self.failed(passing::kind_of_failed_push(&describe(&error)), &error)
            })?;
            digest = info.status.as_deref().and_then(pushed_digest).or(digest);
        }
        // The stream of an engine that dies simply ends.
        digest.ok_or_else(|| self.unavailable(format!("the push of {name} ended without a digest")))
    }

    async fn push_unless_taken(
        &self,
        name: &Reference,
        expected: Option<&Digest>,
        credential: &Credential,
    ) -> Result<Pushed, BackendError> {
        if layouts::is_in_layout(name) {
            let store = self.put_into_store(name).await?;
            return store.push_unless_taken(name, expected, credential).await;
        }
        self.push(name, credential).await.map(Pushed::Ours)
    }

    async fn pull(
        &self,
        source: &Reference,
        platform: &Platform,
        credential: &Credential,
    ) -> Result<LocalImage, BackendError> {
        self.pull_told(source, platform, credential, &|_, _| {}).await
    }

    async fn pull_told(
        &self,
        source: &Reference,
        platform: &Platform,
        credential: &Credential,
        told: &PullProgress<'_>,
    ) -> Result<LocalImage, BackendError> {
        if layouts::is_in_layout(source) {
            return self.pull_from_layout(source, platform).await;
        }
        let name = source.familiar();
        let options = CreateImageOptionsBuilder::default()
            .from_image(&name)
            .platform(&platform.to_string())
            .build();
        let credentials = auth::docker_credentials(source.repository().host(), credential);
        let mut events = self.client().await?.create_image(Some(options), None, credentials);
        let mut downloads = pulling::Downloads::default();
        while let Some(event) = self.next_word(&mut events).await? {
            let said = event.map_err(|error| self.failed(BackendErrorKind::Registry, &error))?;
            if let Some((bytes, of)) = downloads.take(&said) {
                told(bytes, of);
            }
        }
        drop(events);
        self.present(&name).await
    }

    async fn tag(&self, image: &LocalImage, name: &Reference) -> Result<(), BackendError> {
        let name = layouts::called(name);
        let options = TagImageOptionsBuilder::default()
            .repo(&name.repository().familiar())
            .tag(name.tag_or_latest().as_str())
            .build();
        self.client()
            .await?
            .tag_image(&image.id, Some(options))
            .await
            .map_err(|error| self.failed(BackendErrorKind::Engine, &error))
    }

    fn archives(&self) -> Option<&dyn ArchiveBackend> {
        Some(self)
    }

    fn containers(&self) -> Option<&dyn ContainerBackend> {
        Some(self)
    }

    fn contents_backend(&self) -> Option<&dyn ContentsBackend> {
        Some(self)
    }
}

/// The digest in an engine's last word on a push: `TAG: digest: sha256:… size: N`.
fn pushed_digest(status: &str) -> Option<Digest> {
    let (_, rest) = status.split_once("digest: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_read_from_the_last_status_of_a_push() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let status = format!("k1-00: digest: {digest} size: 741");
        assert_eq!(pushed_digest(&status).unwrap().as_str(), digest);
        assert_eq!(pushed_digest("Pushed"), None);
        assert_eq!(pushed_digest("x: digest: sha256:short size: 1"), None);
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let endpoint = format!("unix://{}/none.sock", directory.path().display());
        let engine = DockerEngine::new(&endpoint);
        let error = engine.find(&"debian:12".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind, BackendErrorKind::Unavailable);
        assert!(error.to_string().contains(&endpoint), "{error}");
    }
}
