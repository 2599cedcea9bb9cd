//! Moving tags: which a run may move, when it does, and what it says about the others.

use std::collections::BTreeMap;
use std::sync::Mutex;

use dockit_core::backend::{BackendErrorKind, NamedBackend};
use dockit_core::ci::CiRun;
use dockit_core::events::{Event, Observer, Silent};
use dockit_core::execute::{ImageErrorKind, RunReport, Status};
use dockit_core::inputs::{self, Origin};
use dockit_core::moving_tags::HeldReason;
use dockit_core::plan::Action;
use dockit_core::story::{self, Request, Services};
use dockit_core::{Error, KeyOptions, Project, PushPolicy};
use dockit_registry::{Digest, ErrorKind, Reference};
use tokio_util::sync::CancellationToken;

use crate::git::{commit, commit_at, git};
use crate::support::{FakeEngine, MemoryRegistry, TestProject, image, short};

const PLACE: &str = "r.example/p/a";

/// An image `a` of one file, with these lines in its table, in a git repository on `main`.
fn in_git(image_lines: &str, project_lines: &str) -> TestProject {
    let project = without_git(image_lines, project_lines);
    git(project.root(), &["init", "--quiet"]);
    commit(project.root());
    project
}

fn without_git(image_lines: &str, project_lines: &str) -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\nregistry = \"r.example/p\"\n{project_lines}\n[images.a]\n{image_lines}\n"
            ),
        ),
        ("a/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("a/f", "1"),
    ])
}

fn pushing() -> Request {
    Request { push: Some(PushPolicy::Always), ..Request::default() }
}

fn engine(registry: &MemoryRegistry) -> FakeEngine<'_> {
    FakeEngine { registry: Some(registry), ..FakeEngine::default() }
}

