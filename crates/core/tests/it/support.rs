//! Projects in temporary directories, a registry in memory, and an engine that builds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dockit_core::backend::{
    BackendError, BackendErrorKind, BuildBackend, BuildEvent, BuildObserver, BuildRequest, Built,
    ContainerBackend, ContainerEnd, ContainerRequest, ContentsBackend, Engine, EngineContents,
    KEY_LABEL, LocalImage,
};
use dockit_core::config::LoadOptions;
use dockit_core::{
    ImageGraph, ImageKey, ImageName, KeyOptions, Keys, Lockfile, Project, compute_keys, config,
};
use dockit_registry::manifest::{Descriptor, Manifest, media_type};
use dockit_registry::{
    Access, Created, Credential, Digest, Error, ErrorKind, ManifestHead, Platform, RawManifest,
    Reference, Registry, RegistryHost, Repository, Secret, Tag,
};
use tempfile::TempDir;

/// A project whose files a test writes.
pub(crate) struct TestProject {
    directory: TempDir,
}

impl TestProject {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let project = Self { directory: tempfile::tempdir().unwrap() };
        for (path, content) in files {
            project.write(path, content);
        }
        project
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn load(&self) -> Project {
        config::load(&self.root().join("dockit.toml"), &LoadOptions::default()).unwrap()
    }

    pub(crate) fn keys(&self) -> Keys {
        self.keys_with(&Lockfile::default())
    }

    pub(crate) fn keys_with(&self, lockfile: &Lockfile) -> Keys {
        let project = self.load();
        let graph = ImageGraph::new(&project).unwrap();
        compute_keys(&project, &graph, &all(&graph), lockfile, &KeyOptions::default()).unwrap()
    }

    pub(crate) fn key(&self, name: &str) -> String {
        self.keys().get(&image(name)).unwrap().key.to_string()
    }
}

pub(crate) fn image(name: &str) -> ImageName {
    name.parse().unwrap()
}

pub(crate) fn all(graph: &ImageGraph) -> BTreeSet<ImageName> {
    graph.order().iter().cloned().collect()
}

/// A chain with a diamond: `base` ← `left`, `right` ← `top`, and `alone`.
pub(crate) fn diamond(registry: &str) -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"{registry}\"\n[images.base]\n[images.left]\n\
                 [images.right]\n[images.top]\n[images.alone]\n"
            ),
        ),
        ("base/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("base/file", "base"),
        ("left/Dockerfile", "FROM base\nCOPY file /left\n"),
        ("left/file", "left"),
        ("right/Dockerfile", "FROM base\nCOPY file /right\n"),
        ("right/file", "right"),
        ("top/Dockerfile", "FROM left\nCOPY --from=right /right /right\n"),
        ("alone/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("alone/file", "alone"),
    ])
}

/// The password of a [`MemoryRegistry`] that wants one.
pub(crate) const PASSWORD: &str = "correct horse";

/// A registry in memory. Manifests are whatever bytes were put.
#[derive(Default)]
pub(crate) struct MemoryRegistry {
    tags: Mutex<BTreeMap<(Repository, Tag), Digest>>,
    manifests: Mutex<BTreeMap<(Repository, Digest), RawManifest>>,
    blobs: Mutex<BTreeMap<Digest, Vec<u8>>>,
    /// Answers instead of looking, while it is set.
    pub failure: Mutex<Option<ErrorKind>>,
    /// Answers instead of looking for tags that are no content tags, while it is set.
    pub failing_moving_tags: Mutex<Option<ErrorKind>>,
    /// Wants credentials, and has them.
    pub private: AtomicBool,
    pub heads: AtomicUsize,
    /// Manifests that were asked for by a tag.
    pub tags_read: Mutex<Vec<Reference>>,
    /// Refuses the blobs of what hangs on images.
    pub refuses_referrers: AtomicBool,
    /// Repositories that have to be made first.
    pub missing: Mutex<BTreeSet<Repository>>,
    /// Lookups in missing repositories are denied, not answered with "absent".
    pub hides_missing: AtomicBool,
    /// Tags that cannot be put.
    pub refused_tags: Mutex<BTreeSet<Reference>>,
    /// Called when a tag was put on a manifest.
    pub after_tag: Mutex<Option<Tagged>>,
}

impl MemoryRegistry {
    pub(crate) fn digest_of(&self, reference: &str) -> Option<Digest> {
        let reference: Reference = reference.parse().unwrap();
        let tag = reference.tag()?.clone();
        self.tags.lock().unwrap().get(&(reference.repository().clone(), tag)).cloned()
    }

