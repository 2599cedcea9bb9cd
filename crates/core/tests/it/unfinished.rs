//! What a run leaves undone is done by the next one of the same work tree.

use std::sync::atomic::Ordering;

use dockit_core::PushPolicy;
use dockit_core::backend::NamedBackend;
use dockit_core::events::Silent;
use dockit_core::execute::{ProjectTests, Status};
use dockit_core::story::{self, Built, Request, Services};
use dockit_registry::{Digest, Registry as _};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeEngine, MemoryRegistry, TestProject, image};

const TYPE: &str = "application/vnd.dockit.inputs.v1+json";

fn project(table: &str) -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            &format!("[project]\nregistry = \"r.example/p\"\n{table}\n[images.a]\n[images.b]\n"),
        ),
        ("a/Dockerfile", "FROM scratch\nLABEL a=a\n"),
        ("b/Dockerfile", "FROM a\nLABEL a=b\n"),
    ])
}

fn request(pin: bool) -> Request {
    Request { push: Some(PushPolicy::Always), pin, ..Request::default() }
}

fn engine(registry: &MemoryRegistry) -> FakeEngine<'_> {
    FakeEngine { registry: Some(registry), ..FakeEngine::default() }
}

async fn build(
    project: &TestProject,
    registry: &MemoryRegistry,
    engine: &FakeEngine<'_>,
    request: &Request,
    cancel: &CancellationToken,
) -> Built {
    let services =
        Services { registry, engine, backends: &[NamedBackend::only(engine)], observer: &Silent };
    story::build(&project.load(), request, &services, cancel).await.unwrap()
}

/// Builds with an engine that does as it is told, and is not interrupted.
async fn plain(project: &TestProject, registry: &MemoryRegistry, pin: bool) -> Built {
    let never = CancellationToken::new();
    build(project, registry, &engine(registry), &request(pin), &never).await
}

fn left(project: &TestProject) -> usize {
    std::fs::read_dir(project.root().join(".dockit/unfinished")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn tests_of_the_project_that_failed_run_again_until_they_pass() {
    let project = project("test = [\"echo >> ran; test -e good\"]");
    let registry = MemoryRegistry::default();
    for pin in [false, false, true] {
        let built = plain(&project, &registry, pin).await;
        assert!(built.report.project_tests.failure().is_some(), "{:?}", built.report);
        assert!(!built.report.succeeded());
        let lockfile = std::fs::read_to_string(project.root().join("dockit.lock"));
        assert!(!lockfile.unwrap_or_default().contains("k1:"));
    }
    project.write("good", "");
    let passed = plain(&project, &registry, false).await;
    assert_eq!(passed.report.count(Status::Reused), 2);
    assert!(matches!(passed.report.project_tests, ProjectTests::Ran(_)));
    assert_eq!(left(&project), 0);
    let again = plain(&project, &registry, false).await;
    assert_eq!(again.report.project_tests, ProjectTests::NotRun);
    // What is recorded has passed them.
    let pinned = plain(&project, &registry, true).await;
    assert!(matches!(pinned.report.project_tests, ProjectTests::Ran(_)));
    assert_eq!(std::fs::read_to_string(project.root().join("ran")).unwrap().lines().count(), 5);
}

#[tokio::test]
async fn a_run_that_ends_before_the_tests_of_the_project_leaves_them_to_the_next() {
    let (project, registry) = (project("test = [\"touch ran\"]"), MemoryRegistry::default());
    let cancel = CancellationToken::new();
    let interrupt = cancel.clone();
    let mut engine = engine(&registry);
    engine.after_push = Some(Box::new(move |_, name| {
        if name.repository().to_string().ends_with("/b") {
            interrupt.cancel();
        }
    }));
    let cut = build(&project, &registry, &engine, &request(false), &cancel).await.report;
    assert_eq!((cut.count(Status::Built), cut.count(Status::Cancelled)), (1, 1));
    assert!(!project.root().join("ran").exists());
    let next = plain(&project, &registry, false).await.report;
    assert_eq!(next.count(Status::Reused), 2);
    assert!(project.root().join("ran").exists() && next.succeeded());
    assert_eq!(left(&project), 0);
}

async fn inputs(registry: &MemoryRegistry, digest: &Digest) -> usize {
    let repository = "r.example/p/b".parse::<dockit_registry::Reference>().unwrap();
    registry.referrers(repository.repository(), digest, Some(TYPE)).await.unwrap().len()
}

#[tokio::test]
async fn inputs_of_an_image_whose_push_was_the_last_thing_are_published_by_the_next_run() {
    let (project, registry) = (project(""), MemoryRegistry::default());
    let cancel = CancellationToken::new();
    let interrupt = cancel.clone();
    let mut engine = engine(&registry);
    engine.after_push = Some(Box::new(move |_, name| {
        if name.repository().to_string().ends_with("/b") {
            interrupt.cancel();
        }
    }));
    let cut = build(&project, &registry, &engine, &request(false), &cancel).await.report;
    let reference = cut.image(&image("b")).unwrap().reference.to_string();
    let digest = registry.digest_of(&reference).expect("it was pushed");
    assert_eq!(inputs(&registry, &digest).await, 0);

    // A run that pushes nothing publishes nothing.
    let reading = Request { push: Some(PushPolicy::Auto), ..Request::default() };
    let never = CancellationToken::new();
    build(&project, &registry, &engine, &reading, &never).await;
    assert_eq!((inputs(&registry, &digest).await, left(&project)), (0, 1));

    for _ in 0..2 {
        let next = plain(&project, &registry, false).await.report;
        assert_eq!(next.count(Status::Reused), 2);
        assert_eq!((inputs(&registry, &digest).await, left(&project)), (1, 0));
    }
}

#[tokio::test]
async fn an_image_that_a_whole_run_has_pushed_is_not_looked_at_again() {
    let (project, registry) = (project(""), MemoryRegistry::default());
    registry.refuses_referrers.store(true, Ordering::Relaxed);
    let built = plain(&project, &registry, false).await.report;
    let digest = built.image(&image("b")).unwrap().digest.clone().unwrap();
    registry.refuses_referrers.store(false, Ordering::Relaxed);
    plain(&project, &registry, false).await;
    assert_eq!((inputs(&registry, &digest).await, left(&project)), (0, 0));
}

#[tokio::test]
async fn what_is_under_the_tag_and_is_not_the_image_gets_no_inputs() {
    let (project, registry) = (project(""), MemoryRegistry::default());
    let cancel = CancellationToken::new();
    let interrupt = cancel.clone();
    let mut engine = engine(&registry);
    engine.after_push = Some(Box::new(move |registry, name| {
        if name.repository().to_string().ends_with("/b") {
            registry.push(name, b"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{}}");
            interrupt.cancel();
        }
    }));
    let cut = build(&project, &registry, &engine, &request(false), &cancel).await.report;
    let reference = cut.image(&image("b")).unwrap().reference.to_string();
    plain(&project, &registry, false).await;
    let digest = registry.digest_of(&reference).unwrap();
    assert_eq!((inputs(&registry, &digest).await, left(&project)), (0, 0));
}
