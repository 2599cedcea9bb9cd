//! Backends that keep no images: they push by digest, and the content tag is put afterwards.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dockit_core::backend::{
    BackendError, BackendErrorKind, BuildBackend, BuildObserver, BuildRequest, Built, ContainerEnd,
    DockerEngine, Engine, KEY_LABEL, LocalImage, NamedBackend,
};
use dockit_core::events::Silent;
use dockit_core::execute::{ImageErrorKind, RunReport, Status};
use dockit_core::story::{self, Request, Services};
use dockit_core::{Error, PushPolicy, config};
use dockit_registry::{Digest, Reference};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeContainers, FakeEngine, MemoryRegistry, TestProject, rival_config};

type AfterPush<'a> = Box<dyn Fn(&MemoryRegistry, &Reference) + Send + Sync + 'a>;

/// Pushes what it builds.
#[derive(Default)]
struct FakeRemote<'a> {
    registry: Option<&'a MemoryRegistry>,
    built: Mutex<Vec<(BuildRequest, Digest)>>,
    /// Says nothing of the key on what it pushes.
    forgets_labels: bool,
    after_push: Option<AfterPush<'a>>,
    /// Pushes that fail first, for a reason that may pass.
    failures: AtomicUsize,
}

#[async_trait]
impl BuildBackend for FakeRemote<'_> {
    async fn build(
        &self,
        request: BuildRequest,
        _: &dyn BuildObserver,
    ) -> Result<Built, BackendError> {
        let registry = self.registry.unwrap();
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.fetch_sub(1, Ordering::Relaxed);
            return Err(BackendError::new(BackendErrorKind::RegistryPassing, "503"));
        }
        let mut image = LocalImage { id: String::new(), labels: request.labels.clone() };
        if self.forgets_labels {
            image.labels.clear();
        }
        let config = FakeEngine::default().config(&image);
        let digest = registry.push_by_digest(&request.name, &config);
        if let Some(after) = &self.after_push {
            after(registry, &request.name);
        }
        self.built.lock().unwrap().push((request, digest.clone()));
        Ok(Built::Pushed(digest))
    }

    fn keeps_layers(&self) -> bool {
        true
    }
}

fn project(more: &str) -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"r.example/p\"\n[images.base]\n{more}\n[images.app]\n"
            ),
        ),
        ("base/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("base/file", "base"),
        ("app/Dockerfile", "FROM base\nCOPY file /app\n"),
        ("app/file", "app"),
    ])
}

async fn build(
    project: &TestProject,
    registry: &MemoryRegistry,
    remote: &FakeRemote<'_>,
    engine: &FakeEngine<'_>,
) -> RunReport {
    let built = try_build(project, registry, remote, engine, |_| {}).await;
    built.unwrap().report
}

async fn try_build(
    project: &TestProject,
    registry: &MemoryRegistry,
    remote: &FakeRemote<'_>,
    engine: &dyn Engine,
    change: impl FnOnce(&mut Request),
) -> Result<story::Built, Error> {
    let backends = &[NamedBackend::new("remote", remote)];
    let services = Services { registry, engine, backends, observer: &Silent };
    let mut request = Request { push: Some(PushPolicy::Always), ..Request::default() };
    change(&mut request);
    let cancel = CancellationToken::new();
    let file = project.root().join("dockit.toml");
    let project = config::load(&file, &config::LoadOptions::default()).unwrap();
    story::build(&project, &request, &services, &cancel).await
}

fn content_tag(report: &RunReport, index: usize) -> String {
    report.images[index].reference.to_string()
}

