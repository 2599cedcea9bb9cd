//! Docker Engine, through its API: never the `docker` command.

mod archive_body;
mod auth;
mod progress;

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error as EngineError;
use bollard::query_parameters::{
    BuildImageOptions, BuilderVersion, CreateImageOptionsBuilder, PushImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use dockit_hashing::context::Archive;
use dockit_registry::{Credential, Digest, Platform, Reference};
use futures_util::StreamExt as _;

use super::{
    BackendError, BackendErrorKind, BuildBackend, BuildObserver, BuildRequest, LocalImage,
};
use progress::Progress;

/// Where an engine listens unless something else is said.
pub const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

/// The oldest API with BuildKit's progress in the build stream (Docker 19.03).
const OLDEST_API: (usize, usize) = (1, 40);

/// An engine has to answer the first request within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A build answers when it is done; nothing but the engine knows how long that may take.
const REQUEST_TIMEOUT_SECONDS: u64 = 24 * 60 * 60;

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    /// Its version.
    pub version: String,
    /// The version of its API that both sides know.
    pub api_version: String,
    /// Its operating system and architecture, as `linux/amd64`.
    pub platform: String,
}

/// A Docker Engine with BuildKit. Connects on first use.
#[derive(Debug)]
pub struct DockerEngine {
    endpoint: String,
    client: OnceLock<Docker>,
}

