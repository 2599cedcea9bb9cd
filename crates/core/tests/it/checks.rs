//! Tests of images and of the project: what the configuration says, and that they gate.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use dockit_core::backend::{BackendErrorKind, ContainerEnd, NamedBackend};
use dockit_core::check::{CheckEnd, CheckPlace, CheckResult, OUTPUT_LIMIT};
use dockit_core::config::{LoadOptions, Problems};
use dockit_core::events::{CheckSubject, Event, Observer, Silent};
use dockit_core::execute::{ImageErrorKind, ProjectTests, RunReport, Status};
use dockit_core::story::{self, Request, Services};
use dockit_core::testing::{self, TestReport, TestRequest, TestStatus};
use dockit_core::{CommandLine, Error, KeyOptions, Project, PushPolicy, config};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeContainers, FakeEngine, MemoryRegistry, TestProject, image, short};

const REGISTRY: &str = "[project]\nregistry = \"r.example/p\"\n";

fn parse(text: &str) -> Result<Project, Problems> {
    config::parse(Path::new("/p/dockit.toml"), text, &LoadOptions::default())
}

fn pushing() -> Request {
    Request { push: Some(PushPolicy::Always), ..Request::default() }
}

/// `base` ← `child`, and `alone`; more is written to the tables of base and of the project.
fn project(table: &str, base: &str) -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            &format!("{table}\n[images.base]\n{base}\n[images.child]\n[images.alone]\n"),
        ),
        ("base/Dockerfile", "FROM scratch\nLABEL a=base\n"),
        ("child/Dockerfile", "FROM base\nLABEL a=child\n"),
        ("alone/Dockerfile", "FROM scratch\nLABEL a=alone\n"),
    ])
}

fn engine<'a>(registry: &'a MemoryRegistry, containers: FakeContainers) -> FakeEngine<'a> {
    FakeEngine { registry: Some(registry), containers: Some(containers), ..FakeEngine::default() }
}

fn failing(command: &str) -> FakeContainers {
    FakeContainers::ending(command, ContainerEnd::Exited(3))
}

async fn build_with(
    project: &TestProject,
    registry: &MemoryRegistry,
    engine: &FakeEngine<'_>,
    request: &Request,
    observer: &dyn Observer,
) -> RunReport {
    let services = Services { registry, engine, backends: &[NamedBackend::only(engine)], observer };
    let cancel = CancellationToken::new();
    let built = story::build(&project.load(), request, &services, &cancel).await.unwrap();
    built.recorded.unwrap();
    built.report
}

async fn build(
    project: &TestProject,
    registry: &MemoryRegistry,
    engine: &FakeEngine<'_>,
    request: &Request,
) -> RunReport {
    build_with(project, registry, engine, request, &Silent).await
}

fn statuses(report: &RunReport) -> BTreeMap<&str, Status> {
    report.images.iter().map(|image| (image.image.as_str(), image.status)).collect()
}

fn tests<'a>(report: &'a RunReport, name: &str) -> &'a [CheckResult] {
    &report.image(&image(name)).unwrap().tests
}

#[test]
fn tests_and_info_commands_are_read() {
    let text = r#"
[project]
test = ["scripts/smoke", { run = ["python3", "smoke.py"], timeout = "90s" }]

[images.base]
test = [
    "python --version",
    { run = ["/bin/prog", "--check"], on = "host", timeout = "1h" },
    { run = "true", on = "container" },
]

[images.base.info]
"pip packages" = "pip list"
"apt" = { run = ["dpkg", "-l"], timeout = "10s" }
"#;
    let project = parse(text).unwrap();
    let shell = |text: &str| CommandLine::Shell(text.to_owned());
    let program = |words: &[&str]| {
        CommandLine::Program(words.iter().map(|word| (*word).to_owned()).collect())
    };
    let all: Vec<_> = project
        .tests
        .iter()
        .map(|test| (test.command.clone(), test.on, test.timeout.as_secs()))
        .collect();
    assert_eq!(
        all,
        [
            (shell("scripts/smoke"), CheckPlace::Host, 1800),
            (program(&["python3", "smoke.py"]), CheckPlace::Host, 90),
        ]
    );
    let base = &project.images[&image("base")];
    let all: Vec<_> = base
        .tests
        .iter()
        .map(|test| (test.command.clone(), test.on, test.timeout.as_secs()))
        .collect();
    assert_eq!(
        all,
        [
            (shell("python --version"), CheckPlace::Container, 1800),
            (program(&["/bin/prog", "--check"]), CheckPlace::Host, 3600),
            (shell("true"), CheckPlace::Container, 1800),
        ]
    );
    let info: Vec<_> = base
        .info
        .iter()
        .map(|info| (info.name.as_str(), info.command.clone(), info.timeout.as_secs()))
        .collect();
    // As they are written, not by name.
    assert_eq!(
        info,
        [("pip packages", shell("pip list"), 300), ("apt", program(&["dpkg", "-l"]), 10)]
    );
}