#[tokio::test(start_paused = true)]
async fn what_was_pushed_by_digest_gets_its_content_tag_and_dependents_name_the_digest() {
    let (project, registry) = (project(""), MemoryRegistry::default());
    let remote = FakeRemote { registry: Some(&registry), ..FakeRemote::default() };
    let engine = FakeEngine::default();
    let report = build(&project, &registry, &remote, &engine).await;
    let built = remote.built.lock().unwrap();
    for (image, (_, digest)) in report.images.iter().zip(&*built) {
        assert_eq!((image.status, image.pushed), (Status::Built, true));
        assert_eq!(image.digest.as_ref(), Some(digest));
        assert_eq!(registry.digest_of(&image.reference.to_string()).as_ref(), Some(digest));
    }
    let dockerfile = String::from_utf8(built[1].0.dockerfile.clone()).unwrap();
    assert!(dockerfile.contains(&format!("FROM r.example/p/base@{}", built[0].1)), "{dockerfile}");
    assert!(engine.pulled.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn tests_run_on_the_digest_in_the_engine_before_there_is_a_content_tag() {
    let (project, registry) = (project("test = [\"check\"]"), MemoryRegistry::default());
    let remote = FakeRemote { registry: Some(&registry), ..FakeRemote::default() };
    let containers = FakeContainers::ending("check", ContainerEnd::Exited(1));
    let engine = FakeEngine { containers: Some(containers), ..FakeEngine::default() };
    let report = build(&project, &registry, &remote, &engine).await;
    assert_eq!(report.images[0].error.as_ref().unwrap().kind, ImageErrorKind::Test);
    assert_eq!(report.images[1].status, Status::Skipped);
    assert_eq!(registry.content_tags(), 0);
    let digest = remote.built.lock().unwrap()[0].1.clone();
    assert_eq!(engine.pulled.lock().unwrap()[0].digest(), Some(&digest));
}

#[tokio::test(start_paused = true)]
async fn a_rival_that_was_faster_is_taken_over() {
    let (project, registry) = (project(""), MemoryRegistry::default());
    let key = project.key("base");
    let rival: AfterPush<'_> = Box::new(move |registry, name| {
        if name.repository().to_string().ends_with("/base") {
            registry.push(name, &rival_config(&key));
        }
    });
    let remote =
        FakeRemote { registry: Some(&registry), after_push: Some(rival), ..FakeRemote::default() };
    let report = build(&project, &registry, &remote, &FakeEngine::default()).await;
    assert_eq!((report.images[0].status, report.images[0].pushed), (Status::Reused, true));
    assert_eq!(registry.digest_of(&content_tag(&report, 0)), report.images[0].digest);
    let built = remote.built.lock().unwrap();
    assert_ne!(report.images[0].digest.as_ref(), Some(&built[0].1));
    let base = report.images[0].digest.as_ref().unwrap();
    let dockerfile = String::from_utf8(built[1].0.dockerfile.clone()).unwrap();
    assert!(dockerfile.contains(base.as_str()), "nothing names the loser: {dockerfile}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_say_that_it_has_the_key_gets_no_content_tag() {
    let (project, registry) = (project(""), MemoryRegistry::default());
    let remote =
        FakeRemote { registry: Some(&registry), forgets_labels: true, ..FakeRemote::default() };
    let report = build(&project, &registry, &remote, &FakeEngine::default()).await;
    let error = report.images[0].error.as_ref().unwrap();
    assert_eq!(error.kind, ImageErrorKind::Registry);
    assert!(remote.built.lock().unwrap()[0].0.labels.contains_key(KEY_LABEL));
    assert_eq!(registry.content_tags(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_may_use_no_layer_cache_is_built_once_however_often_it_is_pushed() {
    for (failures, layer_cache) in [(0, false), (2, true)] {
        let (project, registry) = (project("layer-cache = false"), MemoryRegistry::default());
        let remote = FakeRemote { registry: Some(&registry), ..FakeRemote::default() };
        remote.failures.store(failures, Ordering::Relaxed);
        let report = build(&project, &registry, &remote, &FakeEngine::default()).await;
        assert!(report.succeeded(), "{report:?}");
        let (base, _) = &remote.built.lock().unwrap()[0];
        assert_eq!(base.layer_cache, layer_cache, "after {failures} failures");
        assert!(base.cache_sources.is_empty() && base.kept_layers.is_empty() && !base.export_cache);
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_that_may_pass_is_tried_again_by_building_again() {
    let (project, registry) = (project(""), MemoryRegistry::default());
    let remote = FakeRemote { registry: Some(&registry), ..FakeRemote::default() };
    remote.failures.store(3, Ordering::Relaxed);
    let report = build(&project, &registry, &remote, &FakeEngine::default()).await;
    assert!(report.succeeded(), "{report:?}");
    remote.failures.store(usize::MAX, Ordering::Relaxed);
    project.write("base/file", "other");
    let report = build(&project, &registry, &remote, &FakeEngine::default()).await;
    assert_eq!(report.images[0].error.as_ref().unwrap().kind, ImageErrorKind::Registry);
    assert_eq!(remote.failures.load(Ordering::Relaxed), usize::MAX - 5, "not for ever");
}

#[tokio::test]
async fn without_a_push_there_must_be_something_that_keeps_images() {
    let (project, registry) = (project(""), MemoryRegistry::default());
    let remote = FakeRemote { registry: Some(&registry), ..FakeRemote::default() };
    let never = |request: &mut Request| request.push = Some(PushPolicy::Never);
    let built = try_build(&project, &registry, &remote, &FakeEngine::default(), never).await;
    let Err(Error::Usage(message)) = built else {
        panic!("{built:?}");
    };
    assert!(message.contains("base, app would be built and not pushed"), "{message}");
    assert!(remote.built.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_needs_an_engine_is_refused_without_one_before_anything_is_built() {
    let nowhere = DockerEngine::new("unix:///nonexistent/docker.sock");
    for (more, load, refused) in
        [("test = [\"check\"]", false, true), ("", true, true), ("", false, false)]
    {
        let (project, registry) = (project(more), MemoryRegistry::default());
        let remote = FakeRemote { registry: Some(&registry), ..FakeRemote::default() };
        let built =
            try_build(&project, &registry, &remote, &nowhere, |request| request.load = load).await;
        if refused {
            let Err(Error::Backend(error)) = built else {
                panic!("{built:?}");
            };
            assert_eq!(error.kind, BackendErrorKind::Unavailable);
            assert!(remote.built.lock().unwrap().is_empty());
        } else {
            assert!(built.unwrap().report.succeeded());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn layers_are_looked_for_and_kept_by_branch() {
    let (project, registry) = (project(""), MemoryRegistry::default());
    let toml = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    let with = |more: &str| {
        let cache = format!("[project]\ncache-registry = \"r.example/layers\"\n{more}");
        project.write("dockit.toml", &toml.replace("[project]\n", &cache));
    };
    with("");
    let main = registry.push(&"r.example/layers/base:main".parse().unwrap(), b"layers");
    let on_a_branch = |request: &mut Request| {
        request.ci.ci = true;
        request.ci.branch = Some("a/b".to_owned());
        request.ci.default_branch = Some("main".to_owned());
    };
    let remote = FakeRemote { registry: Some(&registry), ..FakeRemote::default() };
    let engine = FakeEngine::default();
    try_build(&project, &registry, &remote, &engine, on_a_branch).await.unwrap();
    let (base, app) = {
        let built = remote.built.lock().unwrap();
        (built[0].0.clone(), built[1].0.clone())
    };
    let found: Vec<String> = base.kept_layers.iter().map(|it| it.image.to_string()).collect();
    assert_eq!(found, [format!("r.example/layers/base@{main}")]);
    assert!(app.kept_layers.is_empty());
    let place = |request: &BuildRequest| request.keep_layers.as_ref().map(ToString::to_string);
    assert_eq!(place(&base).as_deref(), Some("r.example/layers/base:a-b"));
    assert_eq!(place(&app).as_deref(), Some("r.example/layers/app:a-b"));

    with("layer-cache = false\n");
    project.write("base/file", "other");
    try_build(&project, &registry, &remote, &engine, on_a_branch).await.unwrap();
    let built = remote.built.lock().unwrap();
    assert!(built[2].0.kept_layers.is_empty() && place(&built[2].0).is_none());
}
