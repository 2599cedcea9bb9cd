//! A process that is killed in the middle of anything it does to a layout.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use dockit_registry::layout::{Layout, Unwanted};
use dockit_testkit::TestImage;

use crate::layout_store::{put, repository, whole_names};

/// Where the process that is killed finds the layout, relative to where it works.
const LAYOUT: &str = "layout";

/// What allows it to begin: nobody runs it by mistake.
const ALLOWED: &str = "allowed";

/// What it has seen to be done, a line for each tag.
const DONE: &str = "done";

#[test]
fn whatever_was_done_before_a_kill_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at(ALLOWED), "").unwrap();
    let mut seen = 0;
    for round in 0..12_u64 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "layout_kill::writes_until_it_is_killed"])
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Other moments in every round; the first ones may come before anything is done.
        thread::sleep(Duration::from_millis(20 + round * 17));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let Some(layout) = Layout::open_if_there(&at(LAYOUT)).unwrap() else { continue };
        let names = whole_names(&layout);
        let done = fs::read_to_string(at(DONE)).unwrap_or_default();
        for name in done.lines() {
            assert!(names.contains(name), "{name} was put before the kill");
        }
        seen = done.lines().count();
        // What is left of the lock keeps nobody out.
        put(&layout, &format!("after:{round}"), &TestImage::new("after"));
        let sweep = layout.sweep(Duration::ZERO).unwrap();
        assert_eq!(sweep.held_by, [""; 0]);
        let after: Vec<String> = whole_names(&layout).into_iter().collect();
        assert!(names.iter().all(|name| after.contains(name)));
    }
    assert!(seen > 0, "it was always killed before it did anything");
}

#[test]
#[ignore = "is run, and killed, by another test"]
fn writes_until_it_is_killed() {
    if !Path::new(ALLOWED).exists() {
        return;
    }
    let layout = Layout::create(Path::new(LAYOUT)).unwrap();
    let mut done = fs::OpenOptions::new().create(true).append(true).open(DONE).unwrap();
    let process = std::process::id();
    for number in 0..10_000 {
        let image = TestImage::new(&format!("{process} {number}"));
        let name = format!("kept:{process}-{number}");
        put(&layout, &name, &image);
        std::io::Write::write_all(&mut done, format!("{name}\n").as_bytes()).unwrap();
        let gone = TestImage::new(&format!("gone {process} {number}"));
        put(&layout, &format!("gone:{number}"), &gone);
        let item = Unwanted::Manifest(gone.digest().parse().unwrap());
        layout.delete(&repository("gone"), &[item]).unwrap().remove(0).unwrap();
        layout.sweep(Duration::ZERO).unwrap();
    }
}