    /// From now on this tag cannot be put.
    pub(crate) fn refuse_tag(&self, reference: &str) {
        self.refused_tags.lock().unwrap().insert(reference.parse().unwrap());
    }

    /// How many content tags there are.
    pub(crate) fn content_tags(&self) -> usize {
        let tags = self.tags.lock().unwrap();
        tags.keys().filter(|(_, tag)| dockit_core::ImageKey::is_content_tag(tag)).count()
    }

    /// Puts a tag on a digest, or takes it away.
    pub(crate) fn set(&self, reference: &Reference, digest: Option<&Digest>) {
        let key = (reference.repository().clone(), reference.tag().unwrap().clone());
        let mut tags = self.tags.lock().unwrap();
        match digest {
            Some(digest) => drop(tags.insert(key, digest.clone())),
            None => drop(tags.remove(&key)),
        }
    }

    /// Puts a manifest as a pushing engine would; returns its digest.
    pub(crate) fn push(&self, name: &Reference, config: &[u8]) -> Digest {
        let digest = self.push_by_digest(name, config);
        self.set(name, Some(&digest));
        digest
    }

    /// Puts a manifest as a backend would that pushes by digest; returns its digest.
    pub(crate) fn push_by_digest(&self, name: &Reference, config: &[u8]) -> Digest {
        let config_digest = Digest::of(config);
        self.blobs.lock().unwrap().insert(config_digest.clone(), config.to_vec());
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": config.len(),
                "digest": config_digest,
            },
            "layers": [],
        });
        let manifest = RawManifest::new(
            "application/vnd.docker.distribution.manifest.v2+json",
            serde_json::to_vec(&manifest).unwrap(),
        );
        let digest = manifest.digest().clone();
        let repository = name.repository().clone();
        self.manifests.lock().unwrap().insert((repository, digest.clone()), manifest);
        digest
    }

    /// Puts an index with an image for each architecture; returns its digest.
    pub(crate) fn push_index(
        &self,
        name: &Reference,
        architectures: &[&str],
        seed: &str,
    ) -> Digest {
        const INDEX: &str = "application/vnd.oci.image.index.v1+json";
        let entries: Vec<serde_json::Value> = architectures
            .iter()
            .map(|architecture| {
                let config = serde_json::json!({
                    "os": "linux", "architecture": architecture, "config": {}, "seed": seed,
                });
                let config = serde_json::to_vec(&config).unwrap();
                serde_json::json!({
                    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                    "size": 1,
                    "digest": self.push(name, &config),
                    "platform": {"os": "linux", "architecture": architecture},
                })
            })
            .collect();
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": entries,
        });
        let index = RawManifest::new(INDEX, serde_json::to_vec(&index).unwrap());
        let digest = index.digest().clone();
        let repository = name.repository().clone();
        let tag = name.tag().unwrap().clone();
        self.manifests.lock().unwrap().insert((repository.clone(), digest.clone()), index);
        self.tags.lock().unwrap().insert((repository, tag), digest.clone());
        digest
    }

    fn resolve(&self, reference: &Reference) -> Option<Digest> {
        if let Some(digest) = reference.digest() {
            let key = (reference.repository().clone(), digest.clone());
            return self.manifests.lock().unwrap().contains_key(&key).then(|| digest.clone());
        }
        let key = (reference.repository().clone(), reference.tag_or_latest());
        self.tags.lock().unwrap().get(&key).cloned()
    }

    fn fail(&self) -> Result<(), Error> {
        match self.failure.lock().unwrap().clone() {
            Some(kind) => Err(Error::new(kind, "in-memory registry")),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn head_manifest(
        &self,
        reference: &Reference,
        _: Access,
    ) -> Result<Option<ManifestHead>, Error> {
        self.heads.fetch_add(1, Ordering::Relaxed);
        self.fail()?;
        if let Some(kind) = self.failing_moving_tags.lock().unwrap().clone()
            && reference.tag().is_some_and(|tag| !ImageKey::is_content_tag(tag))
        {
            return Err(Error::new(kind, "in-memory registry"));
        }
        if self.hides_missing.load(Ordering::Relaxed)
            && self.missing.lock().unwrap().contains(reference.repository())
        {
            return Err(Error::new(ErrorKind::Denied, "in-memory registry"));
        }
        Ok(self.resolve(reference).map(|digest| ManifestHead {
            digest,
            media_type: "application/vnd.docker.distribution.manifest.v2+json".to_owned(),
            size: None,
        }))
    }

    async fn manifest(&self, reference: &Reference) -> Result<RawManifest, Error> {
        self.fail()?;
        if reference.digest().is_none() {
            self.tags_read.lock().unwrap().push(reference.clone());
        }
        let digest = self.resolve(reference);
        digest
            .and_then(|digest| {
                let key = (reference.repository().clone(), digest);
                self.manifests.lock().unwrap().get(&key).cloned()
            })
            .ok_or_else(|| Error::new(ErrorKind::NotFound, reference.to_string()))
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        tag: &Tag,
        manifest: &RawManifest,
    ) -> Result<Digest, Error> {
        self.fail()?;
        if self.refused_tags.lock().unwrap().contains(&repository.with_tag(tag.clone())) {
            return Err(Error::new(ErrorKind::Immutable, "in-memory registry"));
        }
        let digest = manifest.digest().clone();
        let place = (repository.clone(), digest.clone());
        self.manifests.lock().unwrap().insert(place, manifest.clone());
        self.tags.lock().unwrap().insert((repository.clone(), tag.clone()), digest.clone());
        if let Some(tagged) = self.after_tag.lock().unwrap().as_ref() {
            tagged(self, &repository.with_tag(tag.clone()));
        }
        Ok(digest)
    }

    async fn blob(&self, _: &Repository, digest: &Digest, _: u64) -> Result<Bytes, Error> {
        let blob = self.blobs.lock().unwrap().get(digest).cloned();
        blob.map(Bytes::from).ok_or_else(|| Error::new(ErrorKind::NotFound, digest.to_string()))
    }

    async fn put_blob(&self, _: &Repository, bytes: Bytes) -> Result<Digest, Error> {
        self.fail()?;
        if self.refuses_referrers.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Denied, "in-memory registry"));
        }
        let digest = Digest::of(&bytes);
        self.blobs.lock().unwrap().insert(digest.clone(), bytes.to_vec());
        Ok(digest)
    }

    async fn put_referrer(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
    ) -> Result<Digest, Error> {
        self.fail()?;
        let digest = manifest.digest().clone();
        let key = (repository.clone(), digest.clone());
        self.manifests.lock().unwrap().insert(key, manifest.clone());
        Ok(digest)
    }

    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        self.fail()?;
        let entries: Vec<serde_json::Value> = self
            .manifests
            .lock()
            .unwrap()
            .iter()
            .filter(|((place, _), _)| place == repository)
            .filter_map(|(_, raw)| match raw.parse() {
                Ok(Manifest::Image(manifest)) => Some((raw, manifest)),
                _ => None,
            })
            .filter(|(_, manifest)| {
                manifest.subject.as_ref().is_some_and(|other| other.digest == *subject)
                    && artifact_type.is_none_or(|wanted| manifest.type_as_referrer() == wanted)
            })
            .map(|(raw, manifest)| {
                serde_json::json!({
                    "mediaType": raw.media_type(),
                    "size": raw.bytes().len(),
                    "digest": raw.digest(),
                    "artifactType": artifact_type,
                    "annotations": manifest.annotations,
                })
            })
            .collect();
        let list = serde_json::json!({"schemaVersion": 2, "manifests": entries});
        let list = RawManifest::new(media_type::OCI_INDEX, serde_json::to_vec(&list).unwrap());
        match list.parse().unwrap() {
            Manifest::Index(index) => Ok(index.entries),
            Manifest::Image(_) => unreachable!("it was made an index"),
        }
    }

    async fn lacks_repository(&self, repository: &Repository) -> Result<bool, Error> {
        self.fail()?;
        Ok(self.missing.lock().unwrap().contains(repository))
    }

    async fn create_repository(&self, repository: &Repository) -> Result<Created, Error> {
        self.fail()?;
        let removed = self.missing.lock().unwrap().remove(repository);
        Ok(if removed { Created::Now } else { Created::Before })
    }

    async fn credential(&self, _: &RegistryHost) -> Result<Credential, Error> {
        if !self.private.load(Ordering::Relaxed) {
            return Ok(Credential::Anonymous);
        }
        let (username, password) = ("ci".to_owned(), Secret::new(PASSWORD));
        Ok(Credential::Basic { username, password })
    }
}

