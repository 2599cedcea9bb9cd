//! What builds images: the seam between dockit and an engine.

mod archive;
mod assemble;
mod buildkit;
mod channel;
mod container;
mod contents;
mod dial;
mod docker;
pub mod endpoint;
mod layers;
mod layout_store;
mod sending;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use dockit_hashing::context::Listing;
use dockit_registry::{Credential, Digest, Platform, Reference};

use crate::build_options::BuildOptions;
use crate::graph::Recipe;
use crate::secrets::ImageSecrets;

pub use archive::{ArchiveBackend, ByteStream, export_to_layout, load_from_layout};
pub use assemble::{AssembleInto, Assembler};
pub use buildkit::{BuildKitEndpoint, BuildKitFacts, InvalidBuildKitAddress, RemoteBuildKit};
pub use container::{CONTAINER_LABEL, ContainerBackend, ContainerEnd, ContainerRequest};
pub use contents::{ContentsBackend, EngineContents, EngineHistory};
pub use docker::{DockerEngine, EngineFacts, EngineKind};
pub use dockit_assemble::assemble::Compression;
pub use layout_store::{LayoutStore, StoreSettings};
pub use settings::{BackendName, BackendPlace, BackendSettings, InvalidBackendName};

/// Label with the image's key, on every image that dockit builds.
pub const KEY_LABEL: &str = "dev.dockit.key";

/// Label with the images from elsewhere that the build used: the digests of the manifests that are in
/// the key, sorted, each once, with commas between them. Empty where there is none, so that none is
/// inherited from a base image.
pub const BASES_LABEL: &str = "dev.dockit.bases";

/// What builds images.
#[async_trait]
pub trait BuildBackend: Send + Sync {
    /// Builds, and leaves the image where this backend leaves images: in its store, under
    /// `request.name` if it is `named`, or in the registry, by digest and without a tag.
    async fn build(
        &self,
        request: BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<Built, BackendError>;

    /// For which platforms it builds; empty if it does not say. It is asked anew each time: that it answers
    /// shows that it is there.
    ///
    /// # Errors
    ///
    /// It does not answer, or not to this user.
    async fn platforms(&self) -> Result<BTreeSet<Platform>, BackendError> {
        Ok(BTreeSet::new())
    }

    /// Whether it puts layers into a repository of their own for later builds, and takes them from there.
    fn keeps_layers(&self) -> bool {
        false
    }

    /// Whether it builds images whose Dockerfile runs commands.
    fn runs_commands(&self) -> bool {
        true
    }

    /// This backend as an engine, if it is one that keeps what it builds.
    fn engine(&self) -> Option<&dyn Engine> {
        None
    }

    /// This backend as one that assembles images, if it is: such a backend can leave them with an engine.
    fn assembler(&self) -> Option<&Assembler> {
        None
    }
}

/// Where an image is when it is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Built {
    /// In the store of the backend's [engine](BuildBackend::engine).
    InStore(LocalImage),
    /// In the repository of `request.name`, by this digest of its manifest.
    Pushed(Digest),
}

/// Is told how many bytes of a pull have arrived, and of how many that are known of so far.
pub type PullProgress<'a> = dyn Fn(u64, u64) + Send + Sync + 'a;

/// What a tag is on after a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// What this run pushed.
    Ours(Digest),
    /// What another run put there meanwhile.
    Theirs(Digest),
}

/// An engine with a store of images of its own.
#[async_trait]
pub trait Engine: Send + Sync {
    /// The image of this name in the engine's store. `None` is the engine's own word, not a failure.
    async fn find(&self, name: &Reference) -> Result<Option<LocalImage>, BackendError>;

    /// Pushes the image of this name and returns the digest of the manifest that was pushed.
    async fn push(&self, name: &Reference, credential: &Credential)
    -> Result<Digest, BackendError>;

    /// Pushes as [`push`](Self::push) does, but leaves a tag alone that somebody has put on another image
    /// than `expected` meanwhile. Only what writes into a layout can tell: of a registry no request does
    /// both, and there it is pushed in any case.
    async fn push_unless_taken(
        &self,
        name: &Reference,
        expected: Option<&Digest>,
        credential: &Credential,
    ) -> Result<Pushed, BackendError> {
        let _ = expected;
        self.push(name, credential).await.map(Pushed::Ours)
    }

    /// Fetches an image by digest into the engine's store.
    async fn pull(
        &self,
        source: &Reference,
        platform: &Platform,
        credential: &Credential,
    ) -> Result<LocalImage, BackendError>;

    /// As [`pull`](Self::pull), and tells how far it is where the engine says so.
    async fn pull_told(
        &self,
        source: &Reference,
        platform: &Platform,
        credential: &Credential,
        _told: &PullProgress<'_>,
    ) -> Result<LocalImage, BackendError> {
        self.pull(source, platform, credential).await
    }

    /// Gives an image of the engine's store another name.
    async fn tag(&self, image: &LocalImage, name: &Reference) -> Result<(), BackendError>;

    /// Whether it is only a place for images: nothing in it can be run, so that nothing is loaded into it.
    fn only_keeps(&self) -> bool {
        false
    }

    /// This engine as one that gives and takes whole images, if it can.
    fn archives(&self) -> Option<&dyn ArchiveBackend> {
        None
    }

    /// This engine as one that runs containers, if it can.
    fn containers(&self) -> Option<&dyn ContainerBackend> {
        None
    }

