//! What changes a listing, what does not, and what is in it.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dockit_hashing::context::{
    BuildContext, ContextOptions, FileDigest, FileMode, Node, Selection, Source,
};
use proptest::prelude::*;

use crate::tree::{Item, Tree, at, chmod, list, list_with, paths, try_list};

fn base() -> Tree {
    Tree::default()
        .file("src/a.txt", "one\n")
        .file("src/sub/b.txt", "two\n")
        .mode("run", "#!/bin/sh\n", 0o755)
        .link("link", "src/a.txt")
        .link("linked", "src")
        .directory("empty")
}

#[test]
fn where_a_file_would_be_listed_is_known_before_it_is_there() {
    let ignore = "*.log\nsrc/sub\n!src/sub/kept\n";
    let never = [PathBuf::from(".state")];
    let options = ContextOptions { never: &never, ..ContextOptions::default() };
    let paths = [
        "new",
        "a.log",
        "src/new",
        "src/a.log",
        "src/sub/new",
        "src/sub/kept",
        "no/such/dir/new",
        "src/new.txt",
        ".state/new",
        "link",
        "src/sub",
    ];
    let copy = |path: &str| Selection::of([Source::copy(path)]);
    for (name, selection) in [
        ("whole", Selection::whole()),
        ("src", copy("src")),
        ("a wildcard", copy("src/*.txt")),
        ("through a link", copy("linked")),
        ("one file", copy("new")),
        ("without some", Selection::of([Source::copy("src").excluding(&["*.txt"])])),
        ("nothing", Selection::default()),
    ] {
        for path in paths {
            let root = base().file(".dockerignore", ignore).plant();
            let context = BuildContext::open(root.path(), &options).unwrap();
            let said = context.first_listed(&selection, &["../x".into(), path.into()]).unwrap();
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            if !file.exists() {
                fs::write(&file, "new").unwrap();
            }
            let entries = context.listing(&selection).unwrap();
            let listed = entries.entries().iter().any(|entry| entry.path().to_string() == path);
            // A directory that is left out is listed for what is below it.
            if !file.is_dir() {
                assert_eq!(said, listed.then_some(1), "{name}: {path}");
            }
        }
    }
}

fn move_time(path: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = File::open(path).expect("the file");
    file.set_times(FileTimes::new().set_modified(time).set_accessed(time)).expect("the times");
}

#[test]
fn what_a_build_sees_changes_the_hash() {
    let changes: Vec<(&str, Tree)> = vec![
        ("07 content", base().file("src/a.txt", "uno\n")),
        ("05b new file", base().file("new", "")),
        ("13a rename", {
            let mut tree = base();
            let item = tree.0.remove(&b"src/a.txt"[..]).expect("the file");
            tree.with("src/c.txt", item)
        }),
        ("moved to another directory", {
            let mut tree = base();
            let item = tree.0.remove(&b"src/a.txt"[..]).expect("the file");
            tree.with("empty/a.txt", item)
        }),
        ("03b +x", base().mode("src/a.txt", "one\n", 0o744)),
        ("03c set-uid", base().mode("run", "#!/bin/sh\n", 0o4755)),
        ("set-gid", base().mode("run", "#!/bin/sh\n", 0o2755)),
        ("sticky", base().mode("run", "#!/bin/sh\n", 0o1755)),
        ("12a empty directory", base().directory("src/nothing")),
        ("11a link text", base().link("link", "src/sub/b.txt")),
        ("link text that leads to the same", base().link("link", "./src/a.txt")),
        ("11f link becomes a file of equal content", base().file("link", "one\n")),
        ("link becomes a file that holds its text", base().file("link", "src/a.txt")),
        ("directory becomes an empty file", base().file("empty", "")),
        ("24b name", base().file(b"\xff", "")),
        ("24c name with a line feed", base().file("a\nb", "")),
        ("25 .git is not special", base().file(".git/HEAD", "ref")),
        ("09b Dockerfile is a file", base().file("Dockerfile", "FROM scratch\n")),
        ("18b .dockerignore is a file", base().file(".dockerignore", "# nothing\n")),
        ("dangling link", base().link("dangling", "nowhere")),
        ("link out of the context", base().link("out", "../../etc/passwd")),
        ("cyclic link", base().link("self", "self")),
    ];
    let mut seen = BTreeMap::from([(base().hash(), "unchanged")]);
    for (change, tree) in changes {
        if let Some(same) = seen.insert(tree.hash(), change) {
            panic!("{change} has the hash of {same}");
        }
    }
}

