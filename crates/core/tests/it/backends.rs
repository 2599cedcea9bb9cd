//! Several build backends: who builds what, and what happens when one is gone.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dockit_core::backend::{
    BackendError, BackendPlace, BuildBackend, BuildObserver, BuildRequest, Built, NamedBackend,
};
use dockit_core::config::LoadOptions;
use dockit_core::events::{Event, Observer, Silent};
use dockit_core::execute::{ImageErrorKind, RunReport, Status};
use dockit_core::key::KeyOptions;
use dockit_core::secrets::SecretOptions;
use dockit_core::story::{self, Request, Services};
use dockit_core::testing::{self, TestRequest, TestStatus};
use dockit_core::{Error, PushPolicy, config};
use dockit_registry::Platform;
use tokio_util::sync::CancellationToken;

use crate::support::{FakeContainers, FakeEngine, MemoryRegistry, TestProject, diamond, image};

const REGISTRY: &str = "r.example/p";

/// Which backend builds what, and which were lost.
#[derive(Default)]
struct Heard {
    builds: Mutex<Vec<(String, String)>>,
    lost: Mutex<Vec<String>>,
}

impl Observer for Heard {
    fn event(&self, event: Event) {
        match event {
            Event::BuildStarted { image, backend, .. } => {
                let backend = backend.unwrap_or_default();
                self.builds.lock().unwrap().push((image.to_string(), backend));
            }
            Event::BackendLost { backend, .. } => self.lost.lock().unwrap().push(backend),
            _ => {}
        }
    }
}

/// A backend that has no store.
struct Pushing;

#[async_trait]
impl BuildBackend for Pushing {
    async fn build(&self, _: BuildRequest, _: &dyn BuildObserver) -> Result<Built, BackendError> {
        panic!("nothing is to be built here")
    }
}

fn pushing() -> Request {
    Request { push: Some(PushPolicy::Always), ..Request::default() }
}

fn engine<'a>(registry: &'a MemoryRegistry, nonce: &str) -> FakeEngine<'a> {
    let build_time = Duration::from_secs(10);
    FakeEngine {
        registry: Some(registry),
        nonce: nonce.to_owned(),
        build_time,
        ..FakeEngine::default()
    }
}

fn one_job<'a>(name: &'a str, backend: &'a dyn BuildBackend) -> NamedBackend<'a> {
    NamedBackend { jobs: Some(NonZeroUsize::MIN), ..NamedBackend::new(name, backend) }
}

async fn build(
    project: &TestProject,
    registry: &MemoryRegistry,
    backends: &[NamedBackend<'_>],
    heard: &Heard,
    request: &Request,
) -> Result<RunReport, Error> {
    // This machine's engine is neither of them, and is not asked.
    let here = FakeEngine { gone: AtomicBool::new(true), ..FakeEngine::default() };
    let services = Services { registry, engine: &here, backends, observer: heard };
    let cancel = CancellationToken::new();
    let report = story::build(&project.load(), request, &services, &cancel).await?.report;
    assert!(here.built_names().is_empty() && here.pulled.lock().unwrap().is_empty());
    Ok(report)
}

fn built_on<'a>(report: &'a RunReport, name: &str) -> Option<&'a str> {
    report.image(&image(name)).unwrap().backend.as_deref()
}

