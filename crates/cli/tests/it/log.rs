//! An engine that passes on all of a long log: real ones may cut it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use dockit_testkit::{Reply, ScriptedServer};

use crate::outputs::PODMAN;
use crate::scratch;

const MEGABYTES: usize = 100;

/// 50,000 bytes of a step's log, as Podman's stream has them.
fn said() -> Vec<u8> {
    let line = "a line of the log, as compilers write them by the thousands.....\n";
    let text: String = line.chars().cycle().take(50_000).collect();
    format!("{}\n", serde_json::json!({ "stream": text })).into_bytes()
}

/// The most memory that the command has had, in KiB, with a log of so many megabytes.
fn most_memory(megabytes: usize) -> (u64, String) {
    let registry = ScriptedServer::start(|_| Reply::new(404));
    let step = b"{\"stream\":\"STEP 1/1: COPY file /\\n\"}\n".to_vec();
    let log = Arc::new([step, said().repeat(megabytes * 20)].concat());
    let engine = ScriptedServer::start(move |request| {
        let reply = Reply::new(200).header("Content-Type", "application/json");
        match request.path() {
            path if path.ends_with("/version") => reply.body(PODMAN),
            path if path.ends_with("/build") => reply.body((*log).clone()),
            _ => reply.body("{}"),
        }
    });
    let mut project = scratch(&registry.host());
    project.docker_host = format!("tcp://{}", engine.host());
    let text = std::fs::File::create(project.root().join("stderr")).unwrap();
    let mut child = project
        .command(&["build", "base", "--push", "always", "--backend", "engine"])
        .stdout(Stdio::null())
        .stderr(text)
        .spawn()
        .unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let line = status.as_deref().unwrap_or_default().lines().find(|l| l.starts_with("VmHWM:"));
        if let Some(kib) = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()) {
            peak = kib;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    (peak, std::fs::read_to_string(project.root().join("stderr")).unwrap())
}

#[test]
#[cfg(target_os = "linux")]
fn a_long_log_is_shown_and_not_held() {
    let (little, _) = most_memory(1);
    let (peak, text) = most_memory(MEGABYTES);
    let shown = text.lines().filter(|line| line.starts_with("base | a line of the log")).count();
    assert!(shown > MEGABYTES * 15_000, "{shown} lines");
    assert!(peak < little + 16 * 1024, "{peak} KiB; {little} KiB with a log of one megabyte");
}