#[test]
fn what_a_build_does_not_see_keeps_the_hash() {
    let hash = base().hash();
    let keeps = |what: &str, change: &dyn Fn(&Path)| {
        let root = base().plant();
        change(root.path());
        assert_eq!(list(root.path()).hash(), hash, "{what}");
    };
    keeps("01 another place", &|_| {});
    keeps("02 times of a file", &|root| {
        move_time(&root.join("src/a.txt"));
    });
    keeps("02 times of a directory", &|root| {
        move_time(&root.join("src"));
    });
    keeps("03a group may write", &|root| {
        chmod(&root.join("src/a.txt"), 0o664);
    });
    keeps("umask 077", &|root| {
        chmod(&root.join("src/a.txt"), 0o600);
        chmod(&root.join("run"), 0o700);
        chmod(&root.join("src"), 0o700);
    });
    keeps("git context", &|root| {
        chmod(&root.join("src/a.txt"), 0o666);
        chmod(&root.join("run"), 0o777);
    });
    keeps("04a mode of a directory", &|root| {
        chmod(&root.join("src/sub"), 0o2775);
    });
    keeps("04c mode of the root", &|root| chmod(root, 0o755));
    keeps("16 hard link instead of a copy", &|root| {
        fs::remove_file(root.join("src/sub/b.txt")).expect("removed");
        fs::write(root.join("other"), "two\n").expect("written");
        fs::hard_link(root.join("other"), root.join("src/sub/b.txt")).expect("linked");
        fs::rename(root.join("other"), root.join("elsewhere")).expect("renamed");
        fs::write(root.join(".dockerignore"), "elsewhere\n.dockerignore\n").expect("written");
    });
    keeps("05a ignored file", &|root| {
        fs::write(root.join("x.log"), "noise").expect("written");
        fs::write(root.join(".dockerignore"), "*.log\n.dockerignore\n").expect("written");
    });
}

#[test]
fn equal_size_and_time_do_not_hide_another_content() {
    let root = base().plant();
    let file = root.path().join("src/a.txt");
    move_time(&file);
    let before = list(root.path()).hash();
    fs::write(&file, "uno\n").expect("written");
    move_time(&file);
    assert_ne!(list(root.path()).hash(), before);
}

#[test]
fn what_lies_behind_a_link_is_read_at_its_own_place_only() {
    let outside = Tree::default().file("far.txt", "far").plant();
    let root = Tree::default()
        .link("to-file", outside.path().join("far.txt").to_str().expect("UTF-8"))
        .link("to-directory", outside.path().to_str().expect("UTF-8"))
        .plant();
    let before = list(root.path());
    assert_eq!(paths(&before), ["to-directory", "to-file"]);
    fs::write(outside.path().join("far.txt"), "other").expect("written");
    assert_eq!(list(root.path()), before);
}

#[test]
fn the_root_may_be_a_link() {
    let root = base().plant();
    let place = tempfile::tempdir().expect("a temporary directory");
    symlink(root.path(), place.path().join("root")).expect("the link");
    assert_eq!(list(&place.path().join("root")), list(root.path()));
}

#[test]
fn an_entry_says_what_is_there() {
    let large = vec![7; 1024 * 1024 + 1];
    let root = Tree::default()
        .mode("a", "abc", 0o4700)
        .file("b", &large)
        .link(b"c", b"\xfe/..")
        .directory("d")
        .plant();
    let listing = list(root.path());
    assert_eq!((listing.files(), listing.bytes()), (2, 3 + 1024 * 1024 + 1));
    let [a, b, c, d] = listing.entries() else { panic!("{listing:?}") };
    let Node::File { mode, size, digest } = a.node() else { panic!("{a:?}") };
    assert_eq!((mode.bits(), *size), (0o4755, 3));
    assert_eq!(*digest, FileDigest::Whole(dockit_hashing::content_hash::ContentHash::of(b"abc")));
    assert!(matches!(b.node(), Node::File { digest: FileDigest::Leaves(_), .. }));
    assert_eq!(*c.node(), Node::Symlink { target: b"\xfe/.."[..].into() });
    assert_eq!(
        (d.path().as_bytes(), d.node()),
        (&b"d"[..], &Node::Directory { mode: FileMode::DIRECTORY })
    );
}

