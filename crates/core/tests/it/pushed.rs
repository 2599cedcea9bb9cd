//! Backends that keep no images: they push by digest, and the content tag is put afterwards.

use std::sync::Mutex;

use async_trait::async_trait;
use dockit_core::backend::{
    BackendError, BuildBackend, BuildObserver, BuildRequest, Built, ContainerEnd, KEY_LABEL,
    LocalImage, NamedBackend,
};
use dockit_core::events::Silent;
use dockit_core::execute::{ImageErrorKind, RunReport, Status};
use dockit_core::story::{self, Request, Services};
use dockit_core::{PushPolicy, config};
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
}

#[async_trait]
impl BuildBackend for FakeRemote<'_> {
    async fn build(
        &self,
        request: BuildRequest,
        _: &dyn BuildObserver,
    ) -> Result<Built, BackendError> {
        let registry = self.registry.unwrap();
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
    let backends = &[NamedBackend::new("remote", remote)];
    let services = Services { registry, engine, backends, observer: &Silent };
    let request = Request { push: Some(PushPolicy::Always), ..Request::default() };
    let cancel = CancellationToken::new();
    let file = project.root().join("dockit.toml");
    let project = config::load(&file, &config::LoadOptions::default()).unwrap();
    story::build(&project, &request, &services, &cancel).await.unwrap().report
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
