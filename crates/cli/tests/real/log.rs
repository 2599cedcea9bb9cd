//! Commands that write a lot. What a build writes is in `it/log.rs`: the engine cuts that.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::checks::project;
use crate::engine::Cleanup;

const LINE: &str = "a line of the log, as programs write them by the thousands.........";

/// With their line ends these are 100 MB.
const LINES: usize = 1_500_000;

/// The most memory that the process has had until it ended, in KiB, as the kernel says it.
fn peak_memory(child: &mut Child) -> (i32, u64) {
    let mut peak = 0;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let line = status.as_deref().unwrap_or_default().lines().find(|l| l.starts_with("VmHWM:"));
        if let Some(kib) = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()) {
            peak = kib;
        }
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code().unwrap_or(-1), peak);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What came of a test that writes so many lines.
struct Written {
    /// In KiB.
    peak: u64,
    /// Bytes of its lines that were shown, with their line ends.
    shown: usize,
}

fn write_lines(place: &str, lines: usize) -> Written {
    let command = format!("yes '{LINE}' | head -n {lines}");
    let project = project("", &format!("test = [{{ run = \"{command}\", on = \"{place}\" }}]"));
    let mut child = project
        .command(&["build", "--report", "report"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = BufReader::new(child.stderr.take().unwrap());
    let shown = std::thread::spawn(move || {
        let expected = format!("checked | {LINE}");
        let lines = text.lines().map(Result::unwrap).filter(|line| *line == expected);
        lines.count() * (LINE.len() + 1)
    });
    let (code, peak) = peak_memory(&mut child);
    let report = std::fs::read_to_string(project.root().join("report")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let _cleanup = Cleanup::of(&report);
    assert_eq!(code, 0, "{}", report["images"][0]["error"]);
    let test = &report["images"][0]["tests"][0];
    let kept = test["output"].as_str().unwrap().len();
    let all = lines * (LINE.len() + 1);
    assert_eq!((kept, test["truncated"].as_bool()), (all.min(1 << 14), Some(all > 1 << 14)));
    Written { peak, shown: shown.join().unwrap() }
}

fn a_log_does_not_grow_memory(place: &str) {
    let little = write_lines(place, LINES / 50);
    let much = write_lines(place, LINES);
    assert!(LINES * (LINE.len() + 1) > 100_000_000);
    assert_eq!(much.shown, LINES * (LINE.len() + 1), "all of it arrives");
    let (little, much) = (little.peak, much.peak);
    assert!(little > 0 && much < little + 16 * 1024, "{much} KiB; {little} KiB with 2 MB of it");
}

#[test]
fn a_container_that_writes_100_megabytes_does_not_grow_memory() {
    a_log_does_not_grow_memory("container");
}

#[test]
fn a_program_of_this_machine_that_writes_100_megabytes_does_not_grow_memory() {
    a_log_does_not_grow_memory("host");
}
