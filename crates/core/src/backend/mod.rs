//! What builds images: the seam between dockit and an engine.

mod docker;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use dockit_hashing::context::Listing;
use dockit_registry::{Credential, Digest, Platform, Reference};

pub use docker::{DEFAULT_ENDPOINT, DockerEngine, EngineFacts};

/// Label with the image's key, on every image that dockit builds.
pub const KEY_LABEL: &str = "dev.dockit.key";

/// An engine that builds images and keeps them in a store of its own.
#[async_trait]
pub trait BuildBackend: Send + Sync {
    /// Builds, and puts the image into the engine's store under `request.name`.
    async fn build(
        &self,
        request: BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<LocalImage, BackendError>;

    /// The image of this name in the engine's store. `None` is the engine's own word, not a failure.
    async fn find(&self, name: &Reference) -> Result<Option<LocalImage>, BackendError>;

    /// Pushes the image of this name and returns the digest of the manifest that was pushed.
    async fn push(&self, name: &Reference, credential: &Credential)
    -> Result<Digest, BackendError>;

    /// Fetches an image by digest into the engine's store.
    async fn pull(
        &self,
        source: &Reference,
        platform: &Platform,
        credential: &Credential,
    ) -> Result<LocalImage, BackendError>;

    /// Gives an image of the engine's store another name.
    async fn tag(&self, image: &LocalImage, name: &Reference) -> Result<(), BackendError>;
}

/// One build: the very inputs that the key was computed from.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The build context's directory.
    pub context: PathBuf,
    /// The files of the context to send, and no others.
    pub listing: Arc<Listing>,
    /// The Dockerfile, every image in it resolved.
    pub dockerfile: Vec<u8>,
    /// The stage to build; `None`: the last one.
    pub target: Option<String>,
    /// The platform to build for.
    pub platform: Platform,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Labels to put on the image.
    pub labels: BTreeMap<String, String>,
    /// What to call the image in the engine's store.
    pub name: Reference,
    /// Whether the engine may use its layer cache.
    pub layer_cache: bool,
    /// Images that the Dockerfile names and that only these credentials can pull.
    pub private_images: Vec<(Reference, Credential)>,
    /// Every image that the key covers. A build that turns out to use another one must fail.
    pub keyed_images: Vec<Reference>,
}

/// An image in an engine's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    /// The engine's identifier, such as `sha256:…` of the image's config.
    pub id: String,
    /// The image's labels.
    pub labels: BTreeMap<String, String>,
}

/// What happens during a build.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BuildEvent {
    /// A step of the build began.
    StepStarted {
        /// The engine's identifier of the step.
        id: String,
        /// The step as the engine words it.
        name: String,
    },
    /// A step of the build ended.
    StepFinished {
        /// The engine's identifier of the step.
        id: String,
        /// The step as the engine words it.
        name: String,
        /// Whether the layer cache had it.
        cached: bool,
        /// Why it failed, if it did.
        error: Option<String>,
        /// How long it ran.
        seconds: f64,
    },
    /// Output of a step, in pieces as they come; not necessarily whole lines.
    Output {
        /// The engine's identifier of the step.
        id: String,
        /// The bytes that the step wrote.
        bytes: Vec<u8>,
    },
}

/// Who wants to know what happens during a build. Called from the build's task: be quick.
pub trait BuildObserver: Send + Sync {
    /// Takes an event.
    fn event(&self, event: BuildEvent);
}

/// A failure of an engine.
#[derive(Debug)]
pub struct BackendError {
    /// What kind of failure.
    pub kind: BackendErrorKind,
    /// What the engine said, in its words.
    pub message: String,
}

/// Kinds of [`BackendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// There is no engine, or it went away, or it cannot build.
    Unavailable,
    /// The build failed: an instruction, or a base image that cannot be had.
    Build,
    /// The build context changed since the key was computed, or cannot be read.
    Context,
    /// A push or pull failed in the registry.
    Registry,
    /// The engine is there, but answers a question with an error.
    Engine,
}

impl BackendError {
    /// An error of this kind.
    pub fn new(kind: BackendErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            BackendErrorKind::Unavailable => "engine unavailable",
            BackendErrorKind::Build => "build failed",
            BackendErrorKind::Context => "build context",
            BackendErrorKind::Registry => "engine and registry",
            BackendErrorKind::Engine => "engine",
        };
        write!(formatter, "{what}: {}", self.message)
    }
}

impl std::error::Error for BackendError {}