#[test]
fn every_mistake_has_its_line() {
    let text = r#"[project]
test = "alone"
[images.base]
test = [
  "",
  ["python", "-V"],
  { run = "a", on = "hots" },
  { run = "a", timeout = "soon" },
  { on = "host" },
  { run = "a", when = "now" },
]
info = { "" = "a", b = { run = [] }, c = { run = "x", on = "host" }, d = 3 }
[images.other]
info = ["pip list"]
"#;
    let problems = parse(text).unwrap_err().to_string().replace("/p/dockit.toml:", "");
    assert_eq!(
        problems,
        r#"2: "test" in [project] must be an array of strings and tables, not a string
5: a test needs a command to run
6: "test" in [images.base] must be an array of strings and tables, not an array
7: on must be "container" or "host", not "hots"; did you mean "host"?
8: "soon" is no time limit such as 90s or 1h30m
9: a test needs a command to run
10: unknown key "when" in [images.base.test]
12: "info" in [images.base] must be a table of strings and tables, not an integer
12: an info command needs a name
12: info "b" needs a command to run
12: unknown key "on" in [images.base.info."c"]
14: "info" in [images.other] must be a table of strings and tables, not an array"#
    );
    let text = "[project]\ntest = [{ run = \"a\", on = \"container\" }]\n[images.base]\n";
    let problems = parse(text).unwrap_err().to_string();
    assert!(problems.contains("2: tests of the project run on the host"), "{problems}");
}

#[test]
fn tests_and_info_commands_are_not_in_the_key() {
    let plain = project("", "");
    let tested = project("[project]\ntest = [\"true\"]", "test = [\"true\"]\ninfo = { a = \"b\" }");
    assert_eq!(plain.key("base"), tested.key("base"));
}

#[tokio::test(start_paused = true)]
async fn tests_run_on_what_was_built_before_it_is_pushed() {
    let project = project(REGISTRY, "test = [\"one\", { run = [\"two\", \"2\"] }]");
    let registry = MemoryRegistry::default();
    let mut engine = engine(&registry, FakeContainers::default());
    engine.containers.as_mut().unwrap().output = b"seen\n".to_vec();
    let report = build(&project, &registry, &engine, &pushing()).await;
    assert!(report.succeeded() && report.count(Status::Built) == 3);
    let containers = engine.containers.as_ref().unwrap();
    assert_eq!(containers.commands(), ["one", "two 2"]);
    let base = report.image(&image("base")).unwrap();
    let id = {
        let ran = containers.ran.lock().unwrap();
        assert_eq!(ran[0].time_limit, Duration::from_secs(1800));
        assert_eq!(ran[0].environment["DOCKIT_IMAGE"], ran[0].image.id);
        assert_eq!(ran[0].environment["DOCKIT_IMAGE_NAME"], "base");
        assert_eq!(ran[0].environment["DOCKIT_IMAGE_KEY"], base.key.to_string());
        ran[0].image.id.clone()
    };
    // The image that was tested is the one that has the name then.
    assert_eq!(engine.store.lock().unwrap()[&base.reference.to_string()].id, id);
    let results = tests(&report, "base");
    assert!(results.iter().all(|result| result.passed() && result.output.text() == "seen\n"));
    assert_eq!(results.len(), 2);
    assert!(tests(&report, "alone").is_empty());

    let again = build(&project, &registry, &engine, &pushing()).await;
    assert_eq!(again.count(Status::Reused), 3);
    assert_eq!(containers.commands().len(), 2, "present images are not tested again");
    let request = Request { rebuild: true, images: vec!["base".to_owned()], ..pushing() };
    build(&project, &registry, &engine, &request).await;
    assert_eq!(containers.commands().len(), 4, "what is built again is tested again");
}

