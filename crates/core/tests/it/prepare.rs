//! Commands that run before keys are taken.

use std::collections::BTreeSet;
use std::sync::Mutex;

use dockit_core::backend::NamedBackend;
use dockit_core::events::{Event, Observer, Silent};
use dockit_core::prepare::{PrepareError, PrepareErrorKind, prepare};
use dockit_core::process::ProcessErrorKind;
use dockit_core::story::{self, Request, Services};
use dockit_core::{Error, ImageGraph, ImageName, PushPolicy};
use tokio_util::sync::CancellationToken;

use crate::support::{FakeEngine, MemoryRegistry, TestProject, all, image};

async fn run_for(
    project: &TestProject,
    names: &BTreeSet<ImageName>,
    observer: &dyn Observer,
) -> Result<usize, PrepareError> {
    let loaded = project.load();
    let graph = ImageGraph::new(&loaded).unwrap();
    prepare(&loaded, &graph, names, observer, &CancellationToken::new()).await
}

async fn run(project: &TestProject) -> Result<usize, PrepareError> {
    let graph = ImageGraph::new(&project.load()).unwrap();
    run_for(project, &all(&graph), &Silent).await
}

/// Two images that share a command, one below them, and one that prepares nothing.
fn shared() -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            "[images.a]\nprepare = { run = \"echo twice >> log\", outputs = [\"log\"] }\n\
             [images.b]\nprepare = { run = \"echo twice >> log\", outputs = [\"./log\"] }\n\
             [images.c]\nprepare = { run = [\"sh\", \"-c\", \"echo $0 >> log\", \"a b\"], outputs = [\"log\"] }\n\
             [images.d]\n",
        ),
        ("a/Dockerfile", "FROM c\n"),
        ("b/Dockerfile", "FROM scratch\n"),
        ("c/Dockerfile", "FROM scratch\n"),
        ("d/Dockerfile", "FROM scratch\n"),
    ])
}

fn log(project: &TestProject) -> String {
    std::fs::read_to_string(project.root().join("log")).unwrap_or_default()
}

#[tokio::test]
async fn each_command_runs_once_and_dependencies_come_first() {
    let project = shared();
    assert_eq!(run(&project).await.unwrap(), 2);
    let mut lines: Vec<String> = log(&project).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["a b", "twice"]);

    let project = shared();
    assert_eq!(run_for(&project, &[image("a")].into(), &Silent).await.unwrap(), 2);
    assert_eq!(log(&project), "a b\ntwice\n", "what an image depends on comes before it");

    let project = shared();
    assert_eq!(run_for(&project, &[image("c")].into(), &Silent).await.unwrap(), 1);
    assert_eq!(run_for(&project, &[image("d")].into(), &Silent).await.unwrap(), 0);
    assert_eq!(log(&project), "a b\n", "nothing else is run");
}

fn one(run: &str, more: &str) -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            &format!(
                "[images.a]\n[images.a.prepare]\nrun = '''{run}'''\noutputs = [\"a/made\"]\n{more}"
            ),
        ),
        ("a/Dockerfile", "FROM scratch\nCOPY made /\n"),
    ])
}

#[tokio::test]
async fn what_goes_wrong_names_image_and_command() {
    let table: [(&str, &str, &str); 4] = [
        ("echo why >&2; exit 3", "", "ended with exit code 3"),
        ("kill -9 $$", "", "was ended by a signal"),
        ("true", "", "did not make a/made"),
        ("sleep 60", "timeout = \"1s\"", "was not done within 1 seconds"),
    ];
    for (command, more, expected) in table {
        let error = run(&one(command, more)).await.unwrap_err();
        let text = format!("image a: the prepare command `{command}` {expected}");
        assert_eq!(error.to_string(), text);
        assert_eq!(error.output, if command.contains("why") { "why\n" } else { "" });
    }
    let missing = TestProject::new(&[
        (
            "dockit.toml",
            "[images.a]\nprepare = { run = [\"no-such-program\"], outputs = [\"x\"] }\n",
        ),
        ("a/Dockerfile", "FROM scratch\n"),
    ]);
    let error = run(&missing).await.unwrap_err();
    assert!(matches!(error.kind, PrepareErrorKind::Process(ProcessErrorKind::NotFound)), "{error}");
}

