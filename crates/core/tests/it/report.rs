//! Reports of images: from a registry, from an engine, and what info commands say.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use dockit_core::PushPolicy;
use dockit_core::backend::{ContainerEnd, EngineContents, EngineHistory, NamedBackend};
use dockit_core::events::Silent;
use dockit_core::execute::Status;
use dockit_core::report::{self, Gathered, StepRecorder};
use dockit_core::story::{self, Request, Services};
use dockit_registry::Digest;
use tokio_util::sync::CancellationToken;

use crate::support::{FakeContainers, FakeContents, FakeEngine, MemoryRegistry, TestProject};

fn project(registry: &str) -> TestProject {
    TestProject::new(&[
        (
            "dockit.toml",
            &format!(
                "{registry}\n[images.base]\ntest = [\"t\"]\n\
                 info = {{ versions = \"v\", broken = \"b\" }}\n\
                 [images.\"ci/child\"]\n"
            ),
        ),
        ("base/Dockerfile", "FROM scratch\nLABEL a=base\n"),
        ("ci/child/Dockerfile", "FROM base\nLABEL a=child\n"),
    ])
}

fn containers() -> FakeContainers {
    let mut containers = FakeContainers::ending("b", ContainerEnd::Exited(2));
    containers.output = b"python 3.12\n".to_vec();
    containers
}

fn contents() -> FakeContents {
    let entry = |command: &str, size| EngineHistory { command: command.to_owned(), size };
    FakeContents(EngineContents {
        size: 70,
        layers: ["0", "1", "2", "3"].map(|seed| Digest::of(seed.as_bytes())).to_vec(),
        history: vec![
            entry("ADD rootfs / # buildkit", 50),
            entry("ENV A=b", 0),
            entry("RUN /bin/sh -c one # buildkit", 10),
            entry("COPY empty / # buildkit", 0),
            entry("RUN /bin/sh -c two # buildkit", 10),
            entry("CMD [\"x\"]", 0),
        ],
    })
}

async fn run(
    project: &TestProject,
    registry: &MemoryRegistry,
    engine: &FakeEngine<'_>,
    request: &Request,
) -> Vec<Gathered> {
    let project = project.load();
    let steps = StepRecorder::new(&Silent);
    let services =
        Services { registry, engine, backends: &[NamedBackend::only(engine)], observer: &steps };
    let cancel = CancellationToken::new();
    let built = story::build(&project, request, &services, &cancel).await.unwrap();
    report::gather(&project, &built.report, &steps, &services, NonZeroUsize::MIN).await
}

#[tokio::test(start_paused = true)]
async fn an_image_of_the_engine_shows_every_layer_and_what_commands_say() {
    let (project, registry) = (project(""), MemoryRegistry::default());
    let engine = FakeEngine {
        containers: Some(containers()),
        contents: Some(contents()),
        ..FakeEngine::default()
    };
    let gathered = run(&project, &registry, &engine, &Request::default()).await;
    assert_eq!(gathered.len(), 2);
    let base = &gathered[0].document;
    assert_eq!((base.name.as_str(), base.status, &base.digest), ("base", "built", &None));
    assert_eq!(base.labels["dev.dockit.key"], base.key);
    assert_eq!((base.size.unpacked, base.size.compressed), (Some(70), None));
    let layers: Vec<_> = base.layers.iter().filter(|layer| !layer.empty).collect();
    assert_eq!(layers.len(), 4, "every layer");
    assert_eq!(layers.iter().filter_map(|layer| layer.size.unpacked).sum::<u64>(), 70);
    assert_eq!(layers[2].command.as_deref(), Some("COPY empty / # buildkit"));
    assert_eq!(base.layers.len(), 6);
    assert_eq!(base.tests.len(), 1);
    assert!(base.tests[0].passed && base.tests[0].output == "python 3.12\n");
    let info: Vec<_> = base
        .info
        .iter()
        .map(|info| (info.name.as_str(), info.output.as_str(), info.error.as_deref()))
        .collect();
    assert_eq!(
        info,
        [
            ("broken", "python 3.12\n", Some("ended with exit code 2")),
            ("versions", "python 3.12\n", None),
        ]
    );
    // A failure of an info command is no failure of the image.
    assert!(gathered[0].warnings[0].contains("\"broken\": `b` ended with exit code 2"));
    assert!(base.problems.is_empty(), "{:?}", base.problems);
}