async fn run(project: &Project, registry: &MemoryRegistry, request: &Request) -> RunReport {
    let engine = engine(registry);
    let services = Services {
        registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    story::build(project, request, &services, &CancellationToken::new()).await.unwrap().report
}

async fn build(project: &TestProject, registry: &MemoryRegistry, request: &Request) -> RunReport {
    run(&project.load(), registry, request).await
}

/// The tags that were put, and those that were not, with their reasons.
fn tags(report: &RunReport) -> (Vec<String>, Vec<(String, HeldReason)>) {
    let image = &report.images[0];
    let put = image.tags.iter().map(ToString::to_string).collect();
    let held = image.held_tags.iter().map(|held| (held.name(), held.reason.clone())).collect();
    (put, held)
}

fn digest_of(registry: &MemoryRegistry, tag: &str) -> Option<Digest> {
    registry.digest_of(&format!("{PLACE}:{tag}"))
}

#[tokio::test]
async fn a_tag_without_placeholder_moves_on_the_default_branch_alone() {
    let ci = |branch: &str, default: Option<&str>| CiRun {
        ci: true,
        branch: Some(branch.to_owned()),
        default_branch: default.map(str::to_owned),
        ..CiRun::default()
    };
    let none = CiRun::default();
    let pull_request = CiRun { ci: true, pull_request: true, ..CiRun::default() };
    let git_tag = CiRun { ci: true, git_tag: Some("v1".to_owned()), ..CiRun::default() };
    // What git has checked out, origin/HEAD, [project], what CI says, and whether the tag moves.
    let cases: [(&str, Option<&str>, &str, &CiRun, bool); 14] = [
        ("main", None, "", &none, true),
        ("master", None, "", &none, true),
        ("trunk", None, "", &none, false),
        ("trunk", Some("trunk"), "", &none, true),
        ("main", Some("trunk"), "", &none, false),
        ("trunk", Some("main"), "default-branch = \"trunk\"", &none, true),
        ("main", None, "default-branch = \"trunk\"", &none, false),
        ("HEAD", None, "", &none, false),
        ("HEAD", None, "", &ci("main", None), true),
        ("HEAD", None, "", &ci("trunk", Some("trunk")), true),
        ("HEAD", Some("main"), "", &ci("main", Some("trunk")), false),
        ("main", None, "default-branch = \"x\"", &ci("x", Some("trunk")), true),
        ("main", None, "", &pull_request, false),
        ("main", None, "", &git_tag, false),
    ];
    for (branch, origin, lines, ci, moves) in cases {
        let project = in_git("tags = [\"latest\"]", lines);
        match branch {
            "HEAD" => git(project.root(), &["checkout", "--quiet", "--detach"]),
            branch => git(project.root(), &["branch", "--move", branch]),
        };
        if let Some(origin) = origin {
            let target = format!("refs/remotes/origin/{origin}");
            git(project.root(), &["symbolic-ref", "refs/remotes/origin/HEAD", &target]);
        }
        let case = format!("{branch} {origin:?} {lines} {ci:?}");
        let registry = MemoryRegistry::default();
        let report = build(&project, &registry, &Request { ci: ci.clone(), ..pushing() }).await;
        let image = &report.images[0];
        assert_eq!(image.status, Status::Built, "{case}");
        assert_eq!(digest_of(&registry, "latest").is_some(), moves, "{case}");
        assert_eq!((image.tags.len(), image.held_tags.len()), if moves { (1, 0) } else { (0, 1) });
        let forced = Request { ci: ci.clone(), force_tags: true, ..pushing() };
        let report = build(&project, &registry, &forced).await;
        assert_eq!(digest_of(&registry, "latest"), report.images[0].digest, "{case}");
        let status = if moves { Status::Reused } else { Status::Retagged };
        assert_eq!(report.images[0].status, status, "{case}");
    }
}

#[tokio::test]
async fn it_moves_from_what_is_committed_alone() {
    let project = in_git("tags = [\"latest\", \"{commit}\", \"{branch}\"]", "");
    let registry = MemoryRegistry::default();
    project.write("a/f", "2");
    let (put, held) = tags(&build(&project, &registry, &pushing()).await);
    assert_eq!(put, ["main"]);
    let said: Vec<String> = held.iter().map(|(tag, why)| format!("{tag}: {why}")).collect();
    assert_eq!(
        said,
        [
            "latest: the work tree is not as committed: a/f",
            "{commit}: {commit} has no value: the work tree is not as committed: a/f"
        ]
    );
    let head = commit(project.root());
    let (put, held) = tags(&build(&project, &registry, &pushing()).await);
    assert_eq!((put, held), (vec!["latest".to_owned(), head], vec![]));
}

#[tokio::test]
async fn outside_of_a_repository_nobody_can_say() {
    let project = without_git("tags = [\"latest\", \"{branch}\", \"{commit}\", \"{run}\"]", "");
    let registry = MemoryRegistry::default();
    let (put, held) = tags(&build(&project, &registry, &pushing()).await);
    assert!(put.is_empty());
    let kinds: Vec<(&str, &str)> =
        held.iter().map(|(tag, why)| (tag.as_str(), why.kind())).collect();
    assert_eq!(
        kinds,
        [
            ("latest", "no-branch"),
            ("{branch}", "no-value"),
            ("{commit}", "no-value"),
            ("{run}", "no-value")
        ]
    );
    assert!(held[0].1.to_string().contains("in no git repository"), "{}", held[0].1);
    // CI knows the rest without files of git, and the tag without placeholder can be forced.
    let ci = CiRun {
        ci: true,
        branch: Some("x/y".to_owned()),
        commit: Some("c".repeat(40)),
        run_id: Some("7".to_owned()),
        ..CiRun::default()
    };
    let (put, held) = tags(&build(&project, &registry, &Request { ci, ..pushing() }).await);
    assert_eq!(put, ["x-y".to_owned(), "c".repeat(40), "7".to_owned()]);
    assert_eq!(held.len(), 1);
    let forced = Request { force_tags: true, ..pushing() };
    assert_eq!(tags(&build(&project, &registry, &forced).await).0, ["latest"]);
}

#[tokio::test]
async fn placeholders_have_the_values_of_the_run() {
    let project = in_git(
        "tags = [\"{branch}\", \"{commit}\", \"{version}-{prefix}\", \"{date}\", \"r{run}\", \"{prefix}\"]\n\
         tag-prefix = \"cuda12\"",
        "version = { file = \"pyproject.toml\" }",
    );
    project.write("pyproject.toml", "[project]\nversion = \"1.2+x\"\n");
    let head = commit(project.root());
    git(project.root(), &["checkout", "--quiet", "-b", "feature/x#1"]);
    let registry = MemoryRegistry::default();
    let today = time::Date::from_calendar_date(2026, time::Month::November, 21).unwrap();
    let request = Request {
        keys: KeyOptions { today, ..KeyOptions::default() },
        ci: CiRun { run_id: Some("77".to_owned()), ..CiRun::default() },
        ..pushing()
    };
    let (put, held) = tags(&build(&project, &registry, &request).await);
    assert_eq!(put, ["feature-x-1", &head, "1.2-x-cuda12", "2026-11-21", "r77"]);
    // One whose only placeholder is the prefix is the same in every run.
    assert_eq!(held[0].0, "cuda12");
    assert_eq!(held[0].1.kind(), "other-branch");
    // A version that is not there is told before anything is built.
    project.write("pyproject.toml", "[project]\ndynamic = [\"version\"]\n");
    let engine = engine(&registry);
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let cancel = CancellationToken::new();
    let error = story::build(&project.load(), &request, &services, &cancel).await.unwrap_err();
    assert!(matches!(error, Error::Version(_)), "{error}");
    // A run that moves no tags does not need it.
    let quiet = Request { push: Some(PushPolicy::Auto), ..request };
    story::build(&project.load(), &quiet, &services, &cancel).await.unwrap();
}

#[tokio::test]
async fn a_branch_that_is_called_like_a_tag_gives_no_way_around_the_rules() {
    let project = in_git("tags = [\"latest\", \"{branch}\"]", "");
    git(project.root(), &["checkout", "--quiet", "-b", "latest"]);
    let registry = MemoryRegistry::default();
    let (put, held) = tags(&build(&project, &registry, &pushing()).await);
    assert!(put.is_empty() && digest_of(&registry, "latest").is_none());
    assert_eq!(held[0].0, "latest");
    let forced = Request { force_tags: true, ..pushing() };
    assert_eq!(tags(&build(&project, &registry, &forced).await).0, ["latest"], "once");
}

#[tokio::test]
async fn two_images_of_a_repository_with_one_tag_are_an_error_before_anything_is_built() {
    let project = TestProject::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example/p\"\n[images.a]\ntags = [\"{branch}\"]\n\
             [images.b]\ntags = [\"main\"]\n",
        ),
        ("a/Dockerfile", "FROM scratch\n"),
        ("b/Dockerfile", "FROM scratch\nLABEL b=1\n"),
    ]);
    git(project.root(), &["init", "--quiet"]);
    commit(project.root());
    let mut loaded = project.load();
    let repository = loaded.images[&image("a")].repository.clone();
    loaded.images.get_mut(&image("b")).unwrap().repository = repository;
    let registry = MemoryRegistry::default();
    let engine = engine(&registry);
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    // Also where only one of them was asked for.
    for images in [vec![], vec!["a".to_owned()]] {
        let request = Request { images, ..pushing() };
        let error = story::build(&loaded, &request, &services, &CancellationToken::new()).await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error}");
        assert!(error.to_string().contains("a and b both get the tag main"), "{error}");
    }
    assert!(engine.built_names().is_empty());
    git(project.root(), &["checkout", "--quiet", "-b", "other"]);
    let report = run(&loaded, &registry, &pushing()).await;
    assert!(report.succeeded());
}

