//! Which earlier images a build may take layers over from, and when it may not.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use dockit_core::backend::{BuildRequest, NamedBackend};
use dockit_core::ci::CiRun;
use dockit_core::config::{self, LoadOptions};
use dockit_core::events::{Event, Observer};
use dockit_core::execute::Status;
use dockit_core::layer_cache::CacheSources;
use dockit_core::moving_tags::TagFacts;
use dockit_core::source::Source;
use dockit_core::story::{Request, Services, build};
use dockit_core::{ImageKey, Lockfile, Project, PushPolicy, lockfile::LockedImage};
use dockit_registry::{Digest, ErrorKind, Reference};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeEngine, MemoryRegistry, PASSWORD, TestProject, image};

/// Keeps warnings about sources.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn event(&self, event: Event) {
        if let Event::CacheNotLookedUp { image, reference, error } = event {
            self.0.lock().unwrap().push(format!("{image} {reference} {error}"));
        }
    }
}

const REPOSITORY: &str = "r.example/p/a";

fn project(settings: &str) -> TestProject {
    let toml = format!(
        "[project]\nregistry = \"r.example/p\"\n[images.a]\ntags = [\"main\", \"stable\"]\n{settings}"
    );
    TestProject::new(&[
        ("dockit.toml", &toml),
        ("a/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("a/f", "1"),
    ])
}

/// Records an earlier image in the lockfile.
fn record(project: &TestProject, digest: &Digest) {
    record_in(project, REPOSITORY, digest);
}

fn record_in(project: &TestProject, repository: &str, digest: &Digest) {
    let loaded = project.load();
    let key: ImageKey = project.keys().get(&image("a")).unwrap().key;
    let reference: Reference = format!("{repository}@{digest}").parse().unwrap();
    Lockfile::edit(&loaded.lockfile, &loaded.state_directory(), |lockfile| {
        lockfile.update_image(image("a"), LockedImage { key, reference });
    })
    .unwrap();
}

/// Builds, and returns what the engine was asked with the warnings.
async fn built(
    project: &TestProject,
    registry: &MemoryRegistry,
    change: impl FnOnce(&mut Request),
) -> (BuildRequest, Vec<String>) {
    let engine = FakeEngine { registry: Some(registry), ..FakeEngine::default() };
    let warnings = Warnings::default();
    let services = Services {
        registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &warnings,
    };
    let mut request = Request { push: Some(PushPolicy::Always), ..Request::default() };
    change(&mut request);
    let built =
        build(&project.load(), &request, &services, &CancellationToken::new()).await.unwrap();
    assert!(
        built.report.succeeded() && built.report.count(Status::Built) > 0,
        "{:?}",
        built.report
    );
    let requests = engine.built.lock().unwrap();
    let of_a = |request: &&BuildRequest| request.name.repository().to_string() == REPOSITORY;
    let request = requests.iter().find(of_a).unwrap().clone();
    (request, warnings.0.into_inner().unwrap())
}

fn sources(request: &BuildRequest) -> Vec<String> {
    request.cache_sources.iter().map(|source| source.image.to_string()).collect()
}

fn push(registry: &MemoryRegistry, tag: &str, seed: &str) -> Digest {
    registry.push(&format!("{REPOSITORY}:{tag}").parse().unwrap(), seed.as_bytes())
}

#[tokio::test]
async fn what_is_recorded_comes_first_then_the_tags_that_are_there() {
    let project = project("");
    let registry = MemoryRegistry::default();
    let (request, warnings) = built(&project, &registry, |_| {}).await;
    assert!(sources(&request).is_empty() && request.layer_cache && request.export_cache);
    assert_eq!(warnings, Vec::<String>::new(), "an absent source is no failure");

    let registry = MemoryRegistry::default();
    let stable = push(&registry, "stable", "old");
    let (request, _) = built(&project, &registry, |_| {}).await;
    assert_eq!(sources(&request), [format!("{REPOSITORY}@{stable}")]);

    let registry = MemoryRegistry::default();
    let (stable, main) = (push(&registry, "stable", "old"), push(&registry, "main", "new"));
    let recorded = push(&registry, "k", "recorded");
    record(&project, &recorded);
    let (request, _) = built(&project, &registry, |_| {}).await;
    let expected = [recorded, main, stable].map(|digest| format!("{REPOSITORY}@{digest}"));
    assert_eq!(sources(&request), expected);

    // The same image by two names is asked for once.
    let registry = MemoryRegistry::default();
    let same = push(&registry, "stable", "same");
    assert_eq!(push(&registry, "main", "same"), same);
    let (request, _) = built(&project, &registry, |_| {}).await;
    assert_eq!(sources(&request), [format!("{REPOSITORY}@{same}")], "what is recorded is gone");
}

/// BuildKit believes what an image says its layers were made from.
#[tokio::test]
async fn what_is_recorded_of_another_repository_is_no_source() {
    for elsewhere in ["r.example/p/b", "r.example/a", "other.example/p/a"] {
        let project = project("");
        let registry = MemoryRegistry::default();
        let reference = format!("{elsewhere}:k").parse().unwrap();
        let recorded = registry.push(&reference, b"recorded");
        record_in(&project, elsewhere, &recorded);
        let (request, _) = built(&project, &registry, |_| {}).await;
        assert!(sources(&request).is_empty(), "{elsewhere}: {:?}", sources(&request));
    }
}

#[tokio::test]
async fn all_sources_of_a_private_registry_are_given() {
    let project = project("");
    let registry = MemoryRegistry::default();
    registry.private.store(true, Ordering::Relaxed);
    let stable = push(&registry, "stable", "old");
    let main = push(&registry, "main", "new");
    let (request, _) = built(&project, &registry, |_| {}).await;
    assert_eq!(sources(&request), [main, stable].map(|digest| format!("{REPOSITORY}@{digest}")));
    assert!(!format!("{request:?}").contains(PASSWORD));
}

#[tokio::test]
async fn nothing_is_looked_for_where_the_layer_cache_may_not_be_used() {
    for settings in [
        "refresh = \"weekly\"\n",
        "inputs = [\"a/Dockerfile\"]\n",
        "declared-key.v = { file = \"a/f\", pattern = '.' }\n",
        "needs = [\"b\"]\n[images.b]\ndockerfile = \"a/Dockerfile\"\n",
        "layer-cache = false\n",
    ] {
        let project = project(settings);
        let registry = MemoryRegistry::default();
        push(&registry, "stable", "old");
        let (request, _) = built(&project, &registry, |_| {}).await;
        assert!(!request.layer_cache && !request.export_cache, "{settings}");
        assert_eq!(sources(&request), Vec::<String>::new(), "{settings}");
    }
}

#[tokio::test]
async fn a_rebuild_and_a_run_that_looks_nothing_up_have_no_sources() {
    let project = project("");
    let registry = MemoryRegistry::default();
    push(&registry, "stable", "old");
    let (request, _) = built(&project, &registry, |request| {
        request.push = Some(PushPolicy::Never);
    })
    .await;
    assert!(request.layer_cache && sources(&request).is_empty());
    let (request, _) = built(&project, &registry, |_| {}).await;
    assert_eq!(sources(&request).len(), 1);
    let (request, _) = built(&project, &registry, |request| request.rebuild = true).await;
    assert!(!request.layer_cache && sources(&request).is_empty());
    assert!(request.export_cache, "what is built again stays a source");
}

#[tokio::test]
async fn the_projects_word_counts_unless_the_image_has_its_own() {
    let text = "[project]\nlayer-cache = false\n[images.a]\n[images.b]\nlayer-cache = true\n";
    let project = config::parse("/x/dockit.toml".as_ref(), text, &LoadOptions::default()).unwrap();
    assert!(!project.images[&image("a")].layer_cache);
    assert!(project.images[&image("b")].layer_cache);
    let nowhere = sources_of(&project, None, &CiRun::default());
    assert_eq!(nowhere, CacheSources::default());
}

/// Where layers may come from on a checked out branch, or outside of git.
fn sources_of(project: &Project, ci_default: Option<&str>, ci: &CiRun) -> CacheSources {
    let ci = CiRun { default_branch: ci_default.map(str::to_owned), ..ci.clone() };
    let today = time::macros::date!(2026 - 11 - 21);
    let facts = TagFacts { ci: &ci, source: &Source::Elsewhere, today, force: false };
    CacheSources::of(project, &Lockfile::default(), &facts)
}

#[test]
fn the_own_branch_comes_before_the_default_one_and_that_before_fixed_tags() {
    let text = "[project]\nregistry = \"r.example/p\"\n[images.a]\n\
                tags = [\"latest\", \"{prefix}-{branch}\", \"{commit}\", \"{prefix}\"]\n\
                tag-prefix = \"gpu\"\n";
    let project = config::parse("/x/dockit.toml".as_ref(), text, &LoadOptions::default()).unwrap();
    let of = |ci: &CiRun| -> Vec<String> {
        let sources = sources_of(&project, Some("main"), ci);
        sources.get(&image("a")).iter().map(ToString::to_string).collect()
    };
    let named = |tags: &[&str]| -> Vec<String> {
        tags.iter().map(|tag| format!("{REPOSITORY}:{tag}")).collect()
    };
    let branch = CiRun { ci: true, branch: Some("feature/x".to_owned()), ..CiRun::default() };
    assert_eq!(of(&branch), named(&["gpu-feature-x", "gpu-main", "latest", "gpu"]));
    // A branch of a pull request may be called as anybody likes.
    let request = CiRun { pull_request: true, ..branch };
    assert_eq!(of(&request), named(&["gpu-main", "latest", "gpu"]));
}

#[test]
fn layers_are_kept_under_the_names_of_branches() {
    let text = "[project]\nregistry = \"r.example/p\"\ncache-registry = \"c.example/layers/\"\n\
                [images.a]\n[images.arm]\nplatforms = [\"linux/arm64\"]\n";
    let project = config::parse("/x/dockit.toml".as_ref(), text, &LoadOptions::default()).unwrap();
    let of = |name: &str, ci: &CiRun, default: Option<&str>| {
        let sources = sources_of(&project, default, ci);
        let kept = sources.kept(&image(name)).unwrap().clone();
        let from: Vec<String> = kept.from.iter().map(ToString::to_string).collect();
        (from, kept.to.map(|place| place.to_string()))
    };
    let on = |branch: &str| CiRun { branch: Some(branch.to_owned()), ..CiRun::default() };
    let own = "c.example/layers/a:feature-x".to_owned();
    let main = "c.example/layers/a:main".to_owned();
    let expected = (vec![own.clone(), main.clone()], Some(own));
    assert_eq!(of("a", &on("feature/x"), Some("main")), expected);
    assert_eq!(of("a", &on("main"), Some("main")), (vec![main.clone()], Some(main.clone())));
    let arm = "c.example/layers/arm:main-linux-arm64".to_owned();
    assert_eq!(of("arm", &on("main"), Some("main")), (vec![arm.clone()], Some(arm)));
    // A branch of a pull request may be called as anybody likes, so it reads and keeps nothing there.
    let request = CiRun { ci: true, pull_request: true, ..on("main") };
    assert_eq!(of("a", &request, Some("main")), (vec![main], None));
    // What a tag of that form leads to is something else.
    let reserved = of("a", &on(&format!("k1-{}", "a".repeat(64))), Some("main"));
    assert_eq!(reserved.1, None);
    let without = "[project]\nregistry = \"r.example/p\"\n[images.a]\n";
    let without = config::parse("/x/dockit.toml".as_ref(), without, &LoadOptions::default());
    assert!(sources_of(&without.unwrap(), None, &on("main")).kept(&image("a")).is_none());
}

#[tokio::test]
async fn a_registry_that_fails_is_a_warning_and_one_that_refuses_is_none() {
    for (kind, warned) in [(ErrorKind::Transient, 2), (ErrorKind::Denied, 0)] {
        let project = project("");
        let registry = MemoryRegistry::default();
        push(&registry, "stable", "old");
        *registry.failing_moving_tags.lock().unwrap() = Some(kind.clone());
        let (request, warnings) = built(&project, &registry, |_| {}).await;
        assert!(request.layer_cache && request.cache_sources.is_empty());
        assert_eq!(warnings.len(), warned, "{kind:?} {warnings:?}");
    }
}
