//! Ctrl-C while the engine builds.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::engine::Cleanup;
use crate::run::Ran;
use crate::{debian, nonce};

/// Whether a process with this argument runs; the engine's are on this machine.
fn runs(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok()).any(
        |command| {
            let mut words = command.split(|byte| *byte == 0);
            words.next() == Some(b"sleep") && words.next() == Some(argument.as_bytes())
        },
    )
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_runs_on_the_engine_is_ended() {
    let project = debian("");
    // A time that nobody else sleeps for.
    let seconds = format!("{}.{}", 600, std::process::id());
    let dockerfile = format!("FROM base\nRUN echo {}; sleep {seconds}\n", nonce());
    project.write("child/Dockerfile", &dockerfile);
    let child = project
        .command(&["build", "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the step begins", || runs(&seconds));
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    let ran = Ran::of(child.wait_with_output().unwrap(), &project.root());
    assert_eq!(ran.code, 130, "{}", ran.err);
    let report = ran.json();
    let _cleanup = Cleanup::of(&report);
    let child = report["images"].as_array().unwrap().iter().find(|one| one["name"] == "child");
    assert_eq!(child.unwrap()["status"], "cancelled");
    assert!(child.unwrap()["seconds"].as_f64().unwrap() > 0.0);
    wait_until("the engine ends the step", || !runs(&seconds));
}