pub(crate) type Tagged = Box<dyn Fn(&MemoryRegistry, &Reference) + Send + Sync>;

type Rival = Box<dyn Fn(&MemoryRegistry, &Reference) + Send + Sync>;

/// An engine that records what it is asked and "pushes" into a [`MemoryRegistry`].
#[derive(Default)]
pub(crate) struct FakeEngine<'a> {
    pub registry: Option<&'a MemoryRegistry>,
    /// Images whose build fails, with the kind of failure.
    pub broken: BTreeMap<String, BackendErrorKind>,
    /// What each build writes, in these pieces; a build that fails says it as well.
    pub says: Vec<Vec<u8>>,
    /// How long a build takes.
    pub build_time: Duration,
    /// How long the builds of these images take.
    pub build_times: BTreeMap<String, Duration>,
    /// What comes of the next pushes instead of a push, the last one first.
    pub push_failures: Mutex<Vec<BackendErrorKind>>,
    /// What is said then.
    pub push_words: String,
    /// When each build began and ended, in the order of their ends.
    pub spans: Mutex<Vec<(String, tokio::time::Instant, tokio::time::Instant)>>,
    /// The platforms that it says it builds for.
    pub builds_for: BTreeSet<Platform>,
    /// It does not answer any more.
    pub gone: AtomicBool,
    /// How it says so; [`BackendErrorKind::Unavailable`] if nothing is said here.
    pub absence: Option<BackendErrorKind>,
    /// It is gone when it has begun to build this image.
    pub dies_of: Option<String>,
    /// What makes this engine's images differ from another's.
    pub nonce: String,
    /// Called when this engine's manifest is put, before the push has ended.
    pub after_push: Option<Rival>,
    pub store: Mutex<BTreeMap<String, LocalImage>>,
    /// What runs containers, if it can.
    pub containers: Option<FakeContainers>,
    /// What says what images are made of, if it can.
    pub contents: Option<FakeContents>,
    pub built: Mutex<Vec<BuildRequest>>,
    pub pushed: Mutex<Vec<Reference>>,
    pub pulled: Mutex<Vec<Reference>>,
    pub running: AtomicUsize,
    pub most_running: AtomicUsize,
}