#[tokio::test]
async fn a_cancelled_run_ends_its_command() {
    let project = one("touch begun; sleep 60", "");
    let loaded = project.load();
    let graph = ImageGraph::new(&loaded).unwrap();
    let (cancel, names) = (CancellationToken::new(), all(&graph));
    let begun = project.root().join("begun");
    let (result, ()) = tokio::join!(prepare(&loaded, &graph, &names, &Silent, &cancel), async {
        while !begun.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        cancel.cancel();
    });
    assert!(result.unwrap_err().to_string().ends_with("was cancelled"));
}

#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Observer for Recorder {
    fn event(&self, event: Event) {
        let text = match event {
            Event::PrepareStarted { image, command } => format!("{image} starts {command}"),
            Event::PrepareOutput { image, bytes } => {
                format!("{image} says {}", String::from_utf8(bytes).unwrap().trim_end())
            }
            Event::PrepareFinished { image, succeeded, .. } => format!("{image} ends {succeeded}"),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

#[tokio::test]
async fn what_a_command_writes_can_be_seen() {
    let recorder = Recorder::default();
    let project = one("echo hello; touch a/made", "");
    run_for(&project, &[image("a")].into(), &recorder).await.unwrap();
    assert_eq!(
        *recorder.0.lock().unwrap(),
        ["a starts echo hello; touch a/made", "a says hello", "a ends true"]
    );
}

/// Builds without a registry, and returns the keys of what was built.
async fn build(project: &TestProject) -> Result<Vec<String>, Error> {
    let (registry, engine) = (MemoryRegistry::default(), FakeEngine::default());
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let request = Request { push: Some(PushPolicy::Never), ..Request::default() };
    let cancel = CancellationToken::new();
    let built = story::build(&project.load(), &request, &services, &cancel).await?;
    Ok(built.report.images.iter().map(|image| image.key.to_string()).collect())
}

#[tokio::test]
async fn outputs_are_in_the_key_of_the_very_build_that_made_them() {
    let project = one("cp input a/made", "");
    project.write("input", "1");
    let first = build(&project).await.unwrap();
    assert_eq!(first, [project.key("a")], "the key is that of what lies there now");
    project.write("input", "2");
    assert_eq!([project.key("a")], *first, "who only reads runs nothing");
    let second = build(&project).await.unwrap();
    assert_ne!(second, first);
    assert_eq!(second, [project.key("a")]);
}

#[tokio::test]
async fn a_dockerfile_that_a_command_changes_counts_as_changed() {
    let project = one("touch a/made; printf 'FROM scratch\\nLABEL x=2\\n' > a/Dockerfile", "");
    let built = build(&project).await.unwrap();
    assert_eq!(built, [project.key("a")]);
    let plain = TestProject::new(&[
        ("dockit.toml", "[images.a]\n"),
        ("a/Dockerfile", "FROM scratch\nLABEL x=2\n"),
        ("a/made", ""),
    ]);
    assert_eq!(built, [plain.key("a")]);
}

#[tokio::test]
async fn a_command_that_fails_ends_the_run_before_anything_is_built() {
    let error = build(&one("exit 1", "")).await.unwrap_err();
    assert!(matches!(error, Error::Prepare(_)), "{error}");
}

#[tokio::test]
async fn images_whose_keys_hide_something_from_the_engine_get_no_layer_cache() {
    let project = TestProject::new(&[
        (
            "dockit.toml",
            "[images.plain]\n[images.weekly]\nrefresh = \"weekly\"\n[images.child]\n\
             [images.extra]\ninputs = [\"plain\"]\n[images.needing]\nneeds = [\"plain\"]\n\
             [images.coarse.declared-key]\nv = { file = \"coarse/Dockerfile\", pattern = \"FROM\" }\n",
        ),
        ("plain/Dockerfile", "FROM scratch\n"),
        ("weekly/Dockerfile", "FROM scratch\n"),
        ("child/Dockerfile", "FROM weekly\n"),
        ("extra/Dockerfile", "FROM scratch\n"),
        ("needing/Dockerfile", "FROM scratch\n"),
        ("coarse/Dockerfile", "FROM scratch\n"),
    ]);
    let (registry, engine) = (MemoryRegistry::default(), FakeEngine::default());
    let services = Services {
        registry: &registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &Silent,
    };
    let cancel = CancellationToken::new();
    story::build(&project.load(), &Request::default(), &services, &cancel).await.unwrap();
    let built = engine.built.lock().unwrap();
    let cached: BTreeSet<String> = built
        .iter()
        .filter(|request| request.layer_cache)
        .map(|request| crate::support::short(&request.name))
        .collect();
    assert_eq!(built.len(), 6);
    assert_eq!(cached.into_iter().collect::<Vec<_>>(), ["child", "plain"]);
}