/// A repository with two commits that differ in the image; the first and the second commit.
fn two_commits() -> (TestProject, String, String) {
    let project = without_git("tags = [\"latest\"]", "");
    git(project.root(), &["init", "--quiet"]);
    let first = commit_at(project.root(), "2026-01-01T00:00:00Z");
    project.write("a/f", "2");
    let second = commit_at(project.root(), "2026-02-01T00:00:00Z");
    (project, first, second)
}

/// Makes `main` point to a commit and checks it out, as a CI job of that commit does.
fn at(project: &TestProject, commit: &str) {
    git(project.root(), &["checkout", "--quiet", "-B", "main", commit]);
}

#[tokio::test]
async fn a_tag_never_goes_back_to_an_older_revision() {
    let (project, first, second) = two_commits();
    let registry = MemoryRegistry::default();
    at(&project, &first);
    let old = build(&project, &registry, &pushing()).await.images[0].digest.clone();
    at(&project, &second);
    let new = build(&project, &registry, &pushing()).await.images[0].digest.clone();
    assert_eq!(digest_of(&registry, "latest"), new);
    // The older job runs again: its image is there.
    at(&project, &first);
    let report = build(&project, &registry, &pushing()).await;
    assert_eq!(report.images[0].status, Status::Reused);
    let newer = HeldReason::Newer { revision: second.clone() };
    assert_eq!(tags(&report), (vec![], vec![("latest".to_owned(), newer.clone())]));
    assert_eq!(digest_of(&registry, "latest"), new);
    let plan = {
        let engine = engine(&registry);
        let services = Services {
            registry: &registry,
            engine: &engine,
            backends: &[NamedBackend::only(&engine)],
            observer: &Silent,
        };
        story::plan(&project.load(), &pushing(), &services).await.unwrap().plan
    };
    assert_eq!(plan.steps[0].action, Action::Reuse);
    assert_eq!(plan.steps[0].held_tags[0].reason, newer);
    // An older job whose image was never there: it is built, and the tag stays.
    let content = report.images[0].reference.clone();
    registry.set(&content, None);
    let report = build(&project, &registry, &pushing()).await;
    assert_eq!(report.images[0].status, Status::Built);
    assert_eq!(tags(&report).1, [("latest".to_owned(), newer)]);
    assert_eq!(digest_of(&registry, "latest"), new);
    let forced = Request { force_tags: true, ..pushing() };
    assert_eq!(build(&project, &registry, &forced).await.images[0].status, Status::Retagged);
    assert_eq!(digest_of(&registry, "latest"), old);
}