impl DockerEngine {
    /// An engine at `unix://PATH`, `tcp://HOST:PORT` or `http://HOST:PORT`.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self { endpoint: endpoint.into(), client: OnceLock::new() }
    }

    /// Where the engine is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What the engine says of itself.
    ///
    /// # Errors
    ///
    /// There is none, or it is too old.
    pub async fn facts(&self) -> Result<EngineFacts, BackendError> {
        let client = self.client().await?;
        let version = client.version().await;
        let version = version.map_err(|error| self.failed(BackendErrorKind::Engine, &error))?;
        let text = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        Ok(EngineFacts {
            version: text(version.version),
            api_version: client.client_version().to_string(),
            platform: format!("{}/{}", text(version.os), text(version.arch)),
        })
    }

    /// The client; the first call makes sure that an engine answers.
    async fn client(&self) -> Result<&Docker, BackendError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = self.connect().map_err(|error| self.unavailable(error.to_string()))?;
        // The newest version that both sides know.
        let negotiation = client.negotiate_version();
        let client = match tokio::time::timeout(CONNECT_TIMEOUT, negotiation).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(self.unavailable(describe(&error))),
            Err(_) => return Err(self.unavailable("no answer within 10 seconds".to_owned())),
        };
        let version = client.client_version();
        if (version.major_version, version.minor_version) < OLDEST_API {
            return Err(self.unavailable(format!("the engine is too old (API {version})")));
        }
        Ok(self.client.get_or_init(|| client))
    }

    fn connect(&self) -> Result<Docker, EngineError> {
        let docker = if let Some(path) = self.endpoint.strip_prefix("unix://") {
            Docker::connect_with_unix(path, REQUEST_TIMEOUT_SECONDS, API_DEFAULT_VERSION)?
        } else if self.endpoint.starts_with("tcp://") || self.endpoint.starts_with("http://") {
            Docker::connect_with_http(&self.endpoint, REQUEST_TIMEOUT_SECONDS, API_DEFAULT_VERSION)?
        } else {
            return Err(EngineError::UnsupportedURISchemeError { uri: self.endpoint.clone() });
        };
        Ok(docker.with_request_modifier(auth::url_safe_header))
    }

    fn unavailable(&self, message: String) -> BackendError {
        BackendError::new(
            BackendErrorKind::Unavailable,
            format!("{} at {}", message, self.endpoint),
        )
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
    ) -> Result<LocalImage, BackendError> {
        for (image, credential) in &request.private_images {
            self.pull(image, &request.platform, credential).await?;
        }
        let client = self.client().await?;
        let name = request.name.to_string();
        let options = BuildImageOptions {
            dockerfile: Archive::DOCKERFILE_NAME.to_owned(),
            t: Some(name.clone()),
            nocache: !request.layer_cache,
            buildargs: Some(into_map(request.args)),
            labels: Some(into_map(request.labels)),
            platform: request.platform.to_string(),
            target: request.target.unwrap_or_default(),
            version: BuilderVersion::BuilderBuildKit,
            session: Some(session_id()),
            ..BuildImageOptions::default()
        };
        let (packing, archive) =
            archive_body::pack(request.context, request.listing, request.dockerfile);
        let mut progress = Progress::new(observer, request.keyed_images);
        let mut events = client.build_image(options, None, Some(bollard::body_try_stream(archive)));
        let mut failure = None;
        while let Some(event) = events.next().await {
            match event {
                Ok(info) => {
                    progress.take(info);
                    // Ending here closes the connection, and so ends the build.
                    if let Some(image) = progress.unkeyed_image() {
                        let message = format!(
                            "it uses the image {image}, which is not in its key: the engine reads \
                             the Dockerfile differently"
                        );
                        return Err(BackendError::new(BackendErrorKind::Build, message));
                    }
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        drop(events);
        // A context that changed while it was packed cuts the upload short; what the engine says
        // about that is beside the point.
        packing.finish().await?;
        if let Some(error) = failure {
            let kind = BackendErrorKind::Build;
            return Err(match progress.failure() {
                Some(step) if !is_connection_error(&error) => BackendError::new(kind, step),
                _ => self.failed(kind, &error),
            });
        }
        match progress.image_id() {
            Some(id) => self.present(&id).await,
            // The stream of an engine that dies simply ends.
            None => Err(self.unavailable("the build ended without a result".to_owned())),
        }
    }

    async fn find(&self, name: &Reference) -> Result<Option<LocalImage>, BackendError> {
        self.inspect(&name.familiar()).await
    }

    async fn push(
        &self,
        name: &Reference,
        credential: &Credential,
    ) -> Result<Digest, BackendError> {
        let repository = name.repository().familiar();
        let tag = name.tag_or_latest();
        let options = PushImageOptionsBuilder::default().tag(tag.as_str()).build();
        let credentials = auth::docker_credentials(name.repository().host(), credential);
        let mut events = self.client().await?.push_image(&repository, Some(options), credentials);
        let mut digest = None;
        while let Some(event) = events.next().await {
            let info = event.map_err(|error| self.failed(BackendErrorKind::Registry, &error))?;
            digest = info.status.as_deref().and_then(pushed_digest).or(digest);
        }
        // The stream of an engine that dies simply ends.
        digest.ok_or_else(|| self.unavailable(format!("the push of {name} ended without a digest")))
    }

    async fn pull(
        &self,
        source: &Reference,
        platform: &Platform,
        credential: &Credential,
    ) -> Result<LocalImage, BackendError> {
        let name = source.familiar();
        let options = CreateImageOptionsBuilder::default()
            .from_image(&name)
            .platform(&platform.to_string())
            .build();
        let credentials = auth::docker_credentials(source.repository().host(), credential);
        let mut events = self.client().await?.create_image(Some(options), None, credentials);
        while let Some(event) = events.next().await {
            event.map_err(|error| self.failed(BackendErrorKind::Registry, &error))?;
        }
        drop(events);
        self.present(&name).await
    }

    async fn tag(&self, image: &LocalImage, name: &Reference) -> Result<(), BackendError> {
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
}

fn into_map(map: BTreeMap<String, String>) -> HashMap<String, String> {
    map.into_iter().collect()
}

/// BuildKit keys its sessions by this; two builds must never share one.
fn session_id() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_nanos());
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("dockit-{}-{now:x}-{count}", std::process::id())
}

/// The digest in an engine's last word on a push: `TAG: digest: sha256:… size: N`.
fn pushed_digest(status: &str) -> Option<Digest> {
    let (_, rest) = status.split_once("digest: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

fn is_connection_error(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::HyperResponseError { .. }
            | EngineError::HyperLegacyError { .. }
            | EngineError::IOError { .. }
            | EngineError::SocketNotFoundError(_)
            | EngineError::RequestTimeoutError
    )
}

/// An engine error with its causes, which bollard leaves out of its own message.
fn describe(error: &EngineError) -> String {
    let mut text = match error {
        EngineError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        EngineError::DockerStreamError { error } => error.trim().to_owned(),
        other => other.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
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

    #[test]
    fn sessions_are_never_shared() {
        assert_ne!(session_id(), session_id());
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
