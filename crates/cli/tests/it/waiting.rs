//! `--no-build` and `--wait`: no engine, the right exit code, and who can build it.

use std::process::{Command, Stdio};
use std::time::Duration;

use dockit_testkit::{Reply, ScriptedServer};

use crate::run::Ran;
use crate::scratch;
use crate::why::git;

fn answering(status: u16) -> ScriptedServer {
    ScriptedServer::start(move |_| {
        Reply::new(status)
            .header("Content-Type", "application/json")
            .body(r#"{"errors":[{"code":"AS_THE_TEST_WANTS"}]}"#)
    })
}

#[test]
fn a_missing_key_is_exit_1_with_key_reference_and_who_can_build_it() {
    let registry = answering(404);
    let project = scratch(&registry.host());
    for arguments in [&["build", "child", "--no-build"][..], &["build", "child", "--wait", "1s"]] {
        let ran = project.run(&[arguments, &["--format", "json"]].concat());
        assert_eq!(ran.code, 1, "{ran:?}");
        let json = ran.json();
        let image = &json["images"][0];
        assert_eq!((&image["name"], &image["status"]), (&"child".into(), &"failed".into()));
        let error = image["error"].as_str().unwrap();
        assert!(error.contains(image["key"].as_str().unwrap()), "{error}");
        assert!(error.contains(image["reference"].as_str().unwrap()), "{error}");
        assert_eq!(json["images"].as_array().unwrap().len(), 1, "nobody needs the base");
        assert!(ran.err.contains("dockit build --push always child"), "{}", ran.err);
        assert_eq!(ran.err.contains("waiting for 1 image, at most 1 minute"), arguments.len() > 3);
        assert!(!ran.err.contains("building"), "{}", ran.err);
    }
    assert!(registry.log().iter().all(|line| !line.starts_with("PU") && !line.starts_with("PO")));
}

#[test]
fn a_registry_that_refuses_is_exit_3_however_long_one_would_wait() {
    for status in [401, 403] {
        let registry = answering(status);
        let ran = scratch(&registry.host()).run(&["build", "base", "--wait", "2h"]);
        assert_eq!(ran.code, 3, "{ran:?}");
    }
}

#[test]
fn what_contradicts_waiting_is_exit_2() {
    let project = scratch("unused.example");
    for arguments in [
        &["--wait", "1h", "--push", "always"][..],
        &["--no-build", "--push", "never"],
        &["--no-build", "--rebuild"],
        &["--wait", "1h", "--force-tags"],
        &["--wait", "90"],
        &["--wait", "soon"],
    ] {
        let ran = project.run(&[&["build"], arguments].concat());
        assert_eq!(ran.code, 2, "{ran:?}");
    }
    project.write("dockit.toml", "[images.base]\n[images.child]\n");
    let ran = project.run(&["build", "--wait", "1h"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("no other run can make base, child"), "{}", ran.err);
}

#[test]
fn waiting_can_be_interrupted() {
    let registry = answering(404);
    let project = scratch(&registry.host());
    let child = project
        .command(&["build", "base", "--wait", "2h", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while registry.log().len() < 2 {
        std::thread::sleep(Duration::from_millis(50));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ran = Ran::of(child.wait_with_output().unwrap(), &project.root());
    assert_eq!(ran.code, 130, "{ran:?}");
    assert_eq!(ran.json()["images"][0]["status"], "cancelled");
}

#[test]
fn what_nobody_else_can_make_is_told_at_once() {
    let registry = answering(404);
    let project = scratch(&registry.host());
    git(&project, &["init", "--quiet"]);
    git(&project, &["add", "--all"]);
    git(&project, &["commit", "--quiet", "--message", "first"]);
    project.write("base/file", "changed");
    let ran = project.run(&["build", "--wait", "2h", "--format", "json"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("no other run makes one: the work tree is not as"), "{}", ran.err);
    assert!(ran.err.contains("build it here: `dockit build base child`"), "{}", ran.err);
    assert!(!ran.err.contains("waiting for") && !ran.err.contains("--push always"), "{}", ran.err);
    assert_eq!(ran.json()["images"].as_array().unwrap().len(), 2);
}
