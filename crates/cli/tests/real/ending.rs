//! Builds that do not end well.

use std::time::Duration;

use crate::engine::Cleanup;
use crate::run::Ran;
use crate::{debian, nonce};
use dockit_testkit::{Auth, RegistryProcess};

#[test]
fn a_step_that_fails_is_shown_with_what_it_wrote_and_nothing_of_it_is_pushed() {
    let registry = RegistryProcess::start(Auth::None);
    let project = debian(&format!("registry = \"{}/ci\"", registry.host()));
    project.write(
        "base/Dockerfile",
        "ARG BASE\nFROM $BASE\nCOPY nonce /\nRUN echo one; echo the-reason >&2; exit 3\n",
    );
    let ran = project.run(&["build", "--push", "always", "--pin", "--format", "json"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let report = ran.json();
    let _cleanup = Cleanup::of(&report);
    let status = |index: usize| report["images"][index]["status"].as_str().unwrap();
    assert_eq!([status(0), status(1), status(2)], ["failed", "built", "skipped"]);
    let error = report["images"][0]["error"].as_str().unwrap();
    assert!(error.contains("RUN echo one") && error.contains("the-reason"), "{error}");
    assert!(error.contains("exit code: 3"), "{error}");
    // The base's digest was needed for the keys; no image is recorded.
    let lock = std::fs::read_to_string(project.root().join("dockit.lock")).unwrap();
    assert!(lock.contains("[[base]]") && !lock.contains("[[image]]"), "{lock}");
}

#[test]
fn a_missing_source_is_named() {
    let project = debian("");
    project.write("tool/Dockerfile", "FROM scratch\nCOPY nowhere /x\n");
    let ran = project.run(&["build", "tool"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("nowhere"), "{}", ran.err);
}

#[test]
fn an_interrupted_run_says_what_was_done_and_a_rerun_goes_on() {
    let project = debian("");
    let sleep = format!("FROM base\nRUN echo {}; sleep 60\n", nonce());
    project.write("child/Dockerfile", &sleep);
    let child = project
        .command(&["build", "--format", "json", "--jobs", "1"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Long enough for the two quick images, and far from the end of the slow one.
    std::thread::sleep(Duration::from_secs(15));
    let interrupt = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupt.success());
    let start = std::time::Instant::now();
    let ran = Ran::of(child.wait_with_output().unwrap(), &project.root());
    assert!(start.elapsed() < Duration::from_secs(30), "it does not wait for the build");
    assert_eq!(ran.code, 130, "{}", ran.err);
    let report = ran.json();
    let _cleanup = Cleanup::of(&report);
    let status = |index: usize| report["images"][index]["status"].as_str().unwrap();
    assert_eq!([status(0), status(1), status(2)], ["built", "built", "cancelled"]);
    project.write("child/Dockerfile", "FROM base\n");
    let again = project.run(&["build", "--format", "json"]);
    assert_eq!(again.code, 0, "{}", again.err);
    let again = again.json();
    let _more = Cleanup::of(&again);
    assert_eq!(again["images"][0]["status"], "reused");
}
