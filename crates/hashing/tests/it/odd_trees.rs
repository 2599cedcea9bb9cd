//! Trees that use up paths, descriptors, stacks or patience.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Command;

use dockit_hashing::context::{
    Archive, BuildContext, ContextErrorKind, ContextOptions, Listing, Node, Selection,
};
use rustix::fs::{CWD, Mode, OFlags};

use crate::tree::{Tree, chmod, list, list_fast, list_with, paths, try_list};

const NAME: &str = "a-level-of-the-tree";

/// A chain of directories, with a file and a link in each thirtieth, removed when dropped.
struct Deep(tempfile::TempDir);

impl Deep {
    fn plant(levels: usize) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut at: OwnedFd =
            rustix::fs::openat(CWD, root.path(), flags, Mode::empty()).expect("opened");
        for level in 1..=levels {
            rustix::fs::mkdirat(&at, NAME, Mode::from(0o755)).expect("made");
            at = rustix::fs::openat(&at, NAME, flags, Mode::empty()).expect("opened");
            if level % 30 == 0 {
                let flags = OFlags::WRONLY | OFlags::CREATE;
                let file = rustix::fs::openat(&at, "file", flags, Mode::from(0o644));
                let content = format!("level {level}");
                rustix::io::write(file.expect("made"), content.as_bytes()).expect("written");
                rustix::fs::symlinkat("file", &at, "link").expect("linked");
            }
        }
        Self(root)
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        // The standard library keeps a descriptor open for each level.
        let removed = Command::new("rm").arg("-rf").arg(self.0.path()).status();
        assert!(removed.expect("rm runs").success());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn paths_may_be_longer_than_the_system_takes_at_once() {
    const LEVELS: usize = 1200;
    let root = Deep::plant(LEVELS);
    let root = root.0.path();
    let listing = list_fast(root);
    assert_eq!(listing.entries().len(), LEVELS + 2 * (LEVELS / 30));
    assert_eq!(listing.files(), (LEVELS / 30) as u64);
    let longest = listing.entries().iter().map(|entry| entry.path().as_bytes().len()).max();
    assert!(longest > Some(5 * 4096));

    let mut archive = Vec::new();
    Archive::new(root, &listing, b"FROM scratch\n").write_to(&mut archive).expect("packed");
    let mut contents = Vec::new();
    for entry in tar::Archive::new(&*archive).entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        if entry.path_bytes().ends_with(b"/file") {
            let mut content = String::new();
            entry.read_to_string(&mut content).expect("read");
            contents.push(content);
        }
    }
    // What is deeper sorts before `file`.
    let expected = (1..=LEVELS / 30).rev().map(|level| format!("level {}", level * 30));
    assert!(contents.into_iter().eq(expected));

    let portable = ContextOptions { portable: true, ..ContextOptions::default() };
    let error = BuildContext::open(root, &portable)
        .and_then(|context| context.listing(&Selection::whole()))
        .expect_err("too long");
    assert_eq!(error.kind(), ContextErrorKind::Unreadable);
}

/// Each of some directories holds many more, and files enough for several tasks.
fn bushy() -> Tree {
    let mut tree = Tree::default();
    for one in 0..20 {
        for other in 0..20 {
            tree = tree.file(format!("{one}/{other}/a/b/file"), format!("{one} {other}"));
        }
    }
    for file in 0..700 {
        tree = tree.file(format!("19/{file}.txt"), format!("{file}"));
    }
    for size in [0, 1, 128 * 1024, 128 * 1024 + 1, 1024 * 1024, 3 * 1024 * 1024 + 1] {
        tree = tree.file(format!("7/size-{size}"), vec![b's'; size]);
    }
    tree
}

#[test]
fn a_bushy_tree_is_listed_whole() {
    let tree = bushy();
    let root = tree.plant();
    let listing = list(root.path());
    assert_eq!(listing.files(), 400 + 700 + 6);
    assert!(listing.entries().is_sorted_by(|one, next| one.path() < next.path()));
    assert_eq!(list(tree.plant_backwards().path()), listing);
    let deep = Deep::plant(100);
    assert_eq!(list(deep.0.path()).files(), 3);
}

