//! Runs that build nothing: what is absent is a failure, at once or after waiting.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dockit_core::backend::NamedBackend;
use dockit_core::events::{Event, Observer};
use dockit_core::execute::{ImageErrorKind, RunReport, Status};
use dockit_core::story::{self, Request, Services};
use dockit_core::wait::Wait;
use dockit_core::{Error, Lockfile, PushPolicy};
use dockit_registry::{Digest, ErrorKind, Reference};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::git::{commit, git};
use crate::support::{FakeEngine, MemoryRegistry, TestProject, diamond, image, rival_config};

const REGISTRY: &str = "r.example/p";

fn waiting(images: &[&str], limit: Duration) -> Request {
    let wait = Wait { limit, temporary: std::env::temp_dir(), environment: None };
    Request { wait: Some(wait), ..asking(images) }
}

fn asking(images: &[&str]) -> Request {
    let images = images.iter().map(|name| (*name).to_owned()).collect();
    Request { images, no_build: true, ..Request::default() }
}

/// Remembers what was said about waiting.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Observer for Told {
    fn event(&self, event: Event) {
        let line = match event {
            Event::Waiting { images, .. } => {
                let names: Vec<String> = images.iter().map(|(name, _)| name.to_string()).collect();
                format!("waiting for {}", names.join(" "))
            }
            Event::Appeared { image, .. } => format!("{image} is there"),
            Event::WaitFailed { image, .. } => format!("{image} is not known"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Told {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// An engine that fails whatever it is asked.
fn no_engine() -> FakeEngine<'static> {
    FakeEngine::default()
}

async fn run(
    project: &TestProject,
    registry: &MemoryRegistry,
    request: &Request,
    told: &Told,
    cancel: &CancellationToken,
) -> Result<RunReport, Error> {
    let engine = no_engine();
    let services = Services {
        registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: told,
    };
    let built = story::build(&project.load(), request, &services, cancel).await?;
    assert!(engine.built_names().is_empty() && engine.pushed.lock().unwrap().is_empty());
    built.recorded?;
    Ok(built.report)
}

/// Another run pushes the image.
fn push(project: &TestProject, registry: &MemoryRegistry, name: &str) -> Digest {
    let key = project.key(name);
    let reference: Reference =
        format!("{REGISTRY}/{name}:{}", key.replace(':', "-")).parse().unwrap();
    registry.push(&reference, &rival_config(&key))
}

#[tokio::test(start_paused = true)]
async fn what_is_absent_is_a_failure_and_what_is_there_is_used() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let alone = push(&project, &registry, "alone");
    let (told, cancel) = (Told::default(), CancellationToken::new());
    let report = run(&project, &registry, &asking(&["alone", "top"]), &told, &cancel).await;
    let report = report.unwrap();
    let names: Vec<&str> = report.images.iter().map(|image| image.image.as_str()).collect();
    assert_eq!(names, ["alone", "top"], "what they depend on is nobody's business");
    assert_eq!(report.image(&image("alone")).unwrap().digest, Some(alone));
    let top = report.image(&image("top")).unwrap();
    let error = top.error.as_ref().unwrap();
    assert_eq!((top.status, error.kind), (Status::Failed, ImageErrorKind::Absent));
    assert!(error.message.contains(&top.key.to_string()), "{error}");
    assert!(error.message.contains(&top.reference.to_string()), "{error}");
    assert_eq!(registry.heads.load(Ordering::Relaxed), 2, "one request for each key");
    assert!(told.lines().is_empty());
    // With `push = "never"`, which always builds, too.
    let never = Request { push: Some(PushPolicy::Never), ..asking(&["alone"]) };
    assert!(run(&project, &registry, &never, &told, &cancel).await.unwrap().succeeded());
    // What is there can be recorded.
    let pin = Request { pin: true, ..asking(&["alone"]) };
    run(&project, &registry, &pin, &told, &cancel).await.unwrap();
    let lockfile = Lockfile::load(&project.root().join("dockit.lock")).unwrap();
    assert!(lockfile.image(&image("alone")).is_some());
}

#[tokio::test(start_paused = true)]
async fn it_ends_as_soon_as_all_are_there_and_asks_for_none_twice() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let (told, cancel) = (Told::default(), CancellationToken::new());
    let request = waiting(&["alone", "top"], Duration::from_secs(7200));
    let start = Instant::now();
    let others = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        push(&project, &registry, "alone");
        tokio::time::sleep(Duration::from_secs(600)).await;
        registry.heads.store(0, Ordering::Relaxed);
        let before = Instant::now();
        tokio::time::sleep(Duration::from_secs(600)).await;
        // In ten minutes, of one key, at least 30 seconds apart.
        let heads = registry.heads.load(Ordering::Relaxed);
        assert!((10..=20).contains(&heads), "{heads} in {:?}", before.elapsed());
        push(&project, &registry, "top");
    };
    let (report, ()) = tokio::join!(run(&project, &registry, &request, &told, &cancel), others);
    let report = report.unwrap();
    assert!(report.succeeded() && report.count(Status::Reused) == 2);
    assert!(start.elapsed() < Duration::from_secs(1260 + 61), "{:?}", start.elapsed());
    let lines = told.lines();
    assert_eq!(lines[..2], ["waiting for alone top", "alone is there"]);
    assert_eq!(lines.last().unwrap(), "top is there");
    let told = lines.iter().filter(|line| *line == "waiting for top").count();
    assert!((5..=8).contains(&told), "every few minutes: {lines:?}");
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_it_says_what_is_still_absent() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let (told, cancel) = (Told::default(), CancellationToken::new());
    push(&project, &registry, "alone");
    let start = Instant::now();
    let request = waiting(&["alone", "left"], Duration::from_secs(90));
    let report = run(&project, &registry, &request, &told, &cancel).await.unwrap();
    assert!((90..95).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(report.image(&image("alone")).unwrap().status, Status::Reused);
    let error = report.image(&image("left")).unwrap().error.clone().unwrap();
    assert_eq!(error.kind, ImageErrorKind::Absent);
    assert!(error.message.starts_with("after 90 s still no image has its key k1:"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_fails_for_a_while_is_asked_again_and_one_that_refuses_is_not() {
    let project = diamond(REGISTRY);
    let fails_after = async |registry: &MemoryRegistry, kind, until: Option<u64>| {
        tokio::time::sleep(Duration::from_secs(10)).await;
        *registry.failure.lock().unwrap() = Some(kind);
        if let Some(until) = until {
            tokio::time::sleep(Duration::from_secs(until)).await;
            *registry.failure.lock().unwrap() = None;
            push(&project, registry, "alone");
        }
    };
    let request = waiting(&["alone"], Duration::from_secs(600));
    let cancel = CancellationToken::new();

    // From the first look on.
    let (registry, told) = (MemoryRegistry::default(), Told::default());
    *registry.failure.lock().unwrap() = Some(ErrorKind::Transient);
    let (report, ()) = tokio::join!(
        run(&project, &registry, &request, &told, &cancel),
        fails_after(&registry, ErrorKind::Transient, Some(120))
    );
    assert!(report.unwrap().succeeded());
    let (registry, told) = (MemoryRegistry::default(), Told::default());
    *registry.failure.lock().unwrap() = Some(ErrorKind::Transient);
    let (report, ()) = tokio::join!(run(&project, &registry, &request, &told, &cancel), async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        *registry.failure.lock().unwrap() = None;
    });
    let report = report.unwrap();
    assert_eq!(report.images[0].error.as_ref().unwrap().kind, ImageErrorKind::Absent);

    let (registry, told) = (MemoryRegistry::default(), Told::default());
    let (report, ()) = tokio::join!(
        run(&project, &registry, &request, &told, &cancel),
        fails_after(&registry, ErrorKind::Transient, Some(120))
    );
    assert!(report.unwrap().succeeded());
    assert!(told.lines().contains(&"alone is not known".to_owned()));

    // To the end: nothing says that it is absent.
    let (registry, told) = (MemoryRegistry::default(), Told::default());
    let (error, ()) = tokio::join!(
        run(&project, &registry, &request, &told, &cancel),
        fails_after(&registry, ErrorKind::Transient, None)
    );
    assert!(matches!(error, Err(Error::Lookup(_))), "{error:?}");

    for kind in [ErrorKind::Unauthorized, ErrorKind::Denied] {
        let (registry, told) = (MemoryRegistry::default(), Told::default());
        let start = Instant::now();
        let (error, ()) = tokio::join!(
            run(&project, &registry, &request, &told, &cancel),
            fails_after(&registry, kind, None)
        );
        assert!(matches!(error, Err(Error::Lookup(_))), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn it_can_be_interrupted() {
    let (project, registry) = (diamond(REGISTRY), MemoryRegistry::default());
    let (told, cancel) = (Told::default(), CancellationToken::new());
    let request = waiting(&["alone"], Duration::from_secs(7200));
    let start = Instant::now();
    let (report, ()) = tokio::join!(run(&project, &registry, &request, &told, &cancel), async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        cancel.cancel();
    });
    assert_eq!(report.unwrap().images[0].status, Status::Cancelled);
    assert_eq!(start.elapsed().as_secs(), 100);
}

#[tokio::test]
async fn without_a_registry_nobody_else_can_make_it() {
    let project =
        TestProject::new(&[("dockit.toml", "[images.a]\n"), ("a/Dockerfile", "FROM scratch\n")]);
    let (registry, told, cancel) =
        (MemoryRegistry::default(), Told::default(), CancellationToken::new());
    let request = waiting(&[], Duration::from_secs(60));
    let error = run(&project, &registry, &request, &told, &cancel).await.unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error}");
    // Without waiting the engine's store counts.
    let report = run(&project, &registry, &asking(&[]), &told, &cancel).await.unwrap();
    assert_eq!(report.images[0].error.as_ref().unwrap().kind, ImageErrorKind::Absent);
}

#[tokio::test]
async fn a_key_that_only_this_work_tree_has_is_not_waited_for() {
    // Long enough to be seen where it is not meant.
    let hour = Duration::from_secs(8);
    let moment = Duration::from_secs(1);
    // What is done to the work tree, how long may be waited, and whether it is in vain.
    type Change = fn(&TestProject);
    let cases: [(&str, Change, Duration, bool); 9] = [
        ("as committed", |_| {}, moment, false),
        ("a file of it", |project| project.write("base/file", "x"), hour, true),
        ("a new file", |project| project.write("alone/new", "x"), moment, false),
        ("a new file that it reads", |project| project.write("deep/dir/new", "x"), hour, true),
        ("its Dockerfile", |project| project.write("top/Dockerfile", "FROM base\n"), hour, true),
        ("another image's", |project| project.write("alone/file", "x"), moment, false),
        (
            "an ignored file, as something makes it in other runs too",
            |project| {
                project.write("deep/dir/made.o", "x");
                project.write("README", "changed, and read by no build");
            },
            moment,
            false,
        ),
        (
            "the configuration",
            |project| {
                let text = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
                project.write(
                    "dockit.toml",
                    &text.replace("[images.deep]", "[images.deep]\nrefresh = \"daily\""),
                );
            },
            hour,
            true,
        ),
        (
            "a file that is gone",
            |project| std::fs::remove_dir_all(project.root().join("deep/dir")).unwrap(),
            hour,
            true,
        ),
    ];
    for (name, change, limit, in_vain) in cases {
        let project = diamond(REGISTRY);
        let config = std::fs::read_to_string(project.root().join("dockit.toml")).unwrap();
        project.write("dockit.toml", &format!("{config}[images.deep]\n"));
        project.write("deep/Dockerfile", "FROM left\nCOPY . /\n");
        project.write("deep/dir/file", "1");
        project.write(".gitignore", "*.o\n");
        project.write("README", "r");
        git(project.root(), &["init", "--quiet"]);
        let head = commit(project.root());
        change(&project);
        let (registry, told, cancel) =
            (MemoryRegistry::default(), Told::default(), CancellationToken::new());
        let request = waiting(&["deep", "top"], limit);
        let report = run(&project, &registry, &request, &told, &cancel).await.unwrap();
        let said: Vec<String> =
            report.images.iter().map(|image| image.error.clone().unwrap().message).collect();
        let told_so =
            said.iter().any(|said| said.contains("no other run makes one") && said.contains(&head));
        assert_eq!(told_so, in_vain, "{name}: {said:?}");
        assert_eq!(told.lines().is_empty(), in_vain, "{name}: {:?}", told.lines());
    }
}