#[tokio::test]
async fn where_git_does_not_know_the_revision_the_times_of_the_commits_decide() {
    let (project, first, second) = two_commits();
    let registry = MemoryRegistry::default();
    at(&project, &second);
    let new = build(&project, &registry, &pushing()).await.images[0].digest.clone();
    // A shallow clone of the older commit knows nothing of the newer one.
    at(&project, &first);
    let shallow = without_git("tags = [\"latest\"]", "");
    let url = format!("file://{}", project.root().display());
    git(shallow.root(), &["init", "--quiet"]);
    git(shallow.root(), &["fetch", "--quiet", "--depth", "1", &url, "main"]);
    git(shallow.root(), &["checkout", "--quiet", "--force", "-B", "main", "FETCH_HEAD"]);
    let report = build(&shallow, &registry, &pushing()).await;
    assert_eq!(tags(&report).1[0].1.kind(), "newer", "{report:?}");
    assert_eq!(digest_of(&registry, "latest"), new);
    // A later commit of another history: newer by its time.
    shallow.write("a/f", "3");
    commit_at(shallow.root(), "2026-03-01T00:00:00Z");
    let report = build(&shallow, &registry, &pushing()).await;
    assert_eq!(digest_of(&registry, "latest"), report.images[0].digest);
}

#[tokio::test]
async fn what_is_on_another_branch_or_says_nothing_is_not_newer() {
    let (project, first, second) = two_commits();
    let registry = MemoryRegistry::default();
    at(&project, &second);
    build(&project, &registry, &pushing()).await;
    // The history was written anew.
    at(&project, &first);
    project.write("a/f", "3");
    commit_at(project.root(), "2026-01-15T00:00:00Z");
    let report = build(&project, &registry, &pushing()).await;
    assert_eq!(tags(&report), (vec!["latest".to_owned()], vec![]));
    // An image whose inputs were never published names no revision.
    let unknown = registry.push(&format!("{PLACE}:latest").parse().unwrap(), b"{}");
    let report = build(&project, &registry, &pushing()).await;
    assert_eq!(report.images[0].status, Status::Retagged);
    assert_ne!(digest_of(&registry, "latest"), Some(unknown));
}

