//! What to build.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::secret::SecretBytes;
use crate::session::RegistryAuth;
use crate::tree::FileTree;

/// One build, with the Dockerfile frontend.
#[derive(Clone)]
pub struct Build {
    /// The Dockerfile. Nothing that it copies can be this file: it is no part of the build context.
    pub dockerfile: Vec<u8>,
    /// What BuildKit calls the Dockerfile, in the names of steps and in messages. A plain file name.
    pub dockerfile_name: String,
    /// The build context.
    pub context: Arc<dyn FileTree>,
    /// Says which build context it is: equal only where all paths, kinds, modes, link texts and *contents*
    /// are equal, such as a hash of them. BuildKit keeps files from earlier builds with the same
    /// identifier, and takes one of the same size for unchanged.
    pub context_id: String,
    /// How the build context gets to BuildKit.
    pub transfer: Transfer,
    /// The stage to build; `None`: the last one.
    pub target: Option<String>,
    /// Platforms to build for, such as `linux/amd64`; none: the worker's own. Several need an output that
    /// can hold them, and become an image index.
    pub platforms: Vec<String>,
    /// Build arguments. They are in the image's history: no place for secrets.
    pub args: BTreeMap<String, String>,
    /// Labels to put on the image.
    pub labels: BTreeMap<String, String>,
    /// Whether BuildKit may use its layer cache.
    pub layer_cache: bool,
    /// How image references are resolved; `None`: as BuildKit has it.
    pub resolve: Option<ResolveMode>,
    /// The network of every `RUN`; `None`: as BuildKit has it.
    pub network: Option<Network>,
    /// More names that are known in every `RUN`.
    pub hosts: Vec<(String, IpAddr)>,
    /// Bytes of `/dev/shm` in every `RUN`. BuildKit before 0.10, and so a Docker Engine before 23, ignores it.
    pub shm_size: Option<u64>,
    /// Limits of every `RUN`, as `docker build --ulimit` has them: `nofile=1024:2048`. BuildKit before 0.10
    /// ignores them.
    pub ulimits: Vec<String>,
    /// Where layers may be taken over from, best first.
    pub cache_imports: Vec<CacheEntry>,
    /// Where layers are put for other builds.
    pub cache_exports: Vec<CacheEntry>,
    /// More attributes of the frontend, by name; they come last and win.
    pub attributes: BTreeMap<String, String>,
    /// What to do with the image.
    pub output: Output,
    /// Secrets for `RUN --mount=type=secret`, by identifier.
    pub secrets: BTreeMap<String, SecretBytes>,
    /// Sockets of ssh agents for `RUN --mount=type=ssh`, by identifier; the one of a mount that names none is
    /// `default`.
    pub ssh_agents: BTreeMap<String, PathBuf>,
    /// Who this build is to registries; `None`: nobody.
    pub registry_auth: Option<Arc<dyn RegistryAuth>>,
}

impl Build {
    /// A build of the last stage, with everything else as BuildKit has it, into the engine's store without a
    /// name.
    pub fn new(
        dockerfile: impl Into<Vec<u8>>,
        context: Arc<dyn FileTree>,
        context_id: impl Into<String>,
    ) -> Self {
        Self {
            dockerfile: dockerfile.into(),
            dockerfile_name: "Dockerfile".to_owned(),
            context,
            context_id: context_id.into(),
            transfer: Transfer::Files,
            target: None,
            platforms: Vec::new(),
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            layer_cache: true,
            resolve: None,
            network: None,
            hosts: Vec::new(),
            shm_size: None,
            ulimits: Vec::new(),
            cache_imports: Vec::new(),
            cache_exports: Vec::new(),
            attributes: BTreeMap::new(),
            output: Output::EngineStore { names: Vec::new() },
            secrets: BTreeMap::new(),
            ssh_agents: BTreeMap::new(),
            registry_auth: None,
        }
    }
}

impl fmt::Debug for Build {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Build")
            .field("dockerfile_name", &self.dockerfile_name)
            .field("context_id", &self.context_id)
            .field("target", &self.target)
            .field("platforms", &self.platforms)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

/// How a build context gets to BuildKit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transfer {
    /// File by file; what an earlier build with the same [`Build::context_id`] has sent is not sent again.
    #[default]
    Files,
    /// As an archive, every time. BuildKit before 0.11 (Docker Engine before 24) needs it to give
    /// directories the times that they have: of files it leaves a directory with something in it the time of
    /// the transfer.
    Archive,
}

/// What becomes of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// It goes into the store of a Docker Engine, under these names, `NAME:TAG`. Only a Docker Engine has
    /// this.
    EngineStore {
        /// Its names; without any it is known by its identifier.
        names: Vec<String>,
    },
    /// It is pushed by BuildKit.
    Push {
        /// The repository, `HOST/PATH`; with `by_digest` false, a reference with a tag.
        repository: String,
        /// Whether it is pushed without a tag.
        by_digest: bool,
        /// Whether the registry may be spoken to without TLS.
        insecure: bool,
    },
    /// Nothing: the steps run, and their layers stay in the layer cache.
    CacheOnly,
}

/// How references to images are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveMode {
    /// The engine's store first, where there is one.
    Default,
    /// The registry is always asked.
    Pull,
    /// The engine's store first; the registry is asked for what is not there.
    PreferLocal,
}

/// Networks of a `RUN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// The one of the machine. BuildKit may refuse it.
    Host,
    /// None.
    None,
}

/// Where layers come from, or go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The kind: `registry`, `inline`, `gha`, `s3`, ….
    pub kind: String,
    /// Attributes of the kind (<https://docs.docker.com/build/cache/backends/>).
    pub attributes: BTreeMap<String, String>,
}

impl CacheEntry {
    /// In a registry, at `reference`.
    pub fn registry(reference: impl Into<String>) -> Self {
        let attributes = BTreeMap::from([("ref".to_owned(), reference.into())]);
        Self { kind: "registry".to_owned(), attributes }
    }

    /// Within the image itself, for exports.
    pub fn inline() -> Self {
        Self { kind: "inline".to_owned(), attributes: BTreeMap::new() }
    }
}

/// An image that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Built {
    /// What the exporter says of it, by name; for pushed images `containerimage.descriptor` and others.
    pub response: BTreeMap<String, String>,
}

impl Built {
    /// The image's digest: for a pushed image that of its manifest or index, in an engine's store the
    /// identifier that the engine knows it by.
    pub fn digest(&self) -> Option<&str> {
        self.response.get("containerimage.digest").map(String::as_str)
    }

    /// The digest of the image's config, where the daemon says it.
    pub fn config_digest(&self) -> Option<&str> {
        self.response.get("containerimage.config.digest").map(String::as_str)
    }
}
