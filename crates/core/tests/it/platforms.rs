//! Images for several platforms, and what platforms do to keys.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::str::FromStr as _;

use dockit_core::backend::{BackendErrorKind, ContainerEnd, NamedBackend};
use dockit_core::config::{self, LoadOptions};
use dockit_core::events::Silent;
use dockit_core::execute::{ImageErrorKind, ImageReport, RunReport, Skipped, Status};
use dockit_core::key::index_key;
use dockit_core::story::{self, Request, Services};
use dockit_core::testing::{self, TestRequest};
use dockit_core::why::{Sources, State, why};
use dockit_core::{Error, ImageGraph, ImageKey, ImageName, KeyOptions, Lockfile, PushPolicy};
use dockit_registry::manifest::{Manifest, media_type};
use dockit_registry::{Digest, Reference, Registry as _};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeContainers, FakeEngine, MemoryRegistry, TestProject, image};

const COMPILED: &str = "FROM --platform=$BUILDPLATFORM scratch AS compile\nARG BUILDARCH\n\
                        COPY tool-${BUILDARCH} /tool\nFROM scratch\nCOPY --from=compile /tool /\n";

#[test]
fn the_build_platform_is_what_the_project_says_and_else_the_images_own() {
    let image = "[images.app]\nplatforms = [\"linux/arm64\"]\n";
    let project = TestProject::new(&[
        ("dockit.toml", image),
        ("app/Dockerfile", COMPILED),
        ("app/tool-amd64", "1"),
        ("app/tool-arm64", "1"),
    ]);
    let own = project.key("app");
    let said = |platform: &str| {
        project.write("dockit.toml", &format!("[project]\nbuild-platform = {platform:?}\n{image}"));
        project.key("app")
    };
    assert_eq!(said("linux/arm64"), own);
    let other = said("linux/amd64");
    assert_ne!(other, own);
    project.write("app/tool-arm64", "2");
    assert_eq!(said("linux/amd64"), other, "the tool of the build platform is copied");
    assert_ne!(said("linux/arm64"), own);
}

const BOTH: &str = "platforms = [\"linux/amd64\", \"linux/arm64\"]\n";

/// `base` ← `app`, each for two platforms, with a file for each, and `single`, which needs `app`.
fn both() -> TestProject {
    let image = |name: &str| format!("[images.{name}]\n{BOTH}tags = [\"latest\"]\n");
    let config = format!(
        "[project]\nregistry = \"r.example/p\"\n{}{}[images.single]\n",
        image("base"),
        image("app")
    );
    TestProject::new(&[
        ("dockit.toml", &config),
        ("base/Dockerfile", "FROM scratch\nARG TARGETARCH\nCOPY file-${TARGETARCH} /file\n"),
        ("base/file-amd64", "a"),
        ("base/file-arm64", "b"),
        ("app/Dockerfile", "FROM base\nCOPY all /all\n"),
        ("app/all", "c"),
        ("single/Dockerfile", "FROM app\n"),
    ])
}

fn keys(project: &TestProject) -> BTreeMap<String, String> {
    let keys = project.keys();
    let graph = ImageGraph::new(&project.load()).unwrap();
    let key = |name: &ImageName| keys.key(name).unwrap().to_string();
    graph.order().iter().map(|name| (name.to_string(), key(name))).collect()
}

#[test]
fn what_one_platform_reads_changes_its_part_the_index_and_what_is_built_on_them() {
    let project = both();
    let before = keys(&project);
    project.write("base/file-arm64", "changed");
    let after = keys(&project);
    let changed: Vec<&String> =
        before.keys().filter(|name| before[*name] != after[*name]).collect();
    assert_eq!(changed, ["app", "app@linux/arm64", "base", "base@linux/arm64"]);
}

#[test]
fn a_part_has_the_key_of_an_image_for_its_platform_alone() {
    let project = both();
    let set = keys(&project);
    let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    project.write("dockit.toml", &config.replace(BOTH, ""));
    let alone = keys(&project);
    assert_eq!(alone["app"], set["app@linux/amd64"]);
    assert_eq!(alone["single"], set["single"]);
    assert_ne!(alone["app"], set["app"]);
}