#[tokio::test(start_paused = true)]
async fn what_fails_its_test_is_not_pushed_and_its_dependents_are_skipped() {
    let base = "test = [\"good\", \"bad\", \"never\"]\ntags = [\"latest\"]";
    let (project, registry) = (project(REGISTRY, base), MemoryRegistry::default());
    let mut engine = engine(&registry, failing("bad"));
    engine.containers.as_mut().unwrap().output = b"the-reason\n".to_vec();
    let report = build(&project, &registry, &engine, &pushing()).await;
    assert_eq!(
        statuses(&report),
        BTreeMap::from([
            ("alone", Status::Built),
            ("base", Status::Failed),
            ("child", Status::Skipped),
        ])
    );
    let containers = engine.containers.as_ref().unwrap();
    assert_eq!(containers.commands(), ["good", "bad"], "the first that fails is the last");
    let base = report.image(&image("base")).unwrap();
    let error = base.error.as_ref().unwrap();
    assert_eq!(error.kind, ImageErrorKind::Test);
    assert_eq!(error.message, "the test `bad` ended with exit code 3\n    the-reason");
    assert_eq!(base.tests.len(), 2);
    assert_eq!(engine.pushed.lock().unwrap().len(), 1);
    assert_eq!(short(&engine.pushed.lock().unwrap()[0]), "alone");
    assert!(registry.digest_of(&base.reference.to_string()).is_none());
    assert!(registry.digest_of("r.example/p/base:latest").is_none());
    assert!(!report.succeeded());
}

/// Two images with one key in one repository, `above` that is built from the second, and their tests.
fn twins(registry: &str, first: &str, second: &str) -> TestProject {
    let repository = if registry.is_empty() { "" } else { "repository = \"same\"\n" };
    TestProject::new(&[
        (
            "dockit.toml",
            &format!(
                "[project]\n{registry}\n[images.a]\n{repository}{first}\n\
                 [images.b]\n{repository}dockerfile = \"a/Dockerfile\"\ncontext = \"a\"\n\
                 {second}\n[images.above]\n"
            ),
        ),
        ("a/Dockerfile", "FROM scratch\nLABEL a=same\n"),
        ("above/Dockerfile", "FROM b\nLABEL a=above\n"),
    ])
}

const BAD: &str = "test = [\"good\", \"bad\"]";