#[tokio::test]
async fn of_two_runs_at_once_the_newer_one_wins() {
    let (project, first, second) = two_commits();
    let registry = MemoryRegistry::default();
    let latest: Reference = format!("{PLACE}:latest").parse().unwrap();
    at(&project, &first);
    let old = build(&project, &registry, &pushing()).await.images[0].digest.clone();
    at(&project, &second);
    let new = build(&project, &registry, &pushing()).await.images[0].digest.clone();
    let rival = |digest: Option<Digest>, times: usize| {
        let left = Mutex::new(times);
        *registry.after_tag.lock().unwrap() = Some(Box::new(move |registry, reference| {
            let mut left = left.lock().unwrap();
            if *left > 0 && reference.tag().unwrap().as_str() == "latest" {
                *left -= 1;
                registry.set(reference, digest.as_ref());
            }
        }));
    };
    // The older run's put lands behind the newer one's: it is overruled.
    registry.set(&latest, None);
    rival(old.clone(), 1);
    let report = build(&project, &registry, &pushing()).await;
    assert_eq!(tags(&report), (vec!["latest".to_owned()], vec![]));
    assert_eq!(digest_of(&registry, "latest"), new);
    // The newer run's put lands behind the older one's: it stays.
    at(&project, &first);
    registry.set(&latest, None);
    rival(new.clone(), 1);
    let report = build(&project, &registry, &pushing()).await;
    assert_eq!(tags(&report).1[0].1, HeldReason::Newer { revision: second });
    assert_eq!(report.images[0].status, Status::Reused);
    assert_eq!(digest_of(&registry, "latest"), new);
    // Somebody who never gives up is not fought for ever.
    registry.set(&latest, None);
    let stranger = registry.push(&format!("{PLACE}:stranger").parse().unwrap(), b"{\"x\":1}");
    rival(Some(stranger.clone()), usize::MAX);
    let report = build(&project, &registry, &pushing()).await;
    assert_eq!(tags(&report).1[0].1, HeldReason::Contested { digest: stranger });
}

/// A chain `base` ← `child`, and `alone`, each with a moving tag.
fn chain() -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            "[project]\nregistry = \"r.example/p\"\n[images.base]\ntags = [\"t\"]\n\
             [images.child]\ntags = [\"t\"]\n[images.alone]\ntags = [\"t\"]\n",
        ),
        ("base/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("base/f", "1"),
        ("child/Dockerfile", "FROM base\nCOPY f /g\n"),
        ("child/f", "2"),
        ("alone/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("alone/f", "3"),
    ])
}

fn forcing() -> Request {
    Request { force_tags: true, ..pushing() }
}

fn on_tag(registry: &MemoryRegistry, name: &str) -> Option<Digest> {
    registry.digest_of(&format!("r.example/p/{name}:t"))
}

#[tokio::test(start_paused = true)]
async fn tags_move_when_every_image_has_ended_and_only_those_of_what_ended_well() {
    let (project, registry) = (chain(), MemoryRegistry::default());
    // When the first tag is put, everything was built.
    let seen: &'static Mutex<Vec<usize>> = Box::leak(Box::default());
    *registry.after_tag.lock().unwrap() = Some(Box::new(move |registry, _| {
        seen.lock().unwrap().push(registry.content_tags());
    }));
    let mut engine = engine(&registry);
    engine.broken.insert("child".to_owned(), BackendErrorKind::Build);
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let cancel = CancellationToken::new();
    let report =
        story::build(&project.load(), &forcing(), &services, &cancel).await.unwrap().report;
    assert_eq!(*seen.lock().unwrap(), [2, 2]);
    for name in ["base", "alone"] {
        assert_eq!(on_tag(&registry, name), report.image(&image(name)).unwrap().digest, "{name}");
    }
    let child = report.image(&image("child")).unwrap();
    assert_eq!((child.status, child.tags.len(), child.held_tags.len()), (Status::Failed, 0, 0));
    assert_eq!(on_tag(&registry, "child"), None);
}