#[test]
fn entries_are_sorted_by_the_bytes_of_their_paths() {
    let tree = Tree::default()
        .file("a/b", "")
        .file("a-b", "")
        .file("a0", "")
        .file("B", "")
        .file(b"\xff", "")
        .file("é", "");
    assert_eq!(tree.paths(), ["B", "a", "a-b", "a/b", "a0", "é", r"\xff"]);
}

#[test]
fn an_ignored_path_is_gone_and_its_directory_stays() {
    let tree = Tree::default().file(".dockerignore", "**/*.log\n.dockerignore").file("d/x.log", "");
    assert_eq!(tree.paths(), ["d"], "12c");
}

#[test]
fn an_excluded_directory_comes_back_as_parent() {
    let rules = ".dockerignore\ndeep\n!deep/er/keep\n";
    let tree = Tree::default()
        .file(".dockerignore", rules)
        .file("deep/er/keep", "")
        .file("deep/er/drop", "")
        .directory("deep/empty")
        .directory("deep/er/empty");
    assert_eq!(tree.paths(), ["deep", "deep/er", "deep/er/keep"]);
}

#[test]
fn an_excluded_parent_has_the_hash_of_any_other() {
    let rules = ".dockerignore\nd\n!d/keep\n";
    let ignoring = Tree::default().file(".dockerignore", rules).file("d/keep", "").file("d/x", "");
    assert_eq!(ignoring.hash(), Tree::default().file("d/keep", "").hash());
}

#[test]
fn a_directory_may_come_back_with_or_without_its_content() {
    let table: [(&str, &[&str]); 6] = [
        ("*\n!d/e", &["d", "d/e", "d/e/f"]),
        ("*\n!d/e\nd/e/f", &["d", "d/e"]),
        ("d\n!d/*/f", &[".dockerignore", "d", "d/e", "d/e/f"]),
        ("*\n!**/f", &["d", "d/e", "d/e/f"]),
        ("*\n!d/e**", &["d", "d/e", "d/e/f"]),
        ("*\n!other", &[]),
    ];
    for (rules, listed) in table {
        let tree = Tree::default().file(".dockerignore", rules).file("d/e/f", "").file("d/x", "");
        assert_eq!(tree.paths(), listed, "{rules:?}");
    }
}

#[test]
fn everything_may_be_excluded() {
    assert_eq!(base().file(".dockerignore", "*").hash(), Tree::default().hash());
    assert_eq!(base().file(".dockerignore", "**").hash(), Tree::default().hash());
}

#[test]
fn the_ignore_file_beside_the_dockerfile_wins_even_when_empty() {
    let tree = Tree::default()
        .file(".dockerignore", "x\n")
        .file("docker/D", "")
        .file("x", "")
        .file("y", "");
    let listed = |tree: &Tree| {
        let root = tree.plant();
        let dockerfile = root.path().join("docker/D");
        let options = ContextOptions { dockerfile: Some(&dockerfile), ..Default::default() };
        paths(&list_with(root.path(), &options))
    };
    let has = |paths: &[String], path: &str| paths.iter().any(|listed| listed == path);

    let without = listed(&tree);
    assert!(!has(&without, "x") && has(&without, "y"));

    let with = listed(&tree.clone().file("docker/D.dockerignore", "y\n"));
    assert!(has(&with, "x") && !has(&with, "y"), "19a: not merged");

    let with_empty = listed(&tree.clone().file("docker/D.dockerignore", ""));
    assert!(has(&with_empty, "x") && has(&with_empty, "y"), "19c");

    let other_name = listed(&tree.file("docker/E.dockerignore", ""));
    assert!(!has(&other_name, "x"));
}

#[test]
fn the_dockerfile_may_lie_outside_of_the_context() {
    let outside = Tree::default().file("D", "").file("D.dockerignore", "x").plant();
    let root = Tree::default().file("x", "").file("y", "").plant();
    let dockerfile = outside.path().join("D");
    let options = ContextOptions { dockerfile: Some(&dockerfile), ..Default::default() };
    assert_eq!(paths(&list_with(root.path(), &options)), ["y"]);
}

