//! Images that need no engine: what builds them, where they stay, and how they and an engine's images are
//! based on one another.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::Mutex;

use async_trait::async_trait;
use dockit_core::backend::{
    ArchiveBackend, Assembler, BackendError, BackendErrorKind, BuildBackend, BuildEvent,
    BuildObserver, BuildRequest, Built, ByteStream, Engine, KEY_LABEL, LayoutStore, LocalImage,
    NamedBackend, Pushed, StoreSettings,
};
use dockit_core::events::{Event, Observer};
use dockit_core::execute::{ImageErrorKind, RunReport, Status};
use dockit_core::story::{self, Request, Services};
use dockit_core::{Error, ImageGraph, Project, doctor};
use dockit_registry::layout::Layout;
use dockit_registry::manifest::Manifest;
use dockit_registry::{Client, Credential, Digest, Platform, Reference};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{FakeEngine, TestProject, image};

/// `base` ← `app`, which runs a command if it is told so, ← `top`.
fn project(registry: &str, app: &str) -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            &format!("[project]\n{registry}\n[images.base]\n[images.app]\n[images.top]\n"),
        ),
        ("base/Dockerfile", "FROM scratch\nENV A=1\nCOPY file /base\n"),
        ("base/file", "base"),
        ("app/Dockerfile", app),
        ("top/Dockerfile", "FROM app\nCOPY --from=base /base /copied\n"),
    ])
}

const RUNS: &str = "FROM base\nARG X\nRUN make \\\n    all\n";
const STILL: &str = "FROM base\nLABEL still=yes\n";

fn client(project: &Project) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().layouts_relative_to(&project.root).build().unwrap()
}

fn assembler(project: &Project, client: &Client) -> Assembler {
    let settings = StoreSettings { root: project.root.clone(), ..StoreSettings::default() };
    let directory = project.state_directory().join("images");
    Assembler::new(LayoutStore::new(directory, client.clone(), settings))
}

/// What built each image, and the steps of the builds.
#[derive(Default)]
struct Heard {
    builds: Mutex<BTreeMap<String, String>>,
    steps: Mutex<Vec<String>>,
}

impl Observer for Heard {
    fn event(&self, event: Event) {
        match event {
            Event::BuildStarted { image, backend, .. } => {
                let backend = backend.unwrap_or_default();
                self.builds.lock().unwrap().insert(image.to_string(), backend);
            }
            Event::Build { event: BuildEvent::StepFinished { name, .. }, .. } => {
                self.steps.lock().unwrap().push(name);
            }
            _ => {}
        }
    }
}

async fn build(
    project: &Project,
    engine: &dyn Engine,
    backends: &[NamedBackend<'_>],
    heard: &Heard,
) -> Result<RunReport, Error> {
    let registry = client(project);
    let services = Services { registry: &registry, engine, backends, observer: heard };
    let cancel = CancellationToken::new();
    let built = story::build(project, &Request::default(), &services, &cancel).await?;
    built.recorded.unwrap();
    Ok(built.report)
}

fn status(report: &RunReport, name: &str) -> Status {
    report.image(&image(name)).unwrap().status
}

fn gone() -> FakeEngine<'static> {
    let engine = FakeEngine::default();
    engine.gone.store(true, std::sync::atomic::Ordering::SeqCst);
    engine
}

fn optional<'a>(backend: &'a dyn BuildBackend) -> NamedBackend<'a> {
    NamedBackend { optional: true, ..NamedBackend::new("engine", backend) }
}