#[tokio::test(start_paused = true)]
async fn what_the_registry_holds_is_described_and_nothing_is_fetched_for_it() {
    let (project, registry) =
        (project("[project]\nregistry = \"r.example/p\""), MemoryRegistry::default());
    let request = Request { push: Some(PushPolicy::Always), ..Request::default() };
    let engine = FakeEngine {
        registry: Some(&registry),
        containers: Some(containers()),
        ..FakeEngine::default()
    };
    let gathered = run(&project, &registry, &engine, &request).await;
    let base = &gathered[0].document;
    assert_eq!((base.status, base.info[1].error.as_deref()), ("built", None));
    assert!(base.digest.is_some() && base.size.compressed == Some(0));
    assert_eq!(base.labels["dev.dockit.key"], base.key);

    let elsewhere = FakeEngine {
        registry: Some(&registry),
        containers: Some(containers()),
        ..FakeEngine::default()
    };
    let gathered = run(&project, &registry, &elsewhere, &request).await;
    let base = &gathered[0].document;
    assert_eq!(base.status, Status::Reused.as_str());
    assert_eq!(base.info[0].error.as_deref(), Some("not run: not in the engine"));
    assert!(base.steps.is_empty() && base.tests.is_empty());
    assert!(elsewhere.pulled.lock().unwrap().is_empty());
    assert!(elsewhere.containers.as_ref().unwrap().commands().is_empty());

    // Another image under the name in the engine is not the one that the registry holds.
    let reference = base.reference.parse().unwrap();
    let mut other = engine.store.lock().unwrap()[&base.reference].clone();
    other.id = Digest::of(b"other").to_string();
    dockit_core::backend::Engine::tag(&elsewhere, &other, &reference).await.unwrap();
    let gathered = run(&project, &registry, &elsewhere, &request).await;
    let info = &gathered[0].document.info[0];
    assert_eq!(info.error.as_deref(), Some("not run: not in the engine"));
}

#[tokio::test(start_paused = true)]
async fn reports_are_files_by_name_and_images_that_are_not_there_have_none() {
    let (project, registry) = (project(""), MemoryRegistry::default());
    let directory = tempfile::tempdir().unwrap();
    let files = |directory: &std::path::Path| -> BTreeMap<String, String> {
        ["base.json", "base.md", "ci/child.json", "ci/child.md"]
            .iter()
            .filter_map(|name| {
                let text = std::fs::read_to_string(directory.join(name)).ok()?;
                Some(((*name).to_owned(), text))
            })
            .collect()
    };
    let mut engine = FakeEngine { containers: Some(containers()), ..FakeEngine::default() };
    for gathered in run(&project, &registry, &engine, &Request::default()).await {
        report::write(directory.path(), &gathered.document).unwrap();
    }
    let written = files(directory.path());
    assert_eq!(written.len(), 4);
    let json: serde_json::Value = serde_json::from_str(&written["ci/child.json"]).unwrap();
    assert_eq!(
        (&json["schema"], &json["name"]),
        (&"dockit.image-report/1".into(), &"ci/child".into())
    );
    assert!(written["base.md"].starts_with("# base\n"), "{}", written["base.md"]);
    assert!(written["base.md"].contains("```text\npython 3.12\n```"), "{}", written["base.md"]);
    let entries = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(entries, 3, "nothing temporary is left");

    // A file in the way is said, with its name.
    std::fs::write(directory.path().join("file"), "").unwrap();
    let gathered = run(&project, &registry, &engine, &Request::default()).await;
    let (file, _) =
        report::write(&directory.path().join("file"), &gathered[0].document).unwrap_err();
    assert!(file.ends_with("file/base.json"), "{}", file.display());

    engine.containers = Some(FakeContainers::ending("t", ContainerEnd::Exited(1)));
    project.write("base/Dockerfile", "FROM scratch\nLABEL a=changed\n");
    assert!(run(&project, &registry, &engine, &Request::default()).await.is_empty());
}