#[tokio::test(start_paused = true)]
async fn builds_are_spread_and_images_travel_by_digest() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let (one, two) = (engine(&registry, "one"), engine(&registry, "two"));
    let (backends, heard) = ([one_job("one", &one), one_job("two", &two)], Heard::default());
    let report = build(&project, &registry, &backends, &heard, &pushing()).await.unwrap();
    assert_eq!(report.count(Status::Built), 5);
    // The longest chain begins, on the first; what needs it goes where it was built if there is a choice.
    let on = |name| built_on(&report, name);
    assert_eq!([on("base"), on("alone")], [Some("one"), Some("two")]);
    assert_eq!([on("left"), on("right")], [Some("one"), Some("two")]);
    for engine in [&one, &two] {
        assert_eq!(engine.most_running.load(Ordering::SeqCst), 1);
        assert!(!engine.built_names().is_empty());
    }
    {
        let built = two.built.lock().unwrap();
        let right = built.iter().find(|request| crate::support::short(&request.name) == "right");
        let base = report.image(&image("base")).unwrap().digest.clone().unwrap();
        let dockerfile = String::from_utf8_lossy(&right.unwrap().dockerfile).into_owned();
        assert!(dockerfile.starts_with(&format!("FROM r.example/p/base@{base}\n")), "{dockerfile}");
        let told = heard.builds.lock().unwrap();
        assert!(told.contains(&("right".to_owned(), "two".to_owned())), "{told:?}");
        assert!(heard.lost.lock().unwrap().is_empty());
    }

    // Nothing is asked of backends when nothing is built.
    two.gone.store(true, Ordering::SeqCst);
    let again = build(&project, &registry, &backends, &heard, &pushing()).await.unwrap();
    assert_eq!(again.count(Status::Reused), 5);
    assert!(heard.lost.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_backend_was_building_is_built_by_another() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let one = FakeEngine { dies_of: Some("base".to_owned()), ..engine(&registry, "one") };
    let two = engine(&registry, "two");
    let (backends, heard) = ([one_job("one", &one), one_job("two", &two)], Heard::default());
    let report = build(&project, &registry, &backends, &heard, &pushing()).await.unwrap();
    assert!(report.succeeded() && report.count(Status::Built) == 5, "{report:?}");
    assert_eq!(*heard.lost.lock().unwrap(), ["one"]);
    assert_eq!(two.built_names().len(), 5);
    assert_eq!(built_on(&report, "base"), Some("two"));
    let begun = heard.builds.lock().unwrap();
    let base: Vec<&str> =
        begun.iter().filter(|(name, _)| name == "base").map(|(_, on)| on.as_str()).collect();
    assert_eq!(base, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_build_that_fails_on_a_backend_that_answers_is_not_tried_elsewhere() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let mut one = engine(&registry, "one");
    one.broken.insert("base".to_owned(), dockit_core::backend::BackendErrorKind::Build);
    let two = engine(&registry, "two");
    let (backends, heard) = ([one_job("one", &one), one_job("two", &two)], Heard::default());
    let report = build(&project, &registry, &backends, &heard, &pushing()).await.unwrap();
    assert_eq!(report.image(&image("base")).unwrap().status, Status::Failed);
    assert_eq!(built_on(&report, "base"), Some("one"));
    assert!(heard.lost.lock().unwrap().is_empty() && two.built_names() == ["alone"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_backend_that_answers_every_build_fails_as_without_an_engine() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    for dies_of in [None, Some("base".to_owned())] {
        let later = dies_of.is_some();
        let gone = || AtomicBool::new(true);
        let one = FakeEngine { gone: gone(), ..engine(&registry, "one") };
        let two = FakeEngine { gone: AtomicBool::new(!later), dies_of, ..engine(&registry, "two") };
        let (backends, heard) = ([one_job("one", &one), one_job("two", &two)], Heard::default());
        let report = build(&project, &registry, &backends, &heard, &pushing()).await.unwrap();
        let kind = |name: &str| report.image(&image(name)).unwrap().error.as_ref().unwrap().kind;
        assert_eq!(kind("base"), ImageErrorKind::Engine);
        assert_eq!(kind("alone"), ImageErrorKind::Engine);
        assert_eq!(kind("top"), ImageErrorKind::Dependency);
        assert_eq!(*heard.lost.lock().unwrap(), ["one", "two"]);
        if !later {
            let error = report.image(&image("base")).unwrap().error.clone().unwrap();
            assert_eq!(error.message, "no build backend answers; there are one, two");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_pushed_is_tested_where_it_was_built() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let here = engine(&registry, "here");
    let containers = Some(FakeContainers::default());
    let one = FakeEngine { containers, ..engine(&registry, "one") };
    let backends = [NamedBackend::new("remote", &Pushing), one_job("one", &one)];
    let heard = Heard::default();
    let request = Request::default();
    build(&project, &registry, &backends, &heard, &request).await.unwrap();
    let toml = format!("[project]\nregistry = \"{REGISTRY}\"\n[images.base]\ntest = [\"check\"]\n");
    project.write("dockit.toml", &toml);
    let services =
        Services { registry: &registry, engine: &here, backends: &backends, observer: &heard };
    let cancel = CancellationToken::new();
    let wanted = TestRequest {
        images: Vec::new(),
        jobs: NonZeroUsize::MIN,
        fail_fast: false,
        keys: KeyOptions::default(),
        secrets: SecretOptions::default(),
    };
    let tested = testing::test(&project.load(), &wanted, &services, &cancel).await.unwrap();
    let base = tested.images.iter().find(|tested| tested.image == image("base")).unwrap();
    assert_eq!(base.status, TestStatus::Passed, "{base:?}");
    assert_eq!(one.containers.as_ref().unwrap().commands().len(), 1);
}

#[tokio::test]
async fn what_is_tested_on_the_host_is_built_by_no_engine_elsewhere() {
    let toml = "[project]\nregistry = \"r.example/p\"\n[images.base]\n\
                test = [{ run = \"true\", on = \"host\" }]\n";
    let files = [("dockit.toml", toml), ("base/Dockerfile", "FROM scratch\n")];
    let (project, registry) = (TestProject::new(&files), MemoryRegistry::default());
    let one = FakeEngine { build_time: Duration::ZERO, ..engine(&registry, "one") };
    for request in [pushing(), Request::default()] {
        let backends = [NamedBackend::new("far", &one)];
        let heard = Heard::default();
        let error = build(&project, &registry, &backends, &heard, &request).await.unwrap_err();
        assert!(matches!(error, Error::Usage(_)) && error.to_string().contains("far"), "{error}");
        assert!(one.built_names().is_empty());
    }
    let backends = [NamedBackend::new("here", &one)];
    let services =
        Services { registry: &registry, engine: &one, backends: &backends, observer: &Silent };
    let cancel = CancellationToken::new();
    let built = story::build(&project.load(), &pushing(), &services, &cancel).await.unwrap();
    assert!(built.report.succeeded(), "{:?}", built.report);
}

/// Engines that are gone as soon as an image is to be loaded.
struct GoneBeforeLoad<'a>(Vec<&'a FakeEngine<'a>>);

impl Observer for GoneBeforeLoad<'_> {
    fn event(&self, event: Event) {
        if matches!(event, Event::PullStarted { .. }) {
            self.0.iter().for_each(|engine| engine.gone.store(true, Ordering::SeqCst));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_there_already_is_not_built_again_when_its_backend_is_lost() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let (one, two, here) =
        (engine(&registry, "one"), engine(&registry, "two"), engine(&registry, "here"));
    let backends = [one_job("one", &one), one_job("two", &two)];
    let observer = GoneBeforeLoad(vec![&one, &here]);
    let services =
        Services { registry: &registry, engine: &here, backends: &backends, observer: &observer };
    let request = Request { load: true, images: vec!["base".to_owned()], ..pushing() };
    let cancel = CancellationToken::new();
    let built = story::build(&project.load(), &request, &services, &cancel).await.unwrap();
    let base = built.report.image(&image("base")).unwrap();
    assert_eq!((base.status, base.backend.as_deref()), (Status::Failed, Some("one")));
    assert_eq!(base.error.as_ref().unwrap().kind, ImageErrorKind::Engine);
    assert_eq!((one.built_names().len(), two.built_names().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_platform_is_built_where_it_can_be() {
    let project = TestProject::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example/p\"\n[images.a]\n[images.b]\n\
             platforms = [\"linux/arm64\"]\n[images.c]\nplatforms = [\"linux/riscv64\"]\n",
        ),
        ("a/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("a/f", "a"),
        ("b/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("b/f", "b"),
        ("c/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("c/f", "c"),
    ]);
    let registry = MemoryRegistry::default();
    let platforms = |name: &str| BTreeSet::<Platform>::from([name.parse().unwrap()]);
    let one = FakeEngine { builds_for: platforms("linux/amd64"), ..engine(&registry, "one") };
    let two = FakeEngine { builds_for: platforms("linux/amd64"), ..engine(&registry, "two") };
    // What is configured counts more than what it says.
    let arm64 = platforms("linux/arm64");
    let second = NamedBackend { platforms: Some(&arm64), ..one_job("two", &two) };
    let heard = Heard::default();
    let backends = [one_job("one", &one), second];
    let report = build(&project, &registry, &backends, &heard, &pushing()).await.unwrap();
    assert_eq!([built_on(&report, "a"), built_on(&report, "b")], [Some("one"), Some("two")]);
    let error = report.image(&image("c")).unwrap().error.clone().unwrap();
    assert_eq!(error.kind, ImageErrorKind::Engine);
    assert!(error.message.contains("linux/riscv64"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_pushed_is_built_by_one_engine() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let (one, two) = (engine(&registry, "one"), engine(&registry, "two"));
    let heard = Heard::default();
    let backends =
        [NamedBackend::new("remote", &Pushing), one_job("one", &one), one_job("two", &two)];
    let request = Request { load: true, ..Request::default() };
    let report = build(&project, &registry, &backends, &heard, &request).await.unwrap();
    assert_eq!((report.count(Status::Built), one.built_names().len()), (5, 5));
    assert!(report.images.iter().all(|image| image.backend.is_none()));
    assert!(one.store.lock().unwrap().contains_key("docker.io/library/base:latest"));
    let again = build(&project, &registry, &backends, &heard, &request).await.unwrap();
    assert_eq!(again.count(Status::Reused), 5, "it is looked for where it was built");

    let error = build(&project, &registry, &backends[..1], &heard, &request).await.unwrap_err();
    assert!(matches!(error, Error::Usage(_)) && error.to_string().contains("remote"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_pushed_is_built_by_an_engine_for_its_platforms() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let (one, two) = (engine(&registry, "one"), engine(&registry, "two"));
    let heard = Heard::default();
    let arm64 = BTreeSet::<Platform>::from(["linux/arm64".parse().unwrap()]);
    let arm = NamedBackend { platforms: Some(&arm64), ..one_job("arm", &one) };
    let backends = [arm, one_job("amd", &two)];
    let request = Request::default();
    let report = build(&project, &registry, &backends, &heard, &request).await.unwrap();
    assert_eq!((report.count(Status::Built), two.built_names().len()), (5, 5));
    assert!(one.built_names().is_empty());

    let other = NamedBackend { platforms: Some(&arm64), ..one_job("other", &two) };
    let backends = [arm, other];
    let error = build(&project, &registry, &backends, &heard, &request).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Usage(_)), "{text}");
    assert!(text.contains("arm, other") && text.contains("base"), "{text}");
    assert!(one.built_names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_built_elsewhere_is_pulled_where_it_is_loaded() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let (one, two, here) =
        (engine(&registry, "one"), engine(&registry, "two"), engine(&registry, "here"));
    let backends = [one_job("one", &one), one_job("two", &two)];
    let heard = Heard::default();
    let services =
        Services { registry: &registry, engine: &here, backends: &backends, observer: &heard };
    let cancel = CancellationToken::new();
    let mut digests = Vec::new();
    // Also where the content tag is on an older image of the same key there.
    for (request, nonce) in [
        (pushing(), "one"),
        (Request { replace: true, images: vec!["top".to_owned()], ..pushing() }, "new"),
    ] {
        let request = Request { load: true, ..request };
        let again = FakeEngine { nonce: nonce.to_owned(), ..engine(&registry, "") };
        let only = [one_job("again", &again)];
        let backends = if nonce == "new" { &only[..] } else { services.backends };
        let services = Services { backends, ..services };
        let built = story::build(&project.load(), &request, &services, &cancel).await.unwrap();
        assert!(built.report.succeeded(), "{:?}", built.report);
        let top = built.report.image(&image("top")).unwrap().clone();
        let digest = top.digest.unwrap();
        let loaded = here.store.lock().unwrap()["docker.io/library/top:latest"].id.clone();
        assert_eq!(loaded, digest.to_string());
        assert_eq!(here.store.lock().unwrap()[&top.reference.to_string()].id, loaded);
        digests.push(digest);
    }
    assert_ne!(digests[0], digests[1]);
}

#[test]
fn backends_are_read_in_the_order_of_the_file() {
    let text = "[images.a]\n[backends.far]\ndocker = \"tcp://10.0.0.5:2376\"\n\
                tls = { ca = \"certs/ca.pem\", cert = \"c.pem\", key = \"/k.pem\" }\njobs = 4\n\
                platforms = [\"linux/amd64\", \"linux/arm64\"]\n\
                [backends.\"a.b\"]\nbuildkit = \"tcp://10.0.0.6:1234\"\n\
                [backends.here]\ndocker = \"default\"\n";
    let project = config::parse("/x/dockit.toml".as_ref(), text, &LoadOptions::default()).unwrap();
    let names: Vec<&str> = project.backends.iter().map(|backend| backend.name.as_str()).collect();
    assert_eq!(names, ["far", "a.b", "here"]);
    let far = &project.backends[0];
    assert_eq!((far.jobs.map(NonZeroUsize::get), far.platforms.len()), (Some(4), 2));
    let BackendPlace::Engine { tls: Some(tls), .. } = &far.place else { panic!("{far:?}") };
    assert_eq!(tls.ca.as_deref(), Some("/x/certs/ca.pem".as_ref()));
    assert_eq!(tls.client, Some(("/x/c.pem".into(), "/k.pem".into())));
    assert!(tls.verify);
    assert_eq!(project.backends[2].place, BackendPlace::DefaultEngine);
    let warnings: Vec<String> = project.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("10.0.0.6"), "{warnings:?}");
}

#[test]
fn mistakes_in_backends_have_their_lines() {
    for (table, line, words) in [
        ("[backends.x]", 2, "either docker or buildkit or assemble"),
        ("[backends.x]\ndocker = \"default\"\nbuildkit = \"unix:///x\"", 2, "either"),
        ("[backends.x]\ndocker = \"ftp://x\"", 3, "ftp"),
        ("[backends.x]\nbuildkit = \"tcp://x\"", 3, "tcp://HOST:PORT"),
        ("[backends.x]\nbuildkit = \"default\"", 3, "unix://PATH"),
        ("[backends.x]\ndocker = \"default\"\ntls = { ca = \"c\" }", 4, "Docker's own tools"),
        ("[backends.x]\ndocker = \"ssh://x\"\ntls = { ca = \"c\" }", 4, "tcp:// alone"),
        ("[backends.x]\ndocker = \"tcp://x:1\"\ntls = { cert = \"c\" }", 4, "go together"),
        ("[backends.x]\ndocker = \"tcp://x:1\"\ntls = { ca-cert = \"c\" }", 4, "ca-cert"),
        ("[backends.x]\ndocker = \"default\"\njobs = 0", 4, "above zero"),
        ("[backends.x]\ndocker = \"default\"\nplatforms = []", 2, "must not be empty"),
        ("[backends.x]\ndocker = \"default\"\nplatforms = [\"linux\"]", 4, "linux"),
        ("[backends.\"a b\"]\ndocker = \"default\"", 2, "no name of a build backend"),
        ("[backends.x]\ndocker = \"default\"\n[backends.y]\ndocker = \"default\"", 4, "same build"),
    ] {
        let text = format!("[images.a]\n{table}\n");
        let read = config::parse("/x/dockit.toml".as_ref(), &text, &LoadOptions::default());
        let problems = read.unwrap_err().to_string();
        assert!(problems.contains(&format!("dockit.toml:{line}")), "{table}: {problems}");
        assert!(problems.contains(words), "{table}: {problems}");
    }
}