#[tokio::test]
async fn where_no_engine_is_found_images_stay_in_the_assemblers_store() {
    let files = project("", STILL);
    let project = files.load();
    let assembler = assembler(&project, &client(&project));
    let (engine, heard) = (gone(), Heard::default());
    let backends = [optional(&engine), NamedBackend::new("assemble", &assembler)];
    let report = build(&project, &engine, &backends, &heard).await.unwrap();
    assert!(report.succeeded(), "{report:?}");
    let steps = heard.steps.lock().unwrap().clone();
    assert!(steps.iter().any(|step| step.contains("COPY file /base")), "{steps:?}");
    for name in ["base", "app", "top"] {
        let ended = report.image(&image(name)).unwrap();
        assert_eq!(
            (ended.status, ended.digest.is_some(), ended.pushed),
            (Status::Built, false, false)
        );
        let found = assembler.store().find(&ended.reference).await.unwrap().unwrap();
        assert_eq!(found.labels[KEY_LABEL], ended.key.to_string());
    }
    let again = build(&project, &engine, &backends, &heard).await.unwrap();
    assert_eq!(again.count(Status::Reused), 3);
    // Only what changed, and what depends on it.
    files.write("top/Dockerfile", "FROM app\nCOPY --from=base /base /other\n");
    let project = files.load();
    let changed = build(&project, &engine, &backends, &heard).await.unwrap();
    assert_eq!((status(&changed, "top"), changed.count(Status::Built)), (Status::Built, 1));
}

#[tokio::test]
async fn an_engine_that_this_user_may_not_speak_to_is_none() {
    let files = project("", RUNS);
    let project = files.load();
    let assembler = assembler(&project, &client(&project));
    let engine = FakeEngine { absence: Some(BackendErrorKind::Forbidden), ..gone() };
    let heard = Heard::default();
    let backends = [optional(&engine), NamedBackend::new("assemble", &assembler)];
    let report = build(&project, &engine, &backends, &heard).await.unwrap();
    assert_eq!(status(&report, "base"), Status::Built);
    let error = report.image(&image("app")).unwrap().error.clone().unwrap();
    assert!(error.message.starts_with("line 3 of its Dockerfile runs a command"), "{error}");
}