#[test]
fn paths_that_are_never_part_of_a_context_stay_out() {
    let root = Tree::default()
        .file(".dockerignore", "!*\n!**/*\n")
        .file("dockit.lock", "")
        .file("dockit.lock.old", "")
        .file(".dockit/cache/x", "")
        .file("sub/dockit.lock", "")
        .plant();
    let never = ["dockit.lock", "./.dockit/", "../x", "/sub"].map(PathBuf::from);
    let options = ContextOptions { never: &never, ..Default::default() };
    let listed = paths(&list_with(root.path(), &options));
    assert_eq!(listed, [".dockerignore", "dockit.lock.old", "sub", "sub/dockit.lock"]);

    let never = [PathBuf::from("")];
    let options = ContextOptions { never: &never, ..Default::default() };
    assert_eq!(list_with(root.path(), &options).entries(), []);
}

#[test]
fn a_root_that_is_no_directory_is_told_apart_from_none() {
    use dockit_hashing::context::ContextErrorKind::{NotADirectory, NotFound};
    let root = base().plant();
    for (path, kind) in [("nowhere", NotFound), ("run", NotADirectory), ("link", NotADirectory)] {
        let error = try_list(&root.path().join(path)).expect_err("no context");
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.path(), Some(&*root.path().join(path)));
    }
}

/// Names and contents that look like framing: lengths, tags, separators, and each other.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"aa",
        b"\x01",
        b"\x01\x02",
        b"\xff",
        b"a\n",
        b" ",
        b"\x02a",
    ])
    .prop_map(<[u8]>::to_vec)
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        &b""[..],
        b"a",
        b"b",
        b"\0",
        b"\0\0\0\0\0\0\0\0",
        b"\x01\0\0\0\0\0\0\0a",
        b"a\0",
        b"aa",
    ])
    .prop_map(<[u8]>::to_vec)
}

fn item() -> impl Strategy<Value = Item> {
    let mode = prop::sample::select(vec![0o644, 0o755, 0o4755]);
    prop_oneof![
        1 => Just(Item::Directory),
        3 => (content(), mode).prop_map(|(content, mode)| Item::File { content, mode }),
        1 => name().prop_map(Item::Link),
    ]
}

/// A tree in which every directory is named and nothing lies below what is no directory.
fn tree() -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec(name(), 1..4).prop_map(|names| names.join(&b'/'));
    prop::collection::btree_map(path, item(), 0..5).prop_map(|items| {
        let mut tree = Tree::default();
        for (path, item) in items {
            for end in (0..path.len()).filter(|end| path[*end] == b'/') {
                tree.0.insert(path[..end].to_vec(), Item::Directory);
            }
            tree.0.entry(path).or_insert(item);
        }
        tree
    })
}

fn disturb(root: &Path, tree: &Tree) {
    for (path, item) in &tree.0 {
        match item {
            Item::Directory => chmod(&at(root, path), 0o700),
            Item::File { mode, .. } => {
                chmod(&at(root, path), if mode & 0o100 == 0 { 0o666 } else { mode | 0o022 });
                move_time(&at(root, path));
            }
            Item::Link(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn trees_share_a_hash_only_when_they_are_equal(
        one in tree(),
        path in any::<prop::sample::Index>(),
        replacement in prop::option::of(item()),
        other in tree(),
    ) {
        let mut near = one.clone();
        if !one.0.is_empty() {
            let path = one.0.keys().nth(path.index(one.0.len())).expect("a path").clone();
            near.0.retain(|other, _| !other.starts_with(&path));
            near.0.extend(replacement.map(|item| (path, item)));
        }
        prop_assert_eq!(one.hash() == near.hash(), one == near);
        prop_assert_eq!(one.hash() == other.hash(), one == other);
    }

    #[test]
    fn place_order_times_and_umask_do_not_count(tree in tree()) {
        let (one, other) = (tree.plant(), tree.plant_backwards());
        disturb(other.path(), &tree);
        prop_assert_eq!(list(one.path()), list(other.path()));
    }
}
