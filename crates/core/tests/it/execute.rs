//! Doing it: order, failures, races, cancellation.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use dockit_core::backend::{
    BackendError, BackendErrorKind, BuildBackend, BuildObserver, BuildRequest, Built, Engine,
    LocalImage, NamedBackend,
};
use dockit_core::ci::CiRun;
use dockit_core::events::Silent;
use dockit_core::execute::{ImageErrorKind, RunReport, Status};
use dockit_core::story::{self, Request, Services};
use dockit_core::{Error, Lockfile, PushPolicy};
use dockit_registry::{Credential, Digest, ErrorKind, Platform, Reference};
use tokio_util::sync::CancellationToken;

use crate::support::{
    FakeEngine, MemoryRegistry, TestProject, diamond, image, rival_config, short,
};

const REGISTRY: &str = "r.example/p";

fn pushing() -> Request {
    Request { push: Some(PushPolicy::Always), ..Request::default() }
}

async fn build(
    project: &TestProject,
    registry: &MemoryRegistry,
    engine: &FakeEngine<'_>,
    request: &Request,
) -> Result<RunReport, Error> {
    let services =
        Services { registry, engine, backends: &[NamedBackend::only(engine)], observer: &Silent };
    let built =
        story::build(&project.load(), request, &services, &CancellationToken::new()).await?;
    built.recorded.unwrap();
    Ok(built.report)
}

fn statuses(report: &RunReport) -> BTreeMap<&str, Status> {
    report.images.iter().map(|image| (image.image.as_str(), image.status)).collect()
}

fn engine(registry: &MemoryRegistry) -> FakeEngine<'_> {
    FakeEngine { registry: Some(registry), ..FakeEngine::default() }
}

#[tokio::test(start_paused = true)]
async fn the_second_run_builds_nothing_and_asks_once_for_each_key() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let first = engine(&registry);
    let report = build(&project, &registry, &first, &pushing()).await.unwrap();
    assert_eq!(report.count(Status::Built), 5);
    assert!(report.images.iter().all(|image| image.pushed && image.digest.is_some()));
    let built = first.built_names();
    let position = |name| built.iter().position(|built| built == name).unwrap();
    assert!(position("base") < position("left").min(position("right")));
    assert!(position("left").max(position("right")) < position("top"));

    let second = engine(&registry);
    registry.heads.store(0, Ordering::Relaxed);
    let report = build(&project, &registry, &second, &pushing()).await.unwrap();
    assert_eq!(report.count(Status::Reused), 5);
    assert!(second.built_names().is_empty());
    assert_eq!(registry.heads.load(Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn after_a_change_just_the_affected_images_are_built() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    build(&project, &registry, &engine(&registry), &pushing()).await.unwrap();
    project.write("right/file", "changed");
    let engine = engine(&registry);
    let report = build(&project, &registry, &engine, &pushing()).await.unwrap();
    assert_eq!(engine.built_names(), ["right", "top"]);
    assert_eq!(statuses(&report)["left"], Status::Reused);
    assert!(engine.pulled.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_dockerfile_that_is_built_names_dependencies_by_digest() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let engine = engine(&registry);
    let report = build(&project, &registry, &engine, &pushing()).await.unwrap();
    let digest = |name: &str| report.image(&image(name)).unwrap().digest.clone().unwrap();
    let built = engine.built.lock().unwrap();
    let top = built.iter().find(|request| short(&request.name) == "top").unwrap();
    assert_eq!(
        String::from_utf8_lossy(&top.dockerfile),
        format!(
            "FROM r.example/p/left@{}\nCOPY --from=r.example/p/right@{} /right /right\n",
            digest("left"),
            digest("right")
        )
    );
    let on_disk = std::fs::read_to_string(project.root().join("top/Dockerfile")).unwrap();
    assert!(on_disk.starts_with("FROM left\n"), "the file on disk is untouched");
}

#[tokio::test(start_paused = true)]
async fn unpushed_dependencies_are_named_by_their_content_tag() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let engine = engine(&registry);
    let report = build(&project, &registry, &engine, &Request::default()).await.unwrap();
    assert!(report.images.iter().all(|image| !image.pushed && image.digest.is_none()));
    assert!(engine.pushed.lock().unwrap().is_empty());
    let base = report.image(&image("base")).unwrap();
    let dockerfile = {
        let built = engine.built.lock().unwrap();
        let left = built.iter().find(|request| short(&request.name) == "left").unwrap();
        String::from_utf8_lossy(&left.dockerfile).into_owned()
    };
    assert!(dockerfile.starts_with(&format!("FROM {}\n", base.reference)), "{dockerfile}");
    let again = build(&project, &registry, &engine, &Request::default()).await.unwrap();
    assert_eq!(again.count(Status::Reused), 5, "the engine's store is looked up");
}

#[tokio::test(start_paused = true)]
async fn a_failure_skips_only_what_depends_on_it() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let mut engine = engine(&registry);
    engine.broken.insert("left".to_owned(), BackendErrorKind::Build);
    let report = build(&project, &registry, &engine, &pushing()).await.unwrap();
    assert_eq!(
        statuses(&report),
        BTreeMap::from([
            ("alone", Status::Built),
            ("base", Status::Built),
            ("left", Status::Failed),
            ("right", Status::Built),
            ("top", Status::Skipped),
        ])
    );
    let top = report.image(&image("top")).unwrap().error.as_ref().unwrap();
    assert_eq!(top.kind, ImageErrorKind::Dependency);
    assert!(top.message.contains("left"), "{top}");
    assert!(!report.succeeded());
}