#[tokio::test]
async fn what_is_refused_here_is_the_engines_if_there_is_one() {
    let files = TestProject::new(&[
        ("dockit.toml", "[project]\n[images.odd]\n[images.plain]\n"),
        // The name is that of a whiteout: a layer cannot hold it, and what an engine does is its affair.
        ("odd/Dockerfile", "FROM plain\nCOPY file /.wh.file\n"),
        ("odd/file", "1"),
        ("plain/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("plain/file", "1"),
    ]);
    let project = files.load();
    let assembler = assembler(&project, &client(&project));
    let (engine, heard) = (Archiving::default(), Heard::default());
    let backends =
        [NamedBackend::new("engine", &engine), NamedBackend::new("assemble", &assembler)];
    let report = build(&project, &engine, &backends, &heard).await.unwrap();
    assert!(report.succeeded(), "{report:?}");
    let by = |name: &str| report.image(&image(name)).unwrap().backend.clone().unwrap();
    assert_eq!((by("plain").as_str(), by("odd").as_str()), ("assemble", "engine"));
    // Where there is none, its line is told, and who may build it.
    let alone = [backends[1]];
    let report = build(&project, assembler.store(), &alone, &heard).await.unwrap();
    let error = report.image(&image("odd")).unwrap().error.clone().unwrap();
    assert_eq!(error.kind, ImageErrorKind::Build);
    assert!(error.message.contains("line 2"), "{error}");
    assert!(error.message.contains("--backend engine"), "{error}");
}

#[tokio::test]
async fn a_command_without_an_engine_fails_its_image_with_its_line() {
    let files = project("", RUNS);
    let project = files.load();
    let assembler = assembler(&project, &client(&project));
    let (engine, heard) = (gone(), Heard::default());
    let backends = [optional(&engine), NamedBackend::new("assemble", &assembler)];
    let report = build(&project, &engine, &backends, &heard).await.unwrap();
    assert_eq!(status(&report, "base"), Status::Built);
    assert_eq!(status(&report, "top"), Status::Skipped);
    let error = report.image(&image("app")).unwrap().error.clone().unwrap();
    assert_eq!(error.kind, ImageErrorKind::Engine);
    assert!(
        error.message.starts_with("line 3 of its Dockerfile runs a command (RUN make"),
        "{error}"
    );
    assert!(error.message.contains("[backends.NAME]"), "{error}");
    assert!(engine.built.lock().unwrap().is_empty());
}

#[test]
fn a_run_or_a_test_in_a_container_wants_an_engine() {
    let wants = |app: &str, test: &str| {
        let files = project("", app);
        let toml = format!("[images.base]\n[images.app]\n{test}\n[images.top]\n");
        files.write("dockit.toml", &toml);
        doctor::wants_engine(&ImageGraph::new(&files.load()).unwrap())
    };
    assert!(!wants(STILL, ""));
    assert!(wants(RUNS, ""));
    assert!(!wants(STILL, "test = [{ run = \"true\", on = \"host\" }]"));
    assert!(wants(STILL, "test = [\"true\"]"));
}

#[tokio::test]
async fn an_engine_that_was_named_is_not_passed_over() {
    let files = project("", STILL);
    let project = files.load();
    let assembler = assembler(&project, &client(&project));
    let (engine, heard) = (Nobody, Heard::default());
    let backends =
        [NamedBackend::new("engine", &engine), NamedBackend::new("assemble", &assembler)];
    let error = build(&project, &engine, &backends, &heard).await.unwrap_err();
    assert!(matches!(error, Error::Backend(_)), "{error}");
}

#[tokio::test]
async fn what_lies_in_a_layout_is_pushed_always_and_asks_no_engine() {
    let files = project("registry = \"oci:out\"\npush = \"auto\"", STILL);
    let project = files.load();
    let assembler = assembler(&project, &client(&project));
    let (engine, heard) = (Nobody, Heard::default());
    let backends =
        [NamedBackend::new("engine", &engine), NamedBackend::new("assemble", &assembler)];
    let report = build(&project, &engine, &backends, &heard).await.unwrap();
    assert!(report.succeeded(), "{report:?}");
    let layout = Layout::open(&project.root.join("out")).unwrap();
    for ended in &report.images {
        assert_eq!((ended.status, ended.pushed), (Status::Built, true));
        let name = format!("{}:{}", ended.image, ended.key.tag()).parse().unwrap();
        let found = layout.find(Some(&name), None).unwrap().unwrap();
        assert_eq!(Some(&found.digest), ended.digest.as_ref());
        assert!(matches!(
            layout.manifest(&found.digest).unwrap().parse().unwrap(),
            Manifest::Image(image) if image.layers.iter().all(|layer| layout.has_blob(layer).unwrap())
        ));
    }
    let again = build(&project, &engine, &backends, &heard).await.unwrap();
    assert_eq!(again.count(Status::Reused), 3);
    // Of two that push under one tag, the later takes what the other has put.
    let (base, top) = (report.image(&image("base")).unwrap(), report.image(&image("top")).unwrap());
    let (ours, theirs) = (base.digest.clone().unwrap(), top.digest.clone().unwrap());
    let store = assembler.store();
    let local = LocalImage { id: ours.to_string(), labels: BTreeMap::new() };
    store.tag(&local, &top.reference).await.unwrap();
    let nobody = Credential::Anonymous;
    let late = store.push_unless_taken(&top.reference, None, &nobody).await.unwrap();
    assert_eq!(late, Pushed::Theirs(theirs.clone()));
    let name = format!("top:{}", top.key.tag()).parse().unwrap();
    let on = || layout.find(Some(&name), None).unwrap().unwrap().digest;
    assert_eq!(on(), theirs);
    let moved = store.push_unless_taken(&top.reference, Some(&theirs), &nobody).await.unwrap();
    assert_eq!((moved, on()), (Pushed::Ours(ours.clone()), ours.clone()));
    let local = LocalImage { id: theirs.to_string(), labels: BTreeMap::new() };
    store.tag(&local, &top.reference).await.unwrap();
    store.push_unless_taken(&top.reference, Some(&ours), &nobody).await.unwrap();
    assert_eq!(on(), theirs);
    // The layout lies in no build context, and the lockfile can name what is in it.
    let pin = Request { pin: true, ..Request::default() };
    let registry = client(&project);
    let services =
        Services { registry: &registry, engine: &engine, backends: &backends, observer: &heard };
    let pinned = story::build(&project, &pin, &services, &CancellationToken::new()).await.unwrap();
    pinned.recorded.unwrap();
    let lockfile = dockit_core::Lockfile::load(&project.lockfile).unwrap();
    let locked = lockfile.image(&image("top")).unwrap();
    assert!(locked.reference.to_string().starts_with("oci:out:top:k1-"), "{}", locked.reference);
}

#[tokio::test]
async fn an_engines_images_and_assembled_ones_are_based_on_one_another() {
    let files = project("", RUNS);
    let project = files.load();
    let assembler = assembler(&project, &client(&project));
    let (engine, heard) = (Archiving::default(), Heard::default());
    let backends = [optional(&engine), NamedBackend::new("assemble", &assembler)];
    let report = build(&project, &engine, &backends, &heard).await.unwrap();
    assert!(report.succeeded(), "{report:?}");
    let by = heard.builds.lock().unwrap().clone();
    assert_eq!((&*by["base"], &*by["app"], &*by["top"]), ("assemble", "engine", "assemble"));
    // All of them are in the engine, under their content tags, and say their keys.
    let mut ids = BTreeSet::new();
    for ended in &report.images {
        let found = engine.find(&ended.reference).await.unwrap().unwrap();
        assert_eq!(found.labels[KEY_LABEL], ended.key.to_string());
        ids.insert(found.id);
    }
    assert_eq!(ids.len(), 3);
    // The top one has the layer that only the engine had, as it was.
    let top = report.image(&image("top")).unwrap();
    let found = engine.find(&top.reference).await.unwrap().unwrap();
    let files = unpacked(&engine.images.lock().unwrap()[&found.id]);
    let layers = files["manifest.json"].clone();
    let layers: serde_json::Value = serde_json::from_slice(&layers).unwrap();
    let layers = layers[0]["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3, "{layers:?}");
    let again = build(&project, &engine, &backends, &heard).await.unwrap();
    assert_eq!(again.count(Status::Reused), 3);
}

/// An engine that is not to be asked anything.
struct Nobody;

fn refused() -> BackendError {
    BackendError::new(BackendErrorKind::Unavailable, "it must not be asked")
}

#[async_trait]
impl BuildBackend for Nobody {
    async fn build(&self, _: BuildRequest, _: &dyn BuildObserver) -> Result<Built, BackendError> {
        Err(refused())
    }

    async fn platforms(&self) -> Result<BTreeSet<Platform>, BackendError> {
        Err(refused())
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(self)
    }
}

#[async_trait]
impl Engine for Nobody {
    async fn find(&self, _: &Reference) -> Result<Option<LocalImage>, BackendError> {
        Err(refused())
    }

    async fn push(&self, _: &Reference, _: &Credential) -> Result<Digest, BackendError> {
        Err(refused())
    }

    async fn pull(
        &self,
        _: &Reference,
        _: &Platform,
        _: &Credential,
    ) -> Result<LocalImage, BackendError> {
        Err(refused())
    }

    async fn tag(&self, _: &LocalImage, _: &Reference) -> Result<(), BackendError> {
        Err(refused())
    }
}

/// An engine that keeps whole images as archives, and whose builds add one layer to their first base.
#[derive(Default)]
struct Archiving {
    images: Mutex<BTreeMap<String, Vec<u8>>>,
    names: Mutex<BTreeMap<String, LocalImage>>,
}

type Files = BTreeMap<String, Vec<u8>>;

fn unpacked(archive: &[u8]) -> Files {
    let mut files = Files::new();
    for file in tar::Archive::new(archive).entries().unwrap() {
        let mut file = file.unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        files.insert(file.path().unwrap().display().to_string(), content);
    }
    files
}

fn packed(files: &Files) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap()
}

impl Archiving {
    fn keep(&self, files: &Files) -> LocalImage {
        let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        let config = &files[manifest[0]["Config"].as_str().unwrap()];
        let parsed: serde_json::Value = serde_json::from_slice(config).unwrap();
        let labels = parsed["config"]["Labels"].as_object().cloned().unwrap_or_default();
        let labels =
            labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let image = LocalImage { id: Digest::of(config).to_string(), labels: labels.collect() };
        self.images.lock().unwrap().insert(image.id.clone(), packed(files));
        image
    }
}

#[async_trait]
impl BuildBackend for Archiving {
    async fn build(
        &self,
        request: BuildRequest,
        _: &dyn BuildObserver,
    ) -> Result<Built, BackendError> {
        let base = self.find(&request.keyed_images[0]).await?.expect("its base is here");
        let mut files = unpacked(&self.images.lock().unwrap()[&base.id]);
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&files["manifest.json"]).unwrap();
        let config = manifest[0]["Config"].as_str().unwrap().to_owned();
        let mut parsed: serde_json::Value = serde_json::from_slice(&files[&config]).unwrap();
        let layer = packed(&Files::from([("made".to_owned(), b"made".to_vec())]));
        parsed["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(Digest::of(&layer)));
        parsed["config"]["Labels"] = json!(request.labels);
        manifest[0]["Layers"].as_array_mut().unwrap().push(json!("made/layer.tar"));
        files.insert("made/layer.tar".to_owned(), layer);
        files.insert("made/VERSION".to_owned(), b"1.0".to_vec());
        files.insert(config, parsed.to_string().into_bytes());
        files.insert("manifest.json".to_owned(), manifest.to_string().into_bytes());
        let image = self.keep(&files);
        self.tag(&image, &request.name).await?;
        Ok(Built::InStore(image))
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(self)
    }
}

#[async_trait]
impl Engine for Archiving {
    async fn find(&self, name: &Reference) -> Result<Option<LocalImage>, BackendError> {
        Ok(self.names.lock().unwrap().get(&name.to_string()).cloned())
    }

    async fn push(&self, _: &Reference, _: &Credential) -> Result<Digest, BackendError> {
        Err(refused())
    }

    async fn pull(
        &self,
        _: &Reference,
        _: &Platform,
        _: &Credential,
    ) -> Result<LocalImage, BackendError> {
        Err(refused())
    }

    async fn tag(&self, image: &LocalImage, name: &Reference) -> Result<(), BackendError> {
        self.names.lock().unwrap().insert(name.to_string(), image.clone());
        Ok(())
    }

    fn archives(&self) -> Option<&dyn ArchiveBackend> {
        Some(self)
    }
}

#[async_trait]
impl ArchiveBackend for Archiving {
    async fn export(&self, image: &LocalImage) -> Result<ByteStream, BackendError> {
        let archive = self.images.lock().unwrap()[&image.id].clone();
        let pieces: Vec<_> =
            archive.chunks(1000).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
        Ok(stream::iter(pieces).boxed())
    }

    async fn load(&self, config: &str, archive: ByteStream) -> Result<LocalImage, BackendError> {
        let pieces: Vec<bytes::Bytes> = archive.try_collect().await.unwrap();
        let image = self.keep(&unpacked(&pieces.concat()));
        assert_eq!(image.id, config);
        Ok(image)
    }

    async fn find_id(&self, id: &str) -> Result<Option<LocalImage>, BackendError> {
        let there = self.images.lock().unwrap().contains_key(id);
        let mut names = self.names.lock().unwrap().clone().into_values();
        Ok(there.then(|| names.find(|image| image.id == id)).flatten())
    }
}
