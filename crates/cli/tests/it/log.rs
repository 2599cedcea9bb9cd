//! An engine that passes on all of a long log: real ones may cut it.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use dockit_testkit::{Reply, ScriptedServer};

use crate::scratch;

const MEGABYTES: usize = 100;

/// A message of BuildKit's trace with 50,000 bytes of log, as the engine's stream has it: fields 3 of the
/// status (a log), and of the log 1 (the step) and 4 (the bytes).
fn traced() -> Vec<u8> {
    let line = b"a line of the log, as compilers write them by the thousands.....\n";
    let log: Vec<u8> = line.iter().copied().cycle().take(50_000).collect();
    let field = |number: u8, bytes: &[u8]| {
        let mut field = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            field.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend_from_slice(bytes);
        field
    };
    let status = field(3, &[field(1, b"sha256:step"), field(4, &log)].concat());
    let mut message = Vec::new();
    writeln!(message, r#"{{"id":"moby.buildkit.trace","aux":"{}"}}"#, base64(&status)).unwrap();
    message
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 0x3f;
            let there = digit <= three.len();
            text.push(if there { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

/// The most memory that the command has had, in KiB, with a log of so many megabytes.
fn most_memory(megabytes: usize) -> (u64, String) {
    let registry = ScriptedServer::start(|_| Reply::new(404));
    let log = Arc::new(traced().repeat(megabytes * 20));
    let engine = ScriptedServer::start(move |request| {
        let reply = Reply::new(200).header("Content-Type", "application/json");
        match request.path() {
            path if path.ends_with("/version") => reply.body(r#"{"ApiVersion":"1.41"}"#),
            path if path.ends_with("/build") => reply.body((*log).clone()),
            _ => reply.body("{}"),
        }
    });
    let mut project = scratch(&registry.host());
    project.docker_host = format!("tcp://{}", engine.host());
    let text = std::fs::File::create(project.root().join("stderr")).unwrap();
    let mut child = project
        .command(&["build", "base", "--push", "always"])
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
