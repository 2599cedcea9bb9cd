//! Tests of images without an engine that could run one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::failures::idle_engine;
use crate::run::Project;

fn project() -> Project {
    Project::new(&[
        (
            "dockit.toml",
            "[project]\ntest = [\"touch ran\"]\n[images.base]\ntest = [\"true\"]\n[images.other]\n",
        ),
        ("base/Dockerfile", "FROM scratch\nLABEL a=b\n"),
        ("other/Dockerfile", "FROM scratch\nLABEL a=c\n"),
    ])
}

#[test]
fn what_is_absent_is_exit_1_with_a_hint_and_nothing_runs() {
    let builds = Arc::new(AtomicUsize::new(0));
    let (engine, mut project) = (idle_engine(builds.clone()), project());
    project.docker_host = format!("tcp://{}", engine.host());
    let ran = project.run(&["test", "--format", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let json = ran.json();
    assert_eq!(json["schema"], "dockit.test/1");
    let status = |index: usize| json["images"][index]["status"].as_str().unwrap();
    assert_eq!([status(0), status(1)], ["absent", "absent"]);
    assert_eq!(json["project_tests"]["status"], "not-run");
    assert!(ran.err.contains("hint: `dockit build base other` builds and tests"), "{}", ran.err);
    assert!(!project.root().join("ran").exists());
    assert_eq!(builds.load(Ordering::SeqCst), 0);
    let text = project.run(&["test"]);
    assert!(
        text.out.starts_with("absent   base\nabsent   other\nnot-run  (the project)\n"),
        "{text:?}"
    );
}

#[test]
fn without_an_engine_or_network_nothing_is_tested() {
    let ran = project().run(&["test"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    let ran = project().run(&["test", "--offline"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    let ran = project().run(&["test", "bas"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("did you mean \"base\"?"), "{}", ran.err);
}