#[tokio::test(start_paused = true)]
async fn tags_of_what_was_not_asked_for_stay() {
    let (project, registry) = (chain(), MemoryRegistry::default());
    let request = Request { images: vec!["child".to_owned()], ..forcing() };
    let report = build(&project, &registry, &request).await;
    assert_eq!(report.count(Status::Built), 2);
    assert!(on_tag(&registry, "child").is_some() && on_tag(&registry, "base").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_stops_early_moves_nothing_and_the_next_one_does() {
    let (project, registry) = (chain(), MemoryRegistry::default());
    // Interrupted when the last image was pushed.
    let cancel = CancellationToken::new();
    let token = cancel.clone();
    let mut fatal = engine(&registry);
    fatal.after_push = Some(Box::new(move |_, name| {
        if short(name) == "child" {
            token.cancel();
        }
    }));
    let services = Services {
        registry: &registry,
        engine: &fatal,
        backends: &[NamedBackend::only(&fatal)],
        observer: &Silent,
    };
    let report =
        story::build(&project.load(), &forcing(), &services, &cancel).await.unwrap().report;
    let base = report.image(&image("base")).unwrap();
    assert_eq!((base.status, base.tags.len()), (Status::Built, 0));
    assert_eq!(base.held_tags[0].reason, HeldReason::Interrupted);
    assert!(on_tag(&registry, "base").is_none());
    let report = build(&project, &registry, &forcing()).await;
    assert_eq!(report.count(Status::Retagged), 3, "{report:?}");
    for name in ["base", "child", "alone"] {
        assert_eq!(on_tag(&registry, name), report.image(&image(name)).unwrap().digest);
    }
    let report = build(&project, &registry, &forcing()).await;
    assert_eq!(report.count(Status::Reused), 3);

    // Stopped by a failure.
    project.write("base/f", "new");
    let mut broken = engine(&registry);
    broken.broken.insert("alone".to_owned(), BackendErrorKind::Build);
    let services = Services {
        registry: &registry,
        engine: &broken,
        backends: &[NamedBackend::only(&broken)],
        observer: &Silent,
    };
    let one = std::num::NonZeroUsize::MIN;
    let request = Request { fail_fast: true, jobs: one, ..forcing() };
    project.write("alone/Dockerfile", "FROM base\n");
    let cancel = CancellationToken::new();
    let report = story::build(&project.load(), &request, &services, &cancel).await.unwrap().report;
    assert_eq!(report.count(Status::Cancelled), 1, "{report:?}");
    let base = report.image(&image("base")).unwrap();
    assert_eq!(base.held_tags[0].reason, HeldReason::Stopped);
    assert_ne!(on_tag(&registry, "base"), base.digest);
}

/// Remembers which tags were said to be moved.
#[derive(Default)]
struct Told(Mutex<BTreeMap<String, usize>>);

impl Observer for Told {
    fn event(&self, event: Event) {
        if let Event::TagsMoved { image, tags, .. } = event {
            self.0.lock().unwrap().insert(image.to_string(), tags.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_cannot_be_put_fails_its_image_alone() {
    let (project, registry) = (chain(), MemoryRegistry::default());
    registry.refuse_tag("r.example/p/base:t");
    let engine = engine(&registry);
    let told = Told::default();
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &told,
    };
    let cancel = CancellationToken::new();
    let request = Request { pin: true, ..forcing() };
    let report = story::build(&project.load(), &request, &services, &cancel).await.unwrap().report;
    let base = report.image(&image("base")).unwrap();
    assert_eq!(base.status, Status::Failed);
    assert_eq!(base.error.as_ref().unwrap().kind, ImageErrorKind::Registry);
    assert!(base.pushed && base.digest.is_some(), "it is there nevertheless");
    let told = told.0.lock().unwrap().clone();
    assert_eq!(told, BTreeMap::from([("alone".to_owned(), 1), ("child".to_owned(), 1)]));
    assert!(!project.root().join("dockit.lock").exists(), "only all images are recorded");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_does_not_push_neither_moves_tags_nor_speaks_of_them() {
    let (project, registry) = (chain(), MemoryRegistry::default());
    let report = build(&project, &registry, &Request::default()).await;
    assert!(report.images.iter().all(|it| it.tags.is_empty() && it.held_tags.is_empty()));
    // Nor does one that asks for what cannot be answered.
    *registry.failure.lock().unwrap() = Some(ErrorKind::Transient);
    let engine = engine(&registry);
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let cancel = CancellationToken::new();
    let error = story::build(&project.load(), &forcing(), &services, &cancel).await.unwrap_err();
    assert!(matches!(error, Error::Lookup(_)), "{error}");
}

#[tokio::test]
async fn an_image_says_from_what_and_when_it_was_built() {
    let project = TestProject::new(&[
        ("dockit.toml", "[project]\nregistry = \"r.example/p\"\n[images.a]\n[images.b]\n"),
        ("a/Dockerfile", "FROM r.example/x/one:1\nCOPY --from=r.example/x/two:1 /f /\n"),
        ("b/Dockerfile", "FROM a\nLABEL b=1\n"),
    ]);
    let registry = MemoryRegistry::default();
    let config = br#"{"os":"linux","architecture":"amd64","config":{}}"#;
    let one = registry.push(&"r.example/x/one:1".parse().unwrap(), config);
    let two = registry.push(&"r.example/x/two:1".parse().unwrap(), &[config, &b" "[..]].concat());
    let engine = engine(&registry);
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let cancel = CancellationToken::new();
    // The lockfile belongs to the revision.
    story::build(&project.load(), &Request::default(), &services, &cancel).await.unwrap();
    git(project.root(), &["init", "--quiet"]);
    let head = commit_at(project.root(), "2026-01-02T03:04:05Z");
    let report =
        story::build(&project.load(), &pushing(), &services, &cancel).await.unwrap().report;
    let a = report.image(&image("a")).unwrap();
    let place = a.reference.repository();
    let origins = inputs::origins(&registry, place, a.digest.as_ref().unwrap()).await.unwrap();
    let [Origin { created, version, revision, committed, started, seconds, replaced: None }] =
        &origins[..]
    else {
        panic!("{origins:?}");
    };
    assert_eq!(revision.as_ref(), Some(&head));
    assert_eq!(committed.unwrap().unix_timestamp(), 1_767_323_045);
    assert_eq!(version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert!(started.unwrap() <= created.unwrap() && seconds.unwrap() >= 0.0);
    // Nothing of it is in the image: labels are the same on every day and in every repository.
    let built = engine.built.lock().unwrap();
    let labels = |name: &str| {
        let request = built.iter().rev().find(|request| short(&request.name) == name).unwrap();
        request.labels.clone()
    };
    let mut digests = [one.to_string(), two.to_string()];
    digests.sort();
    let expected = [("dev.dockit.bases", digests.join(",")), ("dev.dockit.key", a.key.to_string())];
    let expected: BTreeMap<String, String> =
        expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(labels("a"), expected);
    assert_eq!(labels("b")["dev.dockit.bases"], "", "none is inherited");
}

/// Two commits of `main` and one of a branch that the second merges; all three images differ.
fn merged_branch() -> (TestProject, [String; 3]) {
    let (project, first, _) = two_commits();
    git(project.root(), &["checkout", "--quiet", "-B", "main", &first]);
    project.write("other", "1");
    let main = commit_at(project.root(), "2026-01-10T00:00:00Z");
    git(project.root(), &["checkout", "--quiet", "-B", "feature", &first]);
    project.write("a/f", "of the branch");
    let branch = commit_at(project.root(), "2026-01-05T00:00:00Z");
    git(project.root(), &["checkout", "--quiet", "main"]);
    git(project.root(), &["merge", "--quiet", "--no-ff", "--message", "x", "feature"]);
    let merge = git(project.root(), &["rev-parse", "HEAD"]);
    (project, [main, branch, merge])
}

#[tokio::test]
async fn what_counts_is_the_commit_that_a_tag_was_put_for_not_the_one_that_built_the_image() {
    let (project, [main, branch, merge]) = merged_branch();
    let registry = MemoryRegistry::default();
    // The branch builds the image; the merge only puts the tag on it.
    git(project.root(), &["checkout", "--quiet", "-B", "feature", &branch]);
    let built = build(&project, &registry, &pushing()).await.images[0].digest.clone();
    at(&project, &merge);
    let report = build(&project, &registry, &pushing()).await;
    assert_eq!(report.images[0].status, Status::Retagged);
    assert_eq!(digest_of(&registry, "latest"), built);
    // A late run of what was on main before is older than the merge, though not than the branch.
    at(&project, &main);
    let report = build(&project, &registry, &pushing()).await;
    assert_eq!(tags(&report).1, [("latest".to_owned(), HeldReason::Newer { revision: merge })]);
    assert_eq!(digest_of(&registry, "latest"), built);
}

#[tokio::test]
async fn an_image_that_a_newer_branch_has_built_does_not_keep_the_tag() {
    let (project, first, second) = two_commits();
    let registry = MemoryRegistry::default();
    let today = time::macros::date!(2026 - 01 - 05);
    let weekly = |days: i64| Request {
        keys: KeyOptions { today: today + time::Duration::days(days), ..KeyOptions::default() },
        ..pushing()
    };
    at(&project, &first);
    project.write("dockit.toml", "[project]\nregistry = \"r.example/p\"\n[images.a]\nrefresh = \"weekly\"\ntags = [\"latest\"]\n");
    let head = commit(project.root());
    // A branch that is ahead of main builds this week's image first; main puts the tag on it.
    git(project.root(), &["checkout", "--quiet", "-b", "ahead"]);
    project.write("elsewhere", "1");
    commit(project.root());
    build(&project, &registry, &weekly(0)).await;
    at(&project, &head);
    let report = build(&project, &registry, &weekly(0)).await;
    assert_eq!(report.images[0].status, Status::Retagged);
    // Next week main is where it was, and the tag moves on.
    let report = build(&project, &registry, &weekly(7)).await;
    assert_eq!(report.images[0].status, Status::Built);
    assert_eq!(digest_of(&registry, "latest"), report.images[0].digest);
    assert_ne!(head, second);
}

#[tokio::test]
async fn a_job_that_has_checked_out_another_commit_than_ci_says_is_on_no_branch() {
    let (project, first, second) = two_commits();
    at(&project, &second);
    git(project.root(), &["checkout", "--quiet", "--detach"]);
    for (commit, moves) in [(first.as_str(), false), (&second, true), (&second[..12], true)] {
        let ci = CiRun {
            ci: true,
            branch: Some("main".to_owned()),
            commit: Some(commit.to_owned()),
            ..CiRun::default()
        };
        let registry = MemoryRegistry::default();
        let report = build(&project, &registry, &Request { ci, ..pushing() }).await;
        assert_eq!(digest_of(&registry, "latest").is_some(), moves, "{commit}");
        let held = tags(&report).1;
        let said = held.iter().all(|(_, why)| why.to_string().contains("is checked out"));
        assert!(said && held.is_empty() == moves, "{held:?}");
    }
}

#[tokio::test]
async fn a_changed_file_of_a_submodule_is_a_change_whatever_gitmodules_says() {
    let (project, _, _) = two_commits();
    let library = TestProject::new(&[("file", "1")]);
    git(library.root(), &["init", "--quiet"]);
    commit(library.root());
    let url = library.root().display().to_string();
    git(project.root(), &["submodule", "--quiet", "add", &url, "a/library"]);
    git(project.root(), &["config", "--file", ".gitmodules", "submodule.a/library.ignore", "all"]);
    commit(project.root());
    project.write("a/library/file", "2");
    let registry = MemoryRegistry::default();
    let report = build(&project, &registry, &pushing()).await;
    assert_eq!(tags(&report).1[0].1.kind(), "changed", "{report:?}");
}