    /// This engine as one that says what images are made of, if it can.
    fn contents_backend(&self) -> Option<&dyn ContentsBackend> {
        None
    }
}

/// A build backend of a run, under the name that messages call it by.
#[derive(Clone, Copy)]
pub struct NamedBackend<'a> {
    /// Its name.
    pub name: &'a str,
    /// The backend.
    pub backend: &'a dyn BuildBackend,
    /// How many images it works on at a time; `None`: as many as the run says.
    pub jobs: Option<NonZeroUsize>,
    /// The platforms that it builds for; `None`: those that it [names](BuildBackend::platforms) where
    /// there are several backends, and any where it is the only one.
    pub platforms: Option<&'a BTreeSet<Platform>>,
    /// Whether nobody named it, so that a run which only keeps images does without it where it does not
    /// answer.
    pub optional: bool,
}

impl<'a> NamedBackend<'a> {
    /// The only backend of a run.
    pub fn only(backend: &'a dyn BuildBackend) -> Self {
        Self::new("engine", backend)
    }

    /// A backend of this name.
    pub fn new(name: &'a str, backend: &'a dyn BuildBackend) -> Self {
        Self { name, backend, jobs: None, platforms: None, optional: false }
    }

    /// Whether nothing that is configured keeps it from building for this platform.
    pub(crate) fn may_build(&self, platform: &Platform) -> bool {
        self.platforms.is_none_or(|platforms| platforms.contains(platform))
    }
}

impl fmt::Debug for NamedBackend<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("NamedBackend").field(&self.name).finish()
    }
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
    /// The same Dockerfile as it is written, with what decides its meaning. Its image uses are
    /// [`keyed_images`](Self::keyed_images).
    pub recipe: Recipe,
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
    /// Whether it is called so as soon as it is built. Otherwise it has no name before
    /// [`Engine::tag`] gives it one: who looks for the name must not find what may be no good.
    pub named: bool,
    /// What every `RUN` gets besides.
    pub options: BuildOptions,
    /// What `RUN --mount=type=secret` and `type=ssh` may mount. A backend that cannot carry it, and the
    /// image has any, must not build.
    pub secrets: ImageSecrets,
    /// Whether the engine may use its layer cache.
    pub layer_cache: bool,
    /// Images of registries that layers may be taken over from, best first; none where the layer cache
    /// may not be used. One that cannot be had fails no build.
    pub cache_sources: Vec<CacheSource>,
    /// Whether the image is to say what its layers were made from, so that it can be such a source.
    pub export_cache: bool,
    /// Layers that were kept for later builds, best first, for backends that
    /// [keep layers](BuildBackend::keeps_layers).
    pub kept_layers: Vec<CacheSource>,
    /// Where such a backend keeps the layers of this build; a failure to do so fails no build.
    pub keep_layers: Option<Reference>,
    /// Images that the Dockerfile names and that only these credentials can pull.
    pub private_images: Vec<(Reference, Credential)>,
    /// Every image that the key covers, in the order of the Dockerfile's image uses. A build that turns out
    /// to use another one must fail.
    pub keyed_images: Vec<Reference>,
}

/// An earlier image that layers may be taken over from.
#[derive(Clone, Debug)]
pub struct CacheSource {
    /// The image, or what keeps layers, by digest.
    pub image: Reference,
    /// What its registry takes.
    pub credential: Credential,
}

impl CacheSource {
    /// Whether the engine cannot read it by itself.
    pub(crate) fn is_private(&self) -> bool {
        !matches!(self.credential, Credential::Anonymous)
    }
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
    /// The layers of an earlier image cannot be taken over. The build does without.
    CacheNotUsed {
        /// The earlier image, or the step that reads its cache.
        source: String,
        /// Why.
        reason: String,
    },
    /// The layers of this build could not be kept for later ones.
    LayersNotKept {
        /// Why.
        reason: String,
    },
    /// The build failed because another client of the engine removed something meanwhile, and begins anew.
    BuiltAgain {
        /// How it failed.
        reason: String,
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
#[derive(Clone, Debug)]
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
    /// There is an engine, and this user may not speak to it.
    Forbidden,
    /// This engine would read the Dockerfile differently, so it must not build it.
    Unsupported,
    /// The build failed: an instruction, or a base image that cannot be had.
    Build,
    /// The build context changed since the key was computed, or cannot be read.
    Context,
    /// A push or pull failed in the registry.
    Registry,
    /// So did a push, for a reason that may pass: the registry was busy or did not answer.
    RegistryPassing,
    /// The engine is there, but answers a question with an error.
    Engine,
}

impl BackendError {
    /// An error of this kind.
    pub fn new(kind: BackendErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Whether there is no engine for this user: none answers, or its socket is others'.
    pub fn is_absent(&self) -> bool {
        matches!(self.kind, BackendErrorKind::Unavailable | BackendErrorKind::Forbidden)
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            BackendErrorKind::Unavailable | BackendErrorKind::Forbidden => "engine unavailable",
            BackendErrorKind::Unsupported => "engine unsuited",
            BackendErrorKind::Build => "build failed",
            BackendErrorKind::Context => "build context",
            BackendErrorKind::Registry | BackendErrorKind::RegistryPassing => "engine and registry",
            BackendErrorKind::Engine => "engine",
        };
        write!(formatter, "{what}: {}", self.message)
    }
}

impl std::error::Error for BackendError {}