impl FakeEngine<'_> {
    pub(crate) fn built_names(&self) -> Vec<String> {
        let built = self.built.lock().unwrap();
        built.iter().map(|request| short(&request.name)).collect()
    }

    fn answers(&self) -> Result<(), BackendError> {
        match self.gone.load(Ordering::SeqCst) {
            true => {
                let kind = self.absence.unwrap_or(BackendErrorKind::Unavailable);
                Err(BackendError::new(kind, "nobody is there"))
            }
            false => Ok(()),
        }
    }

    pub(crate) fn config(&self, image: &LocalImage) -> Vec<u8> {
        let built = self.built.lock().unwrap();
        let platform = built.iter().find(|request| request.labels == image.labels);
        let platform = platform.map_or_else(Platform::linux_amd64, |built| built.platform.clone());
        serde_json::to_vec(&serde_json::json!({
            "os": platform.os(),
            "architecture": platform.architecture(),
            "config": {"Labels": image.labels},
            "nonce": self.nonce,
        }))
        .unwrap()
    }
}

pub(crate) fn short(name: &Reference) -> String {
    name.repository().to_string().rsplit('/').next().unwrap().to_owned()
}

#[async_trait]
impl BuildBackend for FakeEngine<'_> {
    async fn build(
        &self,
        request: BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<Built, BackendError> {
        let running = 1 + self.running.fetch_add(1, Ordering::SeqCst);
        self.most_running.fetch_max(running, Ordering::SeqCst);
        let name = short(&request.name);
        let start = tokio::time::Instant::now();
        tokio::time::sleep(*self.build_times.get(&name).unwrap_or(&self.build_time)).await;
        self.spans.lock().unwrap().push((name, start, tokio::time::Instant::now()));
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.built.lock().unwrap().push(request.clone());
        if self.dies_of.as_ref() == Some(&short(&request.name)) {
            self.gone.store(true, Ordering::SeqCst);
            return Err(BackendError::new(BackendErrorKind::Build, "RUN x: exit code: 137"));
        }
        self.answers()?;
        let (id, step) = ("step".to_owned(), "RUN x".to_owned());
        for bytes in &self.says {
            observer.event(BuildEvent::Output { id: id.clone(), bytes: bytes.clone() });
        }
        observer.event(BuildEvent::StepFinished {
            id,
            name: step,
            cached: false,
            error: None,
            seconds: 0.0,
        });
        if let Some(kind) = self.broken.get(&short(&request.name)) {
            let said = String::from_utf8(self.says.concat()).unwrap();
            return Err(BackendError::new(*kind, format!("as the test wants{said}")));
        }
        let mut image = LocalImage { id: String::new(), labels: request.labels.clone() };
        image.id = Digest::of(&self.config(&image)).to_string();
        if request.named {
            self.store.lock().unwrap().insert(request.name.to_string(), image.clone());
        }
        Ok(Built::InStore(image))
    }

    async fn platforms(&self) -> Result<BTreeSet<Platform>, BackendError> {
        self.answers().map(|()| self.builds_for.clone())
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(self)
    }
}