#[tokio::test(start_paused = true)]
async fn a_failed_test_fails_every_image_with_the_key() {
    for (first, second, owner) in [(BAD, "", "a"), ("", BAD, "b"), ("test = [\"good\"]", BAD, "b")]
    {
        for (push, fail_fast) in [(true, false), (false, false), (true, true)] {
            let project = twins("registry = \"r.example/p\"", first, second);
            let registry = MemoryRegistry::default();
            let mut engine = engine(&registry, failing("bad"));
            let push = Some(if push { PushPolicy::Always } else { PushPolicy::Auto });
            let request = Request { push, fail_fast, ..Request::default() };
            let told = Told::default();
            let report = build_with(&project, &registry, &engine, &request, &told).await;
            assert_eq!(
                statuses(&report),
                BTreeMap::from([
                    ("a", Status::Failed),
                    ("above", Status::Skipped),
                    ("b", Status::Failed),
                ])
            );
            let message =
                |name: &str| report.image(&image(name)).unwrap().error.clone().unwrap().message;
            assert_eq!(message("a"), message("b"));
            assert!(message("a").starts_with("the test `bad` ended with"), "{}", message("a"));
            assert_eq!(engine.containers.as_ref().unwrap().commands(), ["good", "bad"]);
            assert_eq!(engine.built_names(), ["same"], "it is built once");
            assert!(engine.pushed.lock().unwrap().is_empty() && registry.content_tags() == 0);
            assert!(engine.store.lock().unwrap().is_empty(), "no name in the engine either");
            let told = told.0.into_inner().unwrap();
            assert!(told.contains(&format!("{owner} starts bad on container")), "{told:?}");

            engine.containers = Some(FakeContainers::default());
            let report = build(&project, &registry, &engine, &request).await;
            assert!(report.succeeded());
            assert_eq!(engine.containers.as_ref().unwrap().commands(), ["good", "bad"]);
            assert_eq!(statuses(&report)["b"], Status::Reused);
            assert_eq!(tests(&report, "a"), tests(&report, "b"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_with_a_key_that_others_have_is_tested_with_the_tests_of_all() {
    let (first, second) = ("test = [\"one\", \"both\"]", "test = [\"both\", \"two\"]");
    let project = twins("registry = \"r.example/p\"", first, second);
    let registry = MemoryRegistry::default();
    let engine = engine(&registry, FakeContainers::default());
    build(&project, &registry, &engine, &pushing()).await;
    let containers = engine.containers.as_ref().unwrap();
    assert_eq!(containers.commands(), ["one", "both", "two"]);
    let ran = containers.ran.lock().unwrap();
    let names: Vec<&str> =
        ran.iter().map(|request| request.environment["DOCKIT_IMAGE_NAME"].as_str()).collect();
    assert_eq!(names, ["a", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_build_that_failed_is_tried_by_the_other_image_with_all_tests() {
    let project = twins("registry = \"r.example/p\"", "test = [\"one\"]", "");
    let registry = MemoryRegistry::default();
    let engine = engine(&registry, FakeContainers::default());
    // The first does not get into the registry.
    engine.push_failures.lock().unwrap().push(BackendErrorKind::Registry);
    let report = build(&project, &registry, &engine, &pushing()).await;
    let ended = statuses(&report);
    assert_eq!((ended["a"], ended["b"]), (Status::Failed, Status::Built));
    assert_eq!(engine.containers.as_ref().unwrap().commands(), ["one", "one"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_registry_what_failed_is_built_and_tested_again() {
    let (project, registry) = (project("", "test = [\"bad\"]"), MemoryRegistry::default());
    let mut engine = engine(&registry, failing("bad"));
    for run in 1..=2 {
        let report = build(&project, &registry, &engine, &Request::default()).await;
        assert_eq!(statuses(&report)["base"], Status::Failed);
        let built = engine.built_names().iter().filter(|name| *name == "base").count();
        assert_eq!((built, engine.containers.as_ref().unwrap().commands().len()), (run, run));
    }
    engine.containers = Some(FakeContainers::default());
    let report = build(&project, &registry, &engine, &Request::default()).await;
    assert_eq!(statuses(&report)["child"], Status::Built);
    let report = build(&project, &registry, &engine, &Request::default()).await;
    assert_eq!(report.count(Status::Reused), 3);
}

#[tokio::test(start_paused = true)]
async fn a_test_that_is_not_done_in_time_or_cannot_start_fails() {
    let not_started = || ContainerEnd::NotStarted("no such file".to_owned());
    for (end, message) in [
        (ContainerEnd::TimedOut, "the test `t` was not done within 90 seconds"),
        (not_started(), "the test `t` could not be started: no such file"),
    ] {
        let project = project(REGISTRY, "test = [{ run = \"t\", timeout = \"90s\" }]");
        let registry = MemoryRegistry::default();
        let engine = engine(&registry, FakeContainers::ending("t", end));
        let report = build(&project, &registry, &engine, &pushing()).await;
        let error = report.image(&image("base")).unwrap().error.clone().unwrap();
        assert_eq!((error.kind, error.message.as_str()), (ImageErrorKind::Test, message));
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_without_containers_is_no_failing_test() {
    let (project, registry) = (project(REGISTRY, "test = [\"t\"]"), MemoryRegistry::default());
    let engine = FakeEngine { registry: Some(&registry), ..FakeEngine::default() };
    let report = build(&project, &registry, &engine, &pushing()).await;
    let error = report.image(&image("base")).unwrap().error.clone().unwrap();
    assert_eq!(error.kind, ImageErrorKind::Engine);
    assert!(error.message.contains("runs no containers"), "{}", error.message);
    assert!(registry.digest_of(&report.images[1].reference.to_string()).is_none());
}

#[tokio::test]
async fn a_test_on_the_host_sees_the_image_and_the_project() {
    let script = "echo $DOCKIT_IMAGE $DOCKIT_IMAGE_NAME $DOCKIT_IMAGE_KEY > seen; ls dockit.toml; \
                  echo two >&2; exit 4";
    let base = format!("test = [{{ run = \"{script}\", on = \"host\" }}]");
    let (project, registry) = (project(REGISTRY, &base), MemoryRegistry::default());
    let engine = engine(&registry, FakeContainers::default());
    let report = build(&project, &registry, &engine, &pushing()).await;
    let base = report.image(&image("base")).unwrap();
    let [result] = base.tests.as_slice() else { panic!("one test") };
    assert_eq!((result.end.clone(), result.on), (CheckEnd::Exited(4), CheckPlace::Host));
    assert_eq!(result.output.text().lines().collect::<Vec<_>>().len(), 2, "{result:?}");
    let seen = std::fs::read_to_string(project.root().join("seen")).unwrap();
    let [id, name, key] = seen.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{seen}") };
    assert!(id.starts_with("sha256:"), "{seen}");
    assert_eq!((name, key), ("base", base.key.to_string().as_str()));
    assert!(base.error.is_some() && engine.containers.as_ref().unwrap().commands().is_empty());
}

/// What a run tells about tests.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Observer for Told {
    fn event(&self, event: Event) {
        let who = |of: &CheckSubject| match of {
            CheckSubject::Image(image) => image.to_string(),
            CheckSubject::Project => "the project".to_owned(),
        };
        let text = match &event {
            Event::CheckStarted { of, command, on } => {
                format!("{} starts {command} on {}", who(of), on.as_str())
            }
            Event::CheckOutput { of, bytes } => {
                format!("{} writes {} bytes", who(of), bytes.len())
            }
            Event::CheckFinished { of, passed, .. } => format!("{} passed: {passed}", who(of)),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

#[tokio::test(start_paused = true)]
async fn output_is_told_as_it_comes_and_its_end_is_kept() {
    let (project, registry) = (project(REGISTRY, "test = [\"t\"]"), MemoryRegistry::default());
    let mut engine = engine(&registry, failing("t"));
    let mut output = vec![b'a'; 3 * OUTPUT_LIMIT];
    output.extend(b"end");
    engine.containers.as_mut().unwrap().output = output.clone();
    let told = Told::default();
    let report = build_with(&project, &registry, &engine, &pushing(), &told).await;
    let [result] = tests(&report, "base") else { panic!("one test") };
    assert!(result.output.truncated && result.output.bytes.ends_with(b"aend"));
    assert_eq!(result.output.bytes.len(), OUTPUT_LIMIT);
    let bytes = format!("base writes {} bytes", output.len());
    assert_eq!(
        *told.0.lock().unwrap(),
        ["base starts t on container", bytes.as_str(), "base passed: false"]
    );
}

#[tokio::test]
async fn tests_of_the_project_run_once_after_all_images_and_see_them() {
    let table = format!("{REGISTRY}test = [\"cat $DOCKIT_IMAGES >> seen.json\"]");
    let (project, registry) = (project(&table, ""), MemoryRegistry::default());
    let engine = engine(&registry, FakeContainers::default());
    let told = Told::default();
    let report = build_with(&project, &registry, &engine, &pushing(), &told).await;
    assert!(report.succeeded());
    let ProjectTests::Ran(results) = &report.project_tests else { panic!("they ran") };
    assert!(results.len() == 1 && results[0].passed());
    let seen = std::fs::read(project.root().join("seen.json")).unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&seen).unwrap();
    assert_eq!(seen["schema"], "dockit.images/1");
    let images = seen["images"].as_array().unwrap();
    assert_eq!(images.len(), 3);
    for (seen, done) in images.iter().zip(&report.images) {
        assert_eq!(seen["name"], done.image.as_str());
        assert_eq!(seen["key"], done.key.to_string());
        assert_eq!(seen["reference"], done.reference.to_string());
        assert_eq!(seen["digest"], done.digest.as_ref().unwrap().as_str());
    }
    assert!(told.0.lock().unwrap()[0].starts_with("the project starts "));

    // Where nothing was built and no tag moves there is nothing to gate.
    let again = build(&project, &registry, &engine, &pushing()).await;
    assert_eq!(again.project_tests, ProjectTests::NotRun);
    let left: Vec<_> = std::fs::read_dir(project.root().join(".dockit"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("images."))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_failing_test_of_the_project_leaves_every_image_its_status() {
    let table = format!("{REGISTRY}test = [\"echo why; exit 7\", \"touch never\"]");
    let (project, registry) = (project(&table, ""), MemoryRegistry::default());
    let engine = engine(&registry, FakeContainers::default());
    let report = build(&project, &registry, &engine, &pushing()).await;
    assert_eq!(report.count(Status::Built), 3);
    assert!(report.images.iter().all(|image| image.pushed && image.error.is_none()));
    assert!(!report.succeeded());
    let failure = report.project_tests.failure().unwrap();
    assert_eq!(failure, "the project's test `echo why; exit 7` ended with exit code 7\n    why");
    assert!(!project.root().join("never").exists());
    assert!(!project.root().join("dockit.lock").exists());
}

#[tokio::test]
async fn tests_of_the_project_do_not_run_on_half_a_run() {
    let table = format!("{REGISTRY}test = [\"touch ran\"]");
    let (project, registry) = (project(&table, "test = [\"bad\"]"), MemoryRegistry::default());
    let engine = engine(&registry, failing("bad"));
    let report = build(&project, &registry, &engine, &pushing()).await;
    assert_eq!(report.project_tests, ProjectTests::NotRun);
    assert!(!project.root().join("ran").exists());
}

async fn test(
    project: &TestProject,
    registry: &MemoryRegistry,
    engine: &FakeEngine<'_>,
    images: &[&str],
    fail_fast: bool,
) -> Result<TestReport, Error> {
    let request = TestRequest {
        images: images.iter().map(|name| (*name).to_owned()).collect(),
        jobs: NonZeroUsize::MIN,
        fail_fast,
        keys: KeyOptions::default(),
        secrets: dockit_core::secrets::SecretOptions::default(),
    };
    let services =
        Services { registry, engine, backends: &[NamedBackend::only(engine)], observer: &Silent };
    testing::test(&project.load(), &request, &services, &CancellationToken::new()).await
}

fn test_statuses(report: &TestReport) -> BTreeMap<&str, TestStatus> {
    report.images.iter().map(|image| (image.image.as_str(), image.status)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_in_the_registry_is_tested_by_digest_and_what_is_absent_is_said() {
    let (project, registry) = (project(REGISTRY, "test = [\"t\"]"), MemoryRegistry::default());
    let engine = engine(&registry, FakeContainers::default());
    let absent = test(&project, &registry, &engine, &[], false).await.unwrap();
    assert_eq!(
        test_statuses(&absent),
        BTreeMap::from([
            ("alone", TestStatus::Absent),
            ("base", TestStatus::Absent),
            ("child", TestStatus::Absent),
        ])
    );
    assert!(!absent.succeeded());
    assert!(engine.containers.as_ref().unwrap().commands().is_empty());
    let alone = test(&project, &registry, &engine, &["alone"], false).await.unwrap();
    assert!(!alone.succeeded(), "also if it has no tests");

    let built = build(&project, &registry, &engine, &pushing()).await;
    let digest = built.image(&image("base")).unwrap().digest.clone().unwrap();
    let report = test(&project, &registry, &engine, &["alone"], false).await.unwrap();
    assert_eq!((report.images[0].status, report.succeeded()), (TestStatus::Untested, true));
    let report = test(&project, &registry, &engine, &["base"], false).await.unwrap();
    assert_eq!((report.images[0].status, report.succeeded()), (TestStatus::Passed, true));
    assert_eq!(report.images[0].digest.as_ref(), Some(&digest));
    assert_eq!(engine.pulled.lock().unwrap()[0].digest(), Some(&digest));
    let ran = engine.containers.as_ref().unwrap().ran.lock().unwrap();
    assert_eq!(ran.last().unwrap().image.id, digest.to_string(), "what was pulled");
    assert_eq!(engine.built.lock().unwrap().len(), 3, "nothing is built");
}

#[tokio::test(start_paused = true)]
async fn what_only_the_engine_holds_is_tested_and_all_tests_run() {
    let (project, registry) = (project("", "test = [\"a\", \"b\"]"), MemoryRegistry::default());
    let mut engine = engine(&registry, FakeContainers::default());
    build(&project, &registry, &engine, &Request::default()).await;
    engine.containers = Some(failing("a"));
    for (fail_fast, ran) in [(false, 2), (true, 1)] {
        let report = test(&project, &registry, &engine, &[], fail_fast).await.unwrap();
        assert_eq!(test_statuses(&report)["base"], TestStatus::Failed);
        assert_eq!(report.images.iter().map(|image| image.tests.len()).sum::<usize>(), ran);
        assert!(!report.succeeded());
    }
    assert!(engine.pulled.lock().unwrap().is_empty());
}

#[tokio::test]
async fn tests_of_the_project_run_when_no_image_is_named_and_all_are_well() {
    let (project, registry) =
        (project("[project]\ntest = [\"exit 9\"]", "test = [\"a\"]"), MemoryRegistry::default());
    let mut engine = engine(&registry, FakeContainers::default());
    build(&project, &registry, &engine, &Request::default()).await;
    let report = test(&project, &registry, &engine, &["base"], false).await.unwrap();
    assert_eq!((report.project_tests.clone(), report.succeeded()), (ProjectTests::None, true));
    let report = test(&project, &registry, &engine, &[], false).await.unwrap();
    assert!(report.project_tests.failure().unwrap().contains("exit code 9"));
    assert!(!report.succeeded());
    engine.containers = Some(failing("a"));
    let report = test(&project, &registry, &engine, &[], false).await.unwrap();
    assert_eq!(report.project_tests, ProjectTests::NotRun);
}

#[tokio::test]
async fn tests_of_the_project_do_not_run_where_an_image_without_tests_is_absent() {
    let table = format!("{REGISTRY}test = [\"touch ran\"]");
    let (project, registry) = (project(&table, "test = [\"a\"]"), MemoryRegistry::default());
    let engine = engine(&registry, FakeContainers::default());
    let base = Request { images: vec!["base".to_owned()], ..pushing() };
    build(&project, &registry, &engine, &base).await;
    std::fs::remove_file(project.root().join("ran")).unwrap();
    let report = test(&project, &registry, &engine, &[], false).await.unwrap();
    let ended = test_statuses(&report);
    assert_eq!((ended["base"], ended["child"]), (TestStatus::Passed, TestStatus::Absent));
    assert_eq!((&report.project_tests, report.succeeded()), (&ProjectTests::NotRun, false));
    assert!(!project.root().join("ran").exists());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_of_tests_says_so() {
    let (project, registry) = (project("", "test = [\"a\"]"), MemoryRegistry::default());
    let engine = engine(&registry, FakeContainers::default());
    build(&project, &registry, &engine, &Request::default()).await;
    let request = TestRequest {
        images: Vec::new(),
        jobs: NonZeroUsize::MIN,
        fail_fast: false,
        keys: KeyOptions::default(),
        secrets: dockit_core::secrets::SecretOptions::default(),
    };
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let cancel = CancellationToken::new();
    cancel.cancel();
    let report = testing::test(&project.load(), &request, &services, &cancel).await.unwrap();
    assert_eq!(test_statuses(&report)["base"], TestStatus::Cancelled);
    assert!(!report.succeeded());
    assert_eq!(engine.containers.as_ref().unwrap().commands().len(), 1, "the build's");
}