#[tokio::test(start_paused = true)]
async fn fail_fast_stops_what_has_not_begun() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let mut engine = engine(&registry);
    engine.broken.insert("left".to_owned(), BackendErrorKind::Build);
    let request = Request { jobs: NonZeroUsize::MIN, fail_fast: true, ..pushing() };
    let report = build(&project, &registry, &engine, &request).await.unwrap();
    assert_eq!(
        statuses(&report),
        BTreeMap::from([
            ("alone", Status::Cancelled),
            ("base", Status::Built),
            ("left", Status::Failed),
            ("right", Status::Cancelled),
            ("top", Status::Skipped),
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_builds_run_at_once() {
    let mut files = vec![("dockit.toml".to_owned(), String::new())];
    for index in 0..12 {
        files[0].1.push_str(&format!("[images.i{index}]\n"));
        files.push((format!("i{index}/Dockerfile"), format!("FROM scratch\nLABEL i={index}\n")));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let (project, registry) = (TestProject::new(&files), MemoryRegistry::default());
    for jobs in [1, 3] {
        let engine = FakeEngine { build_time: Duration::from_secs(5), ..engine(&registry) };
        let jobs = NonZeroUsize::new(jobs).unwrap();
        let request = Request { jobs, ..Request::default() };
        build(&project, &registry, &engine, &request).await.unwrap();
        assert_eq!(engine.most_running.load(Ordering::SeqCst), jobs.get());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_fails_builds_nothing() {
    for kind in
        [ErrorKind::Transient, ErrorKind::Unauthorized, ErrorKind::Denied, ErrorKind::Invalid]
    {
        let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
        *registry.failure.lock().unwrap() = Some(kind);
        let engine = engine(&registry);
        let error = build(&project, &registry, &engine, &pushing()).await.unwrap_err();
        assert!(matches!(error, Error::Lookup(_)), "{error}");
        assert!(engine.built_names().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_second_takes_the_first_ones_image_and_does_not_push() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    // Another run pushes `alone` while ours builds it.
    let slow = FakeEngine { build_time: Duration::from_secs(60), ..engine(&registry) };
    let request = Request { images: vec!["alone".to_owned()], ..pushing() };
    let key = project.key("alone");
    let rival = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        let name = format!("{REGISTRY}/alone:{}", key.replace(':', "-"));
        registry.push(&name.parse().unwrap(), &rival_config(&key))
    };
    let (report, rival) = tokio::join!(build(&project, &registry, &slow, &request), rival);
    let report = report.unwrap();
    let alone = report.image(&image("alone")).unwrap();
    assert_eq!(alone.status, Status::Reused);
    assert_eq!(alone.digest.as_ref(), Some(&rival));
    assert!(!alone.pushed);
    assert!(slow.pushed.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whose_push_is_overtaken_reports_what_the_tag_ends_on() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let key = project.key("base");
    let mut engine = engine(&registry);
    engine.after_push = Some(Box::new(move |registry, name| {
        if short(name) == "base" {
            registry.push(name, &rival_config(&key));
        }
    }));
    let request =
        Request { images: vec!["left".to_owned(), "base".to_owned()], pin: true, ..pushing() };
    let report = build(&project, &registry, &engine, &request).await.unwrap();
    let base = report.image(&image("base")).unwrap();
    assert_eq!((base.status, base.pushed), (Status::Reused, true));
    let winner = registry.digest_of(&base.reference.to_string()).unwrap();
    assert_eq!(base.digest.as_ref(), Some(&winner));
    // Neither the dependent's Dockerfile nor the lockfile names the loser.
    let built = engine.built.lock().unwrap();
    let left = built.iter().find(|request| short(&request.name) == "left").unwrap();
    assert!(String::from_utf8_lossy(&left.dockerfile).contains(winner.as_str()));
    let lockfile = Lockfile::load(&project.root().join("dockit.lock")).unwrap();
    let pinned = lockfile.image(&image("base")).unwrap();
    assert_eq!(pinned.reference.digest(), Some(&winner));
}

#[tokio::test]
async fn two_runs_at_once_both_end_on_the_digest_of_the_tag() {
    for round in 0..4 {
        let (project, registry) = (Arc::new(diamond(REGISTRY)), MemoryRegistry::default());
        let delay = |milliseconds| Duration::from_millis(milliseconds);
        let one = FakeEngine { nonce: "one".into(), build_time: delay(5), ..engine(&registry) };
        let two =
            FakeEngine { nonce: "two".into(), build_time: delay(4 + round), ..engine(&registry) };
        let request = pushing();
        let (first, second) = tokio::join!(
            build(&project, &registry, &one, &request),
            build(&project, &registry, &two, &request)
        );
        let (first, second) = (first.unwrap(), second.unwrap());
        for (a, b) in first.images.iter().zip(&second.images) {
            let tag = registry.digest_of(&a.reference.to_string());
            assert_eq!(a.digest, tag, "{}", a.image);
            assert_eq!(b.digest, tag, "{}", b.image);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_of_something_else_is_a_failure() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let request = Request { images: vec!["alone".to_owned()], ..pushing() };
    let swapped = SwappingEngine(engine(&registry));
    let services = Services {
        registry: &registry,
        engine: &swapped,
        backends: &[NamedBackend::only(&swapped)],
        observer: &Silent,
    };
    let report = story::build(&project.load(), &request, &services, &CancellationToken::new())
        .await
        .unwrap()
        .report;
    let alone = report.image(&image("alone")).unwrap();
    assert_eq!(alone.status, Status::Failed);
    assert_eq!(alone.error.as_ref().unwrap().kind, ImageErrorKind::Registry);
}

/// Pushes an image without dockit's label, whatever was built.
struct SwappingEngine<'a>(FakeEngine<'a>);

#[async_trait]
impl BuildBackend for SwappingEngine<'_> {
    async fn build(
        &self,
        request: BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<Built, BackendError> {
        self.0.build(request, observer).await
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(self)
    }
}

#[async_trait]
impl Engine for SwappingEngine<'_> {
    async fn find(&self, name: &Reference) -> Result<Option<LocalImage>, BackendError> {
        self.0.find(name).await
    }

    async fn push(&self, name: &Reference, _: &Credential) -> Result<Digest, BackendError> {
        let config = br#"{"os":"linux","architecture":"amd64","config":{}}"#;
        Ok(self.0.registry.unwrap().push(name, config))
    }

    async fn pull(
        &self,
        source: &Reference,
        platform: &Platform,
        credential: &Credential,
    ) -> Result<LocalImage, BackendError> {
        self.0.pull(source, platform, credential).await
    }

    async fn tag(&self, local: &LocalImage, name: &Reference) -> Result<(), BackendError> {
        self.0.tag(local, name).await
    }
}

#[tokio::test(start_paused = true)]
async fn cancelling_reports_what_was_done() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let engine = FakeEngine { build_time: Duration::from_secs(10), ..engine(&registry) };
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let cancel = CancellationToken::new();
    let loaded = project.load();
    let request = Request { jobs: NonZeroUsize::MIN, ..pushing() };
    let (report, ()) = tokio::join!(story::build(&loaded, &request, &services, &cancel), async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        cancel.cancel();
    });
    let report = report.unwrap().report;
    assert_eq!(statuses(&report)["base"], Status::Built);
    assert_eq!(report.count(Status::Cancelled), 4);
}

#[tokio::test(start_paused = true)]
async fn moving_tags_follow_the_image() {
    let project = TestProject::new(&[
        ("dockit.toml", "[project]\nregistry = \"r.example/p\"\n[images.a]\ntags = [\"latest\"]\n"),
        ("a/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("a/f", "1"),
    ]);
    let registry = MemoryRegistry::default();
    let tagged = |registry: &MemoryRegistry| registry.digest_of("r.example/p/a:latest");
    // There is no git repository that could say whether this is the default branch.
    let pushing = || Request { force_tags: true, ..pushing() };
    let first = build(&project, &registry, &engine(&registry), &pushing()).await.unwrap();
    assert_eq!(tagged(&registry), first.images[0].digest);
    project.write("a/f", "2");
    let second = build(&project, &registry, &engine(&registry), &pushing()).await.unwrap();
    assert_ne!(first.images[0].digest, second.images[0].digest);
    assert_eq!(tagged(&registry), second.images[0].digest);
    project.write("a/f", "1");
    let third = build(&project, &registry, &engine(&registry), &pushing()).await.unwrap();
    assert_eq!(third.images[0].status, Status::Retagged);
    assert_eq!(tagged(&registry), first.images[0].digest);
}

#[tokio::test(start_paused = true)]
async fn loading_brings_reused_images_into_the_engine_under_both_names() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    build(&project, &registry, &engine(&registry), &pushing()).await.unwrap();
    let fresh = engine(&registry);
    let request = Request { images: vec!["left".to_owned()], load: true, ..pushing() };
    let report = build(&project, &registry, &fresh, &request).await.unwrap();
    let left = report.image(&image("left")).unwrap();
    assert_eq!(left.status, Status::Reused);
    assert_eq!(fresh.pulled.lock().unwrap().len(), 1, "its dependency is not pulled");
    let store = fresh.store.lock().unwrap();
    assert!(store.contains_key(&left.reference.to_string()));
    assert!(store.contains_key("docker.io/library/left:latest"), "{:?}", store.keys());
}

#[tokio::test(start_paused = true)]
async fn rebuilding_a_present_image_leaves_its_content_tag_alone() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let first = build(&project, &registry, &engine(&registry), &pushing()).await.unwrap();
    let again = FakeEngine { nonce: "again".to_owned(), ..engine(&registry) };
    let request = Request { images: vec!["base".to_owned()], rebuild: true, ..pushing() };
    let report = build(&project, &registry, &again, &request).await.unwrap();
    let base = report.image(&image("base")).unwrap();
    assert_eq!((base.status, base.pushed), (Status::Built, false));
    assert!(again.pushed.lock().unwrap().is_empty());
    assert!(!again.built.lock().unwrap()[0].layer_cache);
    assert_eq!(
        registry.digest_of(&base.reference.to_string()),
        first.image(&image("base")).unwrap().digest
    );
}

#[tokio::test]
async fn contradictions_are_told_before_anything_is_built() {
    let local =
        TestProject::new(&[("dockit.toml", "[images.a]\n"), ("a/Dockerfile", "FROM scratch\n")]);
    let (registry, engine) = (MemoryRegistry::default(), FakeEngine::default());
    for request in [
        Request { push: Some(PushPolicy::Always), ..Request::default() },
        Request { pin: true, ..Request::default() },
    ] {
        let error = build(&local, &registry, &engine, &request).await.unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error}");
    }
    let with_registry = diamond(REGISTRY);
    let request = Request { pin: true, push: Some(PushPolicy::Never), ..Request::default() };
    let error = build(&with_registry, &registry, &engine, &request).await.unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error}");
    assert!(engine.built_names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn auto_pushes_in_ci_but_not_for_pull_requests() {
    for (ci, pull_request, pushes) in
        [(false, false, false), (true, false, true), (true, true, false)]
    {
        let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
        let engine = engine(&registry);
        let request =
            Request { ci: CiRun { ci, pull_request, ..CiRun::default() }, ..Request::default() };
        build(&project, &registry, &engine, &request).await.unwrap();
        assert_eq!(!engine.pushed.lock().unwrap().is_empty(), pushes, "{ci} {pull_request}");
    }
}

#[tokio::test(start_paused = true)]
async fn pinning_records_everything_or_nothing() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let file = project.root().join("dockit.lock");
    let mut broken = engine(&registry);
    broken.broken.insert("top".to_owned(), BackendErrorKind::Build);
    let request = Request { pin: true, ..pushing() };
    let report = build(&project, &registry, &broken, &request).await.unwrap();
    assert!(!report.succeeded());
    assert!(!file.exists());
    let report = build(&project, &registry, &engine(&registry), &request).await.unwrap();
    let lockfile = Lockfile::load(&file).unwrap();
    for built in &report.images {
        let locked = lockfile.image(&built.image).unwrap();
        assert_eq!(locked.key, built.key);
        assert_eq!(locked.reference.digest(), built.digest.as_ref());
    }
}

#[tokio::test(start_paused = true)]
async fn locked_refuses_to_change_the_lockfile() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let request = Request { pin: true, locked: true, ..pushing() };
    let untouched = engine(&registry);
    let error = build(&project, &registry, &untouched, &request).await.unwrap_err();
    assert!(matches!(error, Error::Locked(_)), "{error}");
    assert!(untouched.built_names().is_empty(), "told before anything is built");
    assert!(!project.root().join("dockit.lock").exists());
    let pin = Request { pin: true, ..pushing() };
    build(&project, &registry, &engine(&registry), &pin).await.unwrap();
    build(&project, &registry, &engine(&registry), &request).await.unwrap();

    let external = TestProject::new(&[
        ("dockit.toml", "[images.a]\n"),
        ("a/Dockerfile", "FROM r.example/debian:12\n"),
    ]);
    let engine = engine(&registry);
    let request = Request { locked: true, ..Request::default() };
    let error = build(&external, &registry, &engine, &request).await.unwrap_err();
    assert!(matches!(error, Error::Locked(_)), "{error}");
    assert!(engine.built_names().is_empty());
}