#[async_trait]
impl Engine for FakeEngine<'_> {
    async fn find(&self, name: &Reference) -> Result<Option<LocalImage>, BackendError> {
        Ok(self.store.lock().unwrap().get(&name.to_string()).cloned())
    }

    async fn push(&self, name: &Reference, _: &Credential) -> Result<Digest, BackendError> {
        let registry = self.registry.unwrap();
        self.pushed.lock().unwrap().push(name.clone());
        if let Some(kind) = self.push_failures.lock().unwrap().pop() {
            let words =
                if self.push_words.is_empty() { "as the test wants" } else { &self.push_words };
            return Err(BackendError::new(kind, words));
        }
        let image = self.store.lock().unwrap()[&name.to_string()].clone();
        let digest = registry.push(name, &self.config(&image));
        if let Some(rival) = &self.after_push {
            rival(registry, name);
        }
        Ok(digest)
    }

    async fn pull(
        &self,
        source: &Reference,
        _: &Platform,
        _: &Credential,
    ) -> Result<LocalImage, BackendError> {
        self.answers()?;
        self.pulled.lock().unwrap().push(source.clone());
        let id = source.digest().unwrap().to_string();
        Ok(LocalImage { id, labels: BTreeMap::new() })
    }

    async fn tag(&self, image: &LocalImage, name: &Reference) -> Result<(), BackendError> {
        self.store.lock().unwrap().insert(name.to_string(), image.clone());
        Ok(())
    }

    fn containers(&self) -> Option<&dyn ContainerBackend> {
        self.containers.as_ref().map(|containers| containers as &dyn ContainerBackend)
    }

    fn contents_backend(&self) -> Option<&dyn ContentsBackend> {
        self.contents.as_ref().map(|contents| contents as &dyn ContentsBackend)
    }
}

/// Containers that end as a test says, by the text of their command. Others end well.
#[derive(Default)]
pub(crate) struct FakeContainers {
    pub ends: BTreeMap<String, ContainerEnd>,
    /// What each command writes.
    pub output: Vec<u8>,
    pub ran: Mutex<Vec<ContainerRequest>>,
}

impl FakeContainers {
    pub(crate) fn ending(command: &str, end: ContainerEnd) -> Self {
        Self { ends: BTreeMap::from([(command.to_owned(), end)]), ..Self::default() }
    }

    pub(crate) fn commands(&self) -> Vec<String> {
        self.ran.lock().unwrap().iter().map(|request| request.command.to_string()).collect()
    }
}

#[async_trait]
impl ContainerBackend for FakeContainers {
    async fn run_container(
        &self,
        request: ContainerRequest,
        output: &(dyn for<'piece> Fn(&'piece [u8]) + Sync),
    ) -> Result<ContainerEnd, BackendError> {
        self.ran.lock().unwrap().push(request.clone());
        output(&self.output);
        let end = self.ends.get(&request.command.to_string());
        Ok(end.cloned().unwrap_or(ContainerEnd::Exited(0)))
    }

    async fn platform(&self) -> Result<Option<Platform>, BackendError> {
        Ok(Some(Platform::linux_amd64()))
    }
}

/// Every image is made of this.
#[derive(Default)]
pub(crate) struct FakeContents(pub EngineContents);

#[async_trait]
impl ContentsBackend for FakeContents {
    async fn contents(&self, _: &LocalImage) -> Result<EngineContents, BackendError> {
        Ok(self.0.clone())
    }
}

/// The config of somebody else's image with the same key.
pub(crate) fn rival_config(key: &str) -> Vec<u8> {
    serde_json::to_vec(&serde_json::json!({
        "os": "linux",
        "architecture": "amd64",
        "config": {"Labels": {KEY_LABEL: key}},
        "nonce": "rival",
    }))
    .unwrap()
}