#[test]
fn the_key_of_an_index_is_as_documented() {
    let part = |text: &str| ImageKey::from_str(text).unwrap();
    let a = part("k1:7e07e0e135881d8ac3470f33a446843a996dbdfc1e613d03f2e63f9545b6c9a6");
    let b = part("k1:156a86052380a6d64422ca9328dd5a22390c388c4cd52767f11f4b41c5417f0b");
    let index = index_key([a, b]);
    assert_eq!(index, index_key([b, a]));
    let document = include_str!("../../../../docs/key-format.md");
    assert!(document.contains(&index.to_string()), "{index}");
}

#[test]
fn dependencies_lead_from_part_to_part() {
    let project = both();
    let graph = ImageGraph::new(&project.load()).unwrap();
    let dependencies = |name: &str| {
        let node = graph.node(&image(name)).unwrap();
        node.dependencies().into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(dependencies("app@linux/arm64"), "base@linux/arm64");
    assert_eq!(dependencies("single"), "app@linux/amd64");
    assert_eq!(dependencies("app"), "app@linux/amd64 app@linux/arm64");
}

#[test]
fn a_dependency_without_the_platform_is_an_error() {
    let project = both();
    let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    let narrow = config.replacen("\"linux/arm64\"", "\"linux/s390x\"", 1);
    project.write("dockit.toml", &narrow);
    let error = ImageGraph::new(&project.load()).unwrap_err().to_string();
    assert!(
        error.contains("is built for linux/amd64, linux/s390x, not for linux/arm64"),
        "{error}"
    );
    project.write(
        "dockit.toml",
        &format!("{narrow}needs = [\"base\"]\nplatforms = [\"linux/arm64\"]"),
    );
    let file = project.root().join("dockit.toml");
    let error = config::load(&file, &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("needs \"base\", which is for linux/amd64, linux/s390x"), "{error}");
}

#[test]
fn what_cannot_be_an_index_is_refused() {
    for (text, message) in [
        (format!("[images.a]\n{BOTH}"), "needs a registry"),
        (
            "[images.a]\nplatforms = [\"linux/arm64\", \"linux/aarch64\"]\n".to_owned(),
            "the platform linux/arm64 is there twice",
        ),
        ("[images.\"a@linux/arm64\"]\n".to_owned(), "invalid image name \"a@linux/arm64\""),
        (
            "[project]\nregistry = \"r.example\"\ntest = [{ run = \"true\", platforms = [\"a/b\"] }]\n\
             [images.a]\n"
                .to_owned(),
            "a test of the project is of no platform",
        ),
    ] {
        let error = config::parse("/p/dockit.toml".as_ref(), &text, &LoadOptions::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn a_test_for_a_platform_that_the_image_is_not_for_is_refused() {
    let parse = |text: &str| {
        let text = format!("[project]\nregistry = \"r.example\"\n{text}");
        let parsed = config::parse("/p/dockit.toml".as_ref(), &text, &LoadOptions::default());
        parsed.map(|_| ()).map_err(|error| error.to_string())
    };
    let test = "test = [\n{ run = \"true\", platforms = [\"linux/amd46\"] }]\n";
    let error = parse(&format!("[images.a]\n{BOTH}{test}[images.a.variants.v]\n")).unwrap_err();
    let expected = ":6: a test of image \"a\" is for linux/amd46, and the image for linux/amd64, \
                    linux/arm64";
    assert_eq!(error.matches(expected).count(), 1, "{error}");
    let error = parse(&format!("[images.a]\n{test}")).unwrap_err();
    assert!(error.contains("is for linux/amd46, and the image for linux/amd64"), "{error}");
    let narrower = "[images.a.variants.v]\nplatforms = [\"linux/amd64\"]\n";
    parse(&format!("[images.a]\n{BOTH}{}{narrower}", test.replace("amd46", "arm64"))).unwrap();
}

#[test]
fn names_select_parts_and_globs_do_not_see_them() {
    let project = both().load();
    let select = |names: &[&str], platforms: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let platforms = platforms.iter().map(|platform| platform.parse().unwrap()).collect();
        match project.select_for(&names, &platforms) {
            Ok(selected) => {
                let join = |names: BTreeSet<ImageName>| {
                    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
                };
                format!("{}; {}", join(selected.images), join(selected.left_out))
            }
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(select(&["app"], &[]), "app app@linux/amd64 app@linux/arm64; ");
    assert_eq!(select(&["app@linux/arm64"], &[]), "app@linux/arm64; ");
    assert_eq!(select(&["a*"], &["linux/arm64"]), "app app@linux/arm64; ");
    assert_eq!(select(&["a*64"], &[]), "no image matches \"a*64\"");
    assert_eq!(select(&[], &["linux/arm64"]), "app app@linux/arm64 base base@linux/arm64; single");
    assert_eq!(select(&["single"], &["linux/arm64"]), "no selected image is for linux/arm64");
}

fn pushing(platforms: &[&str]) -> Request {
    let platforms = platforms.iter().map(|platform| platform.parse().unwrap()).collect();
    Request { push: Some(PushPolicy::Always), platforms, force_tags: true, ..Request::default() }
}

async fn run(project: &TestProject, registry: &MemoryRegistry, request: &Request) -> RunReport {
    let engine = FakeEngine {
        registry: Some(registry),
        containers: Some(FakeContainers::default()),
        ..FakeEngine::default()
    };
    run_on(project, registry, &engine, request).await
}

async fn run_on(
    project: &TestProject,
    registry: &MemoryRegistry,
    engine: &FakeEngine<'_>,
    request: &Request,
) -> RunReport {
    let services =
        Services { registry, engine, backends: &[NamedBackend::only(engine)], observer: &Silent };
    let built =
        story::build(&project.load(), request, &services, &CancellationToken::new()).await.unwrap();
    built.recorded.unwrap();
    built.report
}

fn statuses(report: &RunReport) -> Vec<String> {
    let status = |image: &ImageReport| {
        let skipped = image.skipped.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} {}{skipped}", image.image, image.status.as_str())
    };
    report.images.iter().map(status).collect()
}

#[tokio::test(start_paused = true)]
async fn an_index_names_its_parts_and_is_reused_with_them() {
    let (project, registry) = (both(), MemoryRegistry::default());
    let report = run(&project, &registry, &pushing(&[])).await;
    assert_eq!(report.count(Status::Built), 7, "{report:?}");
    let app = report.image(&image("app")).unwrap();
    assert_eq!(registry.digest_of("r.example/p/app:latest"), app.digest);
    let reference = app.reference.repository().with_digest(app.digest.clone().unwrap());
    let raw = registry.manifest(&reference).await.unwrap();
    assert_eq!(raw.media_type(), media_type::DOCKER_LIST);
    let Manifest::Index(index) = raw.parse().unwrap() else { panic!("no index") };
    let part = |name: &str| report.image(&image(name)).unwrap().digest.clone().unwrap();
    let entries: Vec<(String, Digest)> = index
        .entries
        .iter()
        .map(|entry| (entry.platform.as_ref().unwrap().to_string(), entry.digest.clone()))
        .collect();
    let expected = ["linux/amd64", "linux/arm64"]
        .map(|platform| (platform.to_owned(), part(&format!("app@{platform}"))));
    assert_eq!(entries, expected);

    let report = run(&project, &registry, &pushing(&[])).await;
    assert_eq!(report.count(Status::Reused), 7, "{report:?}");

    // Where an index is there, nobody misses its parts.
    for name in ["app@linux/amd64", "app@linux/arm64"] {
        registry.set(&report.image(&image(name)).unwrap().reference, None);
    }
    let request = Request { images: vec!["app".to_owned()], ..pushing(&[]) };
    let report = run(&project, &registry, &request).await;
    assert_eq!(report.image(&image("app")).unwrap().status, Status::Reused);
    assert_eq!(report.count(Status::Skipped), 2, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn the_run_that_builds_the_last_part_puts_the_index_together() {
    let (project, registry) = (both(), MemoryRegistry::default());
    let arm = run(&project, &registry, &pushing(&["linux/arm64"])).await;
    assert!(arm.succeeded());
    assert_eq!(
        statuses(&arm),
        [
            "base@linux/amd64 skipped",
            "base@linux/arm64 built",
            "app@linux/amd64 skipped",
            "app@linux/arm64 built",
            "base skipped: there is no image for linux/amd64 yet",
            "app skipped: there is no image for linux/amd64 yet",
        ]
    );
    assert_eq!(registry.digest_of("r.example/p/app:latest"), None);
    let amd = run(&project, &registry, &pushing(&["linux/amd64"])).await;
    let app = amd.image(&image("app")).unwrap();
    assert_eq!((app.status, app.pushed), (Status::Built, true));
    assert_eq!(registry.digest_of("r.example/p/app:latest"), app.digest);
    let all = run(&project, &registry, &pushing(&[])).await;
    assert_eq!(all.count(Status::Reused), 7, "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_push_parts_are_built_and_no_index() {
    let (project, registry) = (both(), MemoryRegistry::default());
    let engine = FakeEngine {
        registry: Some(&registry),
        containers: Some(FakeContainers::default()),
        ..FakeEngine::default()
    };
    let request = Request { load: true, ..Request::default() };
    for (built, reused) in [(5, 0), (0, 5)] {
        let report = run_on(&project, &registry, &engine, &request).await;
        assert!(report.succeeded());
        let counts = (report.count(Status::Built), report.count(Status::Reused));
        assert_eq!(counts, (built, reused), "{report:?}");
        let app = report.image(&image("app")).unwrap();
        assert_eq!((app.status, app.skipped.clone()), (Status::Skipped, Some(Skipped::NotPushed)));
    }
    let store = engine.store.lock().unwrap();
    let key = project.keys().get(&image("app@linux/amd64")).unwrap().key;
    let loaded = &store["docker.io/library/app:latest"];
    assert_eq!(loaded.labels["dev.dockit.key"], key.to_string(), "the engine's platform is loaded");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_fails_keeps_its_index_from_being() {
    let (project, registry) = (both(), MemoryRegistry::default());
    project.write("app/Dockerfile", "FROM base\nCOPY all /all-${TARGETARCH}\n");
    let engine = FakeEngine {
        registry: Some(&registry),
        broken: [("app".to_owned(), BackendErrorKind::Build)].into(),
        ..FakeEngine::default()
    };
    let report = run_on(&project, &registry, &engine, &pushing(&[])).await;
    assert_eq!(report.image(&image("base")).unwrap().status, Status::Built);
    let app = report.image(&image("app")).unwrap();
    assert_eq!(app.status, Status::Skipped);
    assert!(app.error.as_ref().unwrap().message.contains("which it needs, failed"), "{app:?}");
    assert_eq!(registry.digest_of("r.example/p/app:latest"), None);
}

#[tokio::test(start_paused = true)]
async fn the_lockfile_records_the_index_alone() {
    let (project, registry) = (both(), MemoryRegistry::default());
    let report = run(&project, &registry, &Request { pin: true, ..pushing(&[]) }).await;
    let lockfile = Lockfile::load(&project.root().join("dockit.lock")).unwrap();
    let app = lockfile.image(&image("app")).unwrap();
    assert_eq!(app.reference.digest(), report.image(&image("app")).unwrap().digest.as_ref());
    assert_eq!(app.key, project.keys().key(&image("app")).unwrap());
    assert!(lockfile.image(&image("app@linux/amd64")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_test_gates_the_parts_that_it_is_for() {
    let (project, registry) = (both(), MemoryRegistry::default());
    let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    let test = "test = [\"true\", { run = \"native\", platforms = [\"linux/amd64\"] }]\n";
    let tested = config.replacen("[images.app]\n", &format!("[images.app]\n{test}"), 1);
    project.write("dockit.toml", &tested);
    let engine = FakeEngine {
        registry: Some(&registry),
        containers: Some(FakeContainers::default()),
        ..FakeEngine::default()
    };
    run_on(&project, &registry, &engine, &pushing(&[])).await;
    let mut ran = engine.containers.as_ref().unwrap().commands();
    ran.sort();
    assert_eq!(ran, ["native", "true", "true"]);

    project.write("app/all", "changed");
    let failing = FakeContainers::ending("true", ContainerEnd::Exited(1));
    let engine = FakeEngine {
        registry: Some(&registry),
        containers: Some(failing),
        ..FakeEngine::default()
    };
    let report = run_on(&project, &registry, &engine, &pushing(&["linux/arm64"])).await;
    let error = report.image(&image("app@linux/arm64")).unwrap().error.clone().unwrap();
    assert!(
        error.message.starts_with("the image is for linux/arm64 and the engine linux/amd64"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_replaced_is_in_a_new_index() {
    let (project, registry) = (both(), MemoryRegistry::default());
    let first = run(&project, &registry, &pushing(&[])).await;
    let engine = FakeEngine {
        registry: Some(&registry),
        nonce: "later".to_owned(),
        ..FakeEngine::default()
    };
    let images = vec!["app@linux/arm64".to_owned()];
    let request = Request { replace: true, images, ..pushing(&[]) };
    let second = run_on(&project, &registry, &engine, &request).await;
    let digest =
        |report: &RunReport, name: &str| report.image(&image(name)).unwrap().digest.clone();
    for name in ["app", "app@linux/arm64"] {
        assert_ne!(digest(&first, name), digest(&second, name), "{name}");
        assert_eq!(second.image(&image(name)).unwrap().replaced, digest(&first, name), "{name}");
    }
    assert_eq!(digest(&first, "app@linux/amd64"), digest(&second, "app@linux/amd64"));
    assert_eq!(registry.digest_of("r.example/p/app:latest"), digest(&second, "app"));
}

#[tokio::test(start_paused = true)]
async fn tests_of_parts_that_only_their_index_leads_to_are_run() {
    let (project, registry) = (both(), MemoryRegistry::default());
    let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    let tested = config.replacen("[images.app]\n", "[images.app]\ntest = [\"true\"]\n", 1);
    project.write("dockit.toml", &tested);
    let report = run(&project, &registry, &pushing(&[])).await;
    registry.set(&report.image(&image("app@linux/arm64")).unwrap().reference, None);
    let engine = FakeEngine {
        registry: Some(&registry),
        containers: Some(FakeContainers::default()),
        ..FakeEngine::default()
    };
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let request = TestRequest {
        images: vec!["app".to_owned()],
        jobs: NonZeroUsize::MIN,
        fail_fast: false,
        keys: KeyOptions::default(),
        secrets: dockit_core::secrets::SecretOptions::default(),
    };
    let cancel = CancellationToken::new();
    let tested = testing::test(&project.load(), &request, &services, &cancel).await.unwrap();
    let statuses: Vec<String> = tested
        .images
        .iter()
        .map(|tests| format!("{} {}", tests.image, tests.status.as_str()))
        .collect();
    assert_eq!(
        statuses,
        ["app@linux/amd64 passed", "app@linux/arm64 passed", "app untested"],
        "{tested:?}"
    );
    assert!(tested.succeeded());
}

#[tokio::test(start_paused = true)]
async fn an_index_in_which_an_image_is_for_another_platform_is_not_made() {
    let (project, registry) = (both(), MemoryRegistry::default());
    run(&project, &registry, &pushing(&["linux/arm64"])).await;
    let keys = project.keys();
    let reference = |name: &str| -> Reference {
        let key = keys.get(&image(name)).unwrap().key;
        format!("r.example/p/base:{}", key.tag()).parse().unwrap()
    };
    let other = registry.digest_of(&reference("base@linux/arm64").to_string()).unwrap();
    registry.set(&reference("base@linux/amd64"), Some(&other));
    let request = Request { images: vec!["base".to_owned()], ..pushing(&[]) };
    let report = run(&project, &registry, &request).await;
    let base = report.image(&image("base")).unwrap();
    assert_eq!(base.status, Status::Failed);
    let message = &base.error.as_ref().unwrap().message;
    assert!(message.contains("is the image for linux/amd64, but says"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_waits_for_the_index_alone() {
    let (project, registry) = (both(), MemoryRegistry::default());
    let report = run(&project, &registry, &pushing(&[])).await;
    for name in ["app@linux/amd64", "app@linux/arm64"] {
        registry.set(&report.image(&image(name)).unwrap().reference, None);
    }
    let request = Request { images: vec!["app".to_owned()], no_build: true, ..Request::default() };
    let report = run(&project, &registry, &request).await;
    assert_eq!(statuses(&report), ["app reused"]);
    let request = Request { platforms: ["linux/arm64".parse().unwrap()].into(), ..request };
    let report = run(&project, &registry, &request).await;
    let [part] = report.images.as_slice() else { panic!("{report:?}") };
    let error = part.error.as_ref().unwrap();
    assert_eq!((part.image.as_str(), error.kind), ("app@linux/arm64", ImageErrorKind::Absent));
    assert!(error.message.contains("no image has its key"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn why_compares_a_part_with_what_the_lockfiles_index_leads_to() {
    let (project, registry) = (both(), MemoryRegistry::default());
    run(&project, &registry, &Request { pin: true, ..pushing(&[]) }).await;
    project.write("base/file-arm64", "changed");
    let (loaded, temporary) = (project.load(), tempfile::tempdir().unwrap());
    let (keys, cancel) = (KeyOptions::default(), CancellationToken::new());
    let sources = Sources {
        project: Some(&loaded),
        registry: Some(&registry),
        keys: &keys,
        load: LoadOptions::default(),
        temporary: temporary.path(),
        cancel: &cancel,
    };
    let answer = why(&sources, Some("app@linux/arm64"), None, &State::WorkTree).await.unwrap();
    assert_eq!(answer.from.state, State::Locked);
    let explained: Vec<String> = answer
        .images
        .iter()
        .map(|image| {
            let subjects: Vec<&str> = image.changes.iter().map(|change| &*change.subject).collect();
            format!("{}: {}", image.image, subjects.join(", "))
        })
        .collect();
    assert_eq!(
        explained,
        ["app@linux/arm64: base@linux/arm64", "base@linux/arm64: base/file-arm64"],
        "{answer:?}"
    );
    let answer = why(&sources, Some("app@linux/amd64"), None, &State::WorkTree).await.unwrap();
    assert!(answer.images.is_empty(), "{answer:?}");
}

fn engine(registry: &MemoryRegistry) -> FakeEngine<'_> {
    FakeEngine {
        registry: Some(registry),
        containers: Some(FakeContainers::default()),
        ..FakeEngine::default()
    }
}

/// What a run that loads says before it builds anything.
async fn refused(project: &TestProject, registry: &MemoryRegistry, request: &Request) -> String {
    let engine = engine(registry);
    let backends = [NamedBackend::only(&engine)];
    let services = Services { registry, engine: &engine, backends: &backends, observer: &Silent };
    let request = Request { load: true, ..request.clone() };
    let cancel = CancellationToken::new();
    let error = story::build(&project.load(), &request, &services, &cancel).await.unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error:?}");
    assert!(engine.built_names().is_empty());
    error.to_string()
}

#[tokio::test(start_paused = true)]
async fn what_is_not_for_the_engine_is_not_loaded_whether_it_is_there_or_not() {
    let (project, registry) = (both(), MemoryRegistry::default());
    let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    let parts = [
        Request { platforms: ["linux/arm64".parse().unwrap()].into(), ..Request::default() },
        Request { images: vec!["app@linux/arm64".to_owned()], ..Request::default() },
    ];
    let elsewhere = Request { images: vec!["base".to_owned()], ..Request::default() };
    for _ in 0..2 {
        for request in &parts {
            assert_eq!(
                refused(&project, &registry, request).await,
                "app cannot be loaded: the engine is linux/amd64, and the images are for linux/arm64"
            );
        }
        let other = config.replace("linux/amd64", "linux/s390x").replace("[images.single]\n", "");
        project.write("dockit.toml", &other);
        for no_build in [false, true] {
            let request = Request { no_build, ..elsewhere.clone() };
            assert_eq!(
                refused(&project, &registry, &request).await,
                "base cannot be loaded: the engine is linux/amd64, and the images are for \
                 linux/arm64, linux/s390x"
            );
        }
        let pushed = Request { images: elsewhere.images.clone(), ..pushing(&[]) };
        project.write("base/file-s390x", "c");
        assert!(run(&project, &registry, &pushed).await.succeeded());
        project.write("dockit.toml", &config);
        assert!(run(&project, &registry, &pushing(&[])).await.succeeded());
    }
}

#[tokio::test(start_paused = true)]
async fn the_part_for_the_engine_is_loaded_once_under_all_names_of_its_index() {
    let (project, registry) = (both(), MemoryRegistry::default());
    let first = run(&project, &registry, &pushing(&[])).await;
    let index = first.image(&image("app")).unwrap();
    let part = first.image(&image("app@linux/amd64")).unwrap();
    let names = ["docker.io/library/app:latest".to_owned(), index.reference.to_string()];
    let images = vec!["app".to_owned()];
    let request = Request { load: true, images, ..Request::default() };

    let here = engine(&registry);
    let rebuild = Request { rebuild: true, ..request.clone() };
    assert!(run_on(&project, &registry, &here, &rebuild).await.succeeded());
    assert!(here.pulled.lock().unwrap().is_empty(), "what was built here is what is loaded");
    for name in &names {
        let labels = here.store.lock().unwrap()[name].labels.clone();
        assert_eq!(labels["dev.dockit.key"], part.key.to_string(), "{name}");
    }

    for part_is_there in [true, false] {
        if !part_is_there {
            registry.set(&part.reference, None);
        }
        let here = engine(&registry);
        assert!(run_on(&project, &registry, &here, &request).await.succeeded());
        assert_eq!(here.pulled.lock().unwrap().len(), 1);
        for name in &names {
            assert!(here.store.lock().unwrap().contains_key(name), "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_built_here_has_its_aliases_whoever_else_builds() {
    let (project, registry) = (both(), MemoryRegistry::default());
    let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
    let config = config.replacen("[images.base]\n", "[images.base]\naliases = [\"b\"]\n", 1);
    project.write("dockit.toml", &config);
    let of = |platform: &str, registry| FakeEngine {
        builds_for: [platform.parse().unwrap()].into(),
        ..engine(registry)
    };
    let (here, there) = (of("linux/amd64", &registry), of("linux/arm64", &registry));
    let backends = [
        NamedBackend { name: "here", ..NamedBackend::only(&here) },
        NamedBackend { name: "there", ..NamedBackend::only(&there) },
    ];
    let services =
        Services { registry: &registry, engine: &here, backends: &backends, observer: &Silent };
    let cancel = CancellationToken::new();
    let request = Request { images: vec!["base".to_owned()], ..pushing(&[]) };
    let built = story::build(&project.load(), &request, &services, &cancel).await.unwrap();
    assert!(built.report.succeeded(), "{:?}", built.report);
    assert_eq!(there.built_names().len(), 1);
    let part = built.report.image(&image("base@linux/amd64")).unwrap();
    let store = here.store.lock().unwrap();
    assert_eq!(store["docker.io/library/b:latest"].labels["dev.dockit.key"], part.key.to_string());
}