/// What was true with as many descriptors as the system gives is so with a few: the same tests, in
/// a process of their own.
#[cfg(target_os = "linux")]
#[test]
fn few_descriptors_are_enough() {
    let tests = std::env::current_exe().expect("this program");
    let limited = Command::new("sh")
        .args(["-c", r#"ulimit -n 24 && exec "$0" --test-threads 1 --exact "$@""#])
        .arg(tests)
        .arg("odd_trees::paths_may_be_longer_than_the_system_takes_at_once")
        .arg("odd_trees::a_bushy_tree_is_listed_whole")
        .output()
        .expect("sh runs");
    let said = String::from_utf8_lossy(&limited.stdout);
    assert!(limited.status.success() && said.contains("2 passed"), "{said}");
}

#[test]
fn of_several_failures_the_first_by_path_is_reported() {
    let mut tree = Tree::default();
    for one in 0..40 {
        tree = tree.file(format!("{one:02}/x/y/file"), "");
    }
    let root = tree.plant();
    for one in (3..40).rev() {
        let directory = root.path().join(format!("{one:02}/x/y"));
        for name in ["z", "p"] {
            let made = Command::new("mkfifo").arg(directory.join(name)).status();
            assert!(made.expect("mkfifo runs").success());
        }
    }
    for _ in 0..20 {
        let error = try_list(root.path()).expect_err("refused");
        assert_eq!(error.path(), Some(&*root.path().join("03/x/y/p")));
    }
}

#[test]
fn strict_modes_keep_twelve_bits() {
    let root = Tree::default()
        .mode("a", "", 0o664)
        .mode("b", "", 0o4751)
        .file("d/e/f", "")
        .file(".dockerignore", "d\n.dockerignore\n!d/e/f\n")
        .plant();
    chmod(&root.path().join("d"), 0o2775);
    chmod(&root.path().join("d/e"), 0o700);
    let strict = ContextOptions { strict_modes: true, ..ContextOptions::default() };
    let modes = |listing: &Listing| -> Vec<String> {
        let mode = |node: &Node| match node {
            Node::Directory { mode } | Node::File { mode, .. } => mode.to_string(),
            _ => String::new(),
        };
        listing.entries().iter().map(|entry| mode(entry.node())).collect()
    };
    let listing = list_with(root.path(), &strict);
    assert_eq!(paths(&listing), ["a", "b", "d", "d/e", "d/e/f"]);
    assert_eq!(modes(&listing), ["0664", "4751", "2775", "0700", "0644"]);
    let normalised = list(root.path());
    assert_eq!(modes(&normalised), ["0644", "4755", "0755", "0755", "0644"]);
    assert_ne!(listing.hash(), normalised.hash());

    let mut archive = Vec::new();
    Archive::new(root.path(), &listing, b"").write_to(&mut archive).expect("packed");
    let packed: Vec<u32> = tar::Archive::new(&*archive)
        .entries()
        .expect("entries")
        .skip(1)
        .map(|entry| entry.expect("an entry").header().mode().expect("a mode"))
        .collect();
    assert_eq!(packed, [0o664, 0o4751, 0o2775, 0o700, 0o644]);

    chmod(&root.path().join("a"), 0o640);
    let error = Archive::new(root.path(), &listing, b"").write_to(&mut Vec::new());
    assert_eq!(error.expect_err("changed").kind(), ContextErrorKind::Changed);
}

#[test]
fn strict_modes_that_are_normal_change_nothing() {
    let root = Tree::default().file("d/f", "").mode("run", "", 0o755).plant();
    chmod(&root.path().join("d"), 0o755);
    let strict = ContextOptions { strict_modes: true, ..ContextOptions::default() };
    assert_eq!(list_with(root.path(), &strict), list(root.path()));
}
