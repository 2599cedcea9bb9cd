//! First pushes to repositories that have to be made.

use std::sync::atomic::Ordering;

use dockit_core::Error;
use dockit_core::PushPolicy;
use dockit_core::backend::NamedBackend;
use dockit_core::events::Silent;
use dockit_core::execute::{ImageErrorKind, RunReport, Status};
use dockit_core::story::{self, Request, Services};
use dockit_registry::Repository;
use tokio_util::sync::CancellationToken;

use crate::support::{FakeEngine, MemoryRegistry, TestProject};

const CREATES: &str = "[registries.\"r.example\"]\ncreate-repositories = true\n";

fn project(settings: &str) -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"r.example/p\"\n{settings}[images.base]\n[images.other]\n"
            ),
        ),
        ("base/Dockerfile", "FROM scratch\nCOPY file /\n"),
        ("base/file", "1"),
        ("other/Dockerfile", "FROM scratch\nCOPY file /other\n"),
        ("other/file", "1"),
    ])
}

fn without(name: &str, hidden: bool) -> MemoryRegistry {
    let registry = MemoryRegistry::default();
    let repository: Repository = format!("r.example/p/{name}").parse().unwrap();
    registry.missing.lock().unwrap().insert(repository);
    registry.hides_missing.store(hidden, Ordering::Relaxed);
    registry
}

async fn build(
    project: &TestProject,
    registry: &MemoryRegistry,
    engine: &FakeEngine<'_>,
    push: PushPolicy,
) -> Result<RunReport, Error> {
    let request = Request { push: Some(push), ..Request::default() };
    let services =
        Services { registry, engine, backends: &[NamedBackend::only(engine)], observer: &Silent };
    let cancel = CancellationToken::new();
    Ok(story::build(&project.load(), &request, &services, &cancel).await?.report)
}

fn engine(registry: &MemoryRegistry) -> FakeEngine<'_> {
    FakeEngine { registry: Some(registry), ..FakeEngine::default() }
}

#[tokio::test(start_paused = true)]
async fn a_missing_repository_is_told_before_anything_is_built_for_it() {
    let (project, registry) = (project(""), without("base", false));
    let engine = engine(&registry);
    let report = build(&project, &registry, &engine, PushPolicy::Always).await.unwrap();
    assert_eq!(engine.built_names(), ["other"]);
    let [base, other] = report.images.as_slice() else { panic!("{report:?}") };
    let error = base.error.as_ref().unwrap();
    assert_eq!(error.kind, ImageErrorKind::NoRepository);
    assert!(error.message.contains("r.example/p/base"), "{error}");
    assert_eq!((base.status, other.status), (Status::Failed, Status::Built));
    assert!(other.pushed);
}

#[tokio::test(start_paused = true)]
async fn a_missing_repository_is_made_where_the_configuration_allows_it() {
    for hidden in [false, true] {
        let (project, registry) = (project(CREATES), without("base", hidden));
        let report = build(&project, &registry, &engine(&registry), PushPolicy::Always).await;
        let report = report.unwrap();
        assert_eq!(report.count(Status::Built), 2, "{report:?}");
        assert!(registry.missing.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_by_a_run_that_does_not_push_or_may_not() {
    let (allowed, registry) = (project(CREATES), without("base", false));
    let report = build(&allowed, &registry, &engine(&registry), PushPolicy::Never).await.unwrap();
    assert_eq!(report.count(Status::Built), 2);
    assert_eq!(registry.missing.lock().unwrap().len(), 1);

    // What is denied may be there, and other people's.
    let (forbidden, registry) = (project(""), without("base", true));
    let denied = build(&forbidden, &registry, &engine(&registry), PushPolicy::Always).await;
    assert!(matches!(denied, Err(Error::Lookup(_))), "{denied:?}");
    assert_eq!(registry.missing.lock().unwrap().len(), 1);
}
