//! What an engine at hand may not know: newer syntax, and files that no build context has.

use std::collections::BTreeMap;

use dockit_hashing::dockerfile::{CopySource, CopyStep};

use super::*;
use crate::copy::testing::{directory, file, line, lines, link, node};
use crate::tree::{LONGEST_PATH, MOST_NAMES};

/// A `COPY` of these words.
fn step(words: &str) -> CopyStep {
    let mut words: Vec<&str> = words.split(' ').collect();
    let destination = words.pop().expect("a destination").to_owned();
    let source = |word: &str| match word.strip_prefix("<<") {
        Some(name) => CopySource::Heredoc { name: name.to_owned(), content: b"text".to_vec() },
        None => CopySource::Path(word.to_owned()),
    };
    let mut step = CopyStep {
        from: None,
        sources: Vec::new(),
        destination,
        chown: None,
        chmod: None,
        link: false,
        parents: false,
        exclude: Vec::new(),
        unpack: None,
    };
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("--chown", value) => step.chown = Some(value.to_owned()),
            ("--chmod", value) => step.chmod = Some(value.to_owned()),
            ("--exclude", value) => step.exclude.push(value.to_owned()),
            ("--parents", _) => step.parents = true,
            ("--link", _) => step.link = true,
            _ => step.sources.push(source(word)),
        }
    }
    step
}

fn copied(words: &str, source: &Tree, below: Below<'_>) -> Result<Tree, AssembleError> {
    Copy { step: &step(words), archives: None, source, workdir: "/" }.onto(below)
}

/// What a `COPY` of these words puts into an empty tree.
fn result(words: &str, source: &Tree) -> Vec<String> {
    lines(&copied(words, source, Below::Nothing).expect(words))
}

fn tree(nodes: impl IntoIterator<Item = (&'static str, Node)>) -> Tree {
    let mut tree = Tree::default();
    for (path, node) in nodes {
        tree.put(path.as_bytes(), node).expect("short");
    }
    tree
}

fn files(paths: &[&'static str]) -> Tree {
    tree(paths.iter().map(|path| (*path, file(path))))
}

fn with_mode(mut node: Node, mode: u32) -> Node {
    node.meta.mode = mode;
    node
}

/// Paths of files alone, without what they hold.
fn names(words: &str, source: &Tree) -> String {
    let tree = copied(words, source, Below::Nothing).expect(words);
    let mut names = Vec::new();
    tree.walk(&mut |path, node| {
        if !node.is_directory() {
            names.push(String::from_utf8_lossy(path).into_owned());
        }
    });
    names.join(" ")
}

#[test]
fn parents_are_kept_from_the_pivot_on() {
    let source = files(&["a/b/c.txt", "a/b/d.md", "a/e/c.txt", "x/c.txt", "top.txt"]);
    for (words, expected) in [
        ("--parents a/b/c.txt /to/", "to/a/b/c.txt"),
        ("--parents a/b/c.txt top.txt /to", "to/a/b/c.txt to/top.txt"),
        ("--parents a/b /to/", "to/a/b/c.txt to/a/b/d.md"),
        ("--parents a/./b/c.txt /to/", "to/b/c.txt"),
        ("--parents ./a/b/c.txt /to/", "to/a/b/c.txt"),
        ("--parents /a/b/../e/c.txt /to/", "to/a/e/c.txt"),
        ("--parents a/*/c.txt /to/", "to/a/b/c.txt to/a/e/c.txt"),
        ("--parents **/c.txt /to/", "to/a/b/c.txt to/a/e/c.txt to/x/c.txt"),
        ("--parents a/./**/*.txt /to/", "to/b/c.txt to/e/c.txt"),
        ("--parents a*/./*/d.md /to/", "to/b/d.md"),
        ("--parents no*match /to/", ""),
        ("--parents --exclude=**/d.md a /to/", "to/a/b/c.txt to/a/e/c.txt"),
    ] {
        assert_eq!(names(words, &source), expected, "{words}");
    }
    for words in [
        "--parents missing /to/",
        "--parents a/missing /to/",
        "--parents a/./missing /to/",
        "--parents missing/./c.txt /to/",
        "--parents --exclude=x x /to/",
        "--parents . /to/",
        "--parents a[ /to/",
    ] {
        copied(words, &source, Below::Nothing).expect_err(words);
    }
}

#[test]
fn parents_keep_their_attributes_where_they_are_made() {
    let mut private = with_mode(directory(), 0o700);
    (private.meta.uid, private.meta.modified) = (3, 77);
    let source = tree([("a", private.clone()), ("a/b", private), ("a/b/c", file("c"))]);
    let there = tree([("to/a", with_mode(directory(), 0o711)), ("to/a/kept", file("kept"))]);
    let after = copied("--parents a/b/c /to/", &source, Below::Tree(&there)).expect("copied");
    // One that is there takes over the mode and nothing else.
    let expected = [
        "d755 0:0 to",
        "d700 0:0 to/a",
        "d700 3:0 to/a/b @77",
        "-644 0:0 to/a/b/c c",
        "-644 0:0 to/a/kept kept",
    ];
    assert_eq!(lines(&after), expected);
}

#[test]
fn patterns_exclude_what_lies_below_a_source() {
    let source = files(&["d/a.md", "d/b.txt", "d/s/a.md", "d/s/b.txt", "d/s/k/c.md", "e.md"]);
    for (words, expected) in [
        ("--exclude=*.md d /", "b.txt s/a.md s/b.txt s/k/c.md"),
        ("--exclude=**/*.md d /", "b.txt s/b.txt"),
        ("--exclude=s d /", "a.md b.txt"),
        ("--exclude=s --exclude=!s/k d /", "a.md b.txt s/k/c.md"),
        ("--exclude=*.md --exclude=*.txt d /", "s/a.md s/b.txt s/k/c.md"),
        ("--exclude=*.md e.md /", "e.md"),
        ("--exclude=*.md *.md /", "e.md"),
        ("--exclude=d /d/s/ /", "a.md b.txt k/c.md"),
        ("--exclude=d/s . /", "d/a.md d/b.txt e.md"),
        ("--exclude=**/c.md --exclude=*.md d e.md /x/", "x/b.txt x/e.md x/s/a.md x/s/b.txt"),
    ] {
        assert_eq!(names(words, &source), expected, "{words}");
    }
    copied("--exclude=a[ d /", &source, Below::Nothing).expect_err("no pattern");
    // A directory of which everything is excluded is left, and one that is excluded is not.
    let expected = ["-644 0:0 a.md d/a.md", "-644 0:0 b.txt d/b.txt", "d755 0:0 s"];
    assert_eq!(result("--exclude=s/* d /", &source), expected);
}

#[test]
fn modes_are_those_of_chmod() {
    let source = tree([
        ("d", with_mode(directory(), 0o750)),
        ("d/s", with_mode(directory(), 0o2750)),
        ("d/s/x", with_mode(file("x"), 0o711)),
        ("d/f", file("f")),
        ("d/l", link("f")),
    ]);
    for (words, expected) in [
        (
            "d /to/",
            [
                "d755 0:0 to",
                "-644 0:0 to/f f",
                "l777 0:0 to/l -> f",
                "d2750 0:0 to/s",
                "-711 0:0 to/s/x x",
            ],
        ),
        (
            "--chmod=4701 d /to/",
            [
                "d701 0:0 to",
                "-4701 0:0 to/f f",
                "l777 0:0 to/l -> f",
                "d4701 0:0 to/s",
                "-4701 0:0 to/s/x x",
            ],
        ),
        (
            "--chmod=go=rX,u+w d /to/",
            [
                "d755 0:0 to",
                "-644 0:0 to/f f",
                "l777 0:0 to/l -> f",
                "d755 0:0 to/s",
                "-755 0:0 to/s/x x",
            ],
        ),
    ] {
        assert_eq!(result(words, &source), expected, "{words}");
    }
    copied("--chmod=888 d /", &source, Below::Nothing).expect_err("no mode");
}

#[test]
fn heredocs_are_files_and_come_last() {
    let source = files(&["one", "two"]);
    assert_eq!(
        result("<<one two /to/", &source),
        ["d755 0:0 to", "-644 0:0 to/one text", "-644 0:0 to/two two"]
    );
    assert_eq!(result("<<one one /to", &source), ["-644 0:0 to text"]);
    assert_eq!(
        result("--chown=5 --chmod=600 <<a /x/y", &source),
        ["d600 5:5 x", "-600 5:5 x/y text"]
    );
    for words in ["<<a/b /to/", "<<.. /to/", "<<one missing /to/"] {
        copied(words, &source, Below::Nothing).expect_err(words);
    }
}

#[test]
fn a_linked_layer_does_not_look_at_what_is_there() {
    let source = files(&["f"]);
    let below = tree([
        ("lib", link("usr/lib")),
        ("etc", with_mode(directory(), 0o700)),
        ("etc/kept", file("kept")),
        ("data", file("data")),
    ]);
    for (words, expected) in [
        (
            "--link f /lib/",
            vec![
                "-644 0:0 data data",
                "d700 0:0 etc",
                "-644 0:0 etc/kept kept",
                "d755 0:0 lib",
                "-644 0:0 lib/f f",
            ],
        ),
        (
            "--link f /lib",
            vec!["-644 0:0 data data", "d700 0:0 etc", "-644 0:0 etc/kept kept", "-644 0:0 lib f"],
        ),
        ("--link f /etc", vec!["-644 0:0 data data", "-644 0:0 etc f", "l777 0:0 lib -> usr/lib"]),
        (
            "--link f /etc/",
            vec![
                "-644 0:0 data data",
                "d755 0:0 etc",
                "-644 0:0 etc/f f",
                "-644 0:0 etc/kept kept",
                "l777 0:0 lib -> usr/lib",
            ],
        ),
        (
            "--link f /data/",
            vec![
                "d755 0:0 data",
                "-644 0:0 data/f f",
                "d700 0:0 etc",
                "-644 0:0 etc/kept kept",
                "l777 0:0 lib -> usr/lib",
            ],
        ),
    ] {
        assert!(is_linked(&step(words)));
        let layer = changes(Below::Nothing, &copied(words, &source, Below::Nothing).expect(words));
        let mut after = below.clone();
        after.apply(&layer).expect("short");
        assert_eq!(lines(&after), expected, "{words}");
    }
    assert!(!is_linked(&step("--link --chmod=600 f /")));
    assert!(!is_linked(&step("f /")));
    copied("--link --chown=name f /", &source, Below::Nothing).expect_err("no file of users");
}

#[test]
fn what_images_hold_besides_files_is_copied_as_it_is() {
    let one = |kind, mode| node(kind, mode);
    let mut labelled = file("x");
    labelled.meta.xattrs = BTreeMap::from([(b"user.a".to_vec(), b"1".to_vec())]);
    (labelled.meta.uid, labelled.meta.gid, labelled.meta.modified) = (70_000, 5, -1);
    let mut top = directory();
    top.meta.modified = 12;
    let source = tree([
        ("d", top),
        ("d/block", one(NodeKind::BlockDevice { major: 8, minor: 1 }, 0o660)),
        ("d/char", one(NodeKind::CharDevice { major: 1, minor: 3 }, 0o666)),
        ("d/file", labelled),
        ("d/pipe", one(NodeKind::Fifo, 0o600)),
    ]);
    let expected = [
        "d755 0:0 to @12",
        "b660 0:0 to/block 8,1",
        "c666 0:0 to/char 1,3",
        "-644 70000:5 to/file x @-1 +user.a",
        "p600 0:0 to/pipe",
    ];
    assert_eq!(result("d /to", &source), expected);
}

#[test]
fn names_of_one_file_are_names_of_one_copy() {
    let number = crate::tree::new_hard_link();
    let named = || {
        let mut named = file("x");
        let NodeKind::File(file) = &mut named.kind else { unreachable!("it is a file") };
        file.hard_link = number;
        named
    };
    let source = tree([("d/one", named()), ("d/two", named()), ("e/three", named())]);
    let after = copied("d e /to/", &source, Below::Nothing).expect("copied");
    let number_of = |path: &str| match &after.get(path.as_bytes()).expect(path).kind {
        NodeKind::File(file) => file.hard_link,
        other => panic!("{other:?}"),
    };
    assert_eq!(number_of("to/one"), number_of("to/two"));
    // Each source is copied by itself.
    assert_ne!(number_of("to/one"), number_of("to/three"));
    assert_ne!(number_of("to/one"), number);
}

#[test]
fn attributes_of_directories_join() {
    let with = |name: &str, mode| {
        let mut node = with_mode(directory(), mode);
        node.meta.xattrs = BTreeMap::from([(name.into(), Vec::new())]);
        node
    };
    let source = tree([("s", with("user.top", 0o700)), ("s/d", with("user.new", 0o700))]);
    let there = tree([("t", with("user.old", 0o750)), ("t/d", with("user.old", 0o750))]);
    let after = copied("s /t", &source, Below::Tree(&there)).expect("copied");
    assert_eq!(lines(&after), ["d750 0:0 t +user.old", "d700 0:0 t/d +user.new +user.old"]);
}

#[test]
fn a_layer_says_what_changed_and_the_directories_around() {
    let below = files(&["a/b/c", "a/d", "e/f", "g"]);
    let source = files(&["new", "b/x"]);
    let change = |words: &str| {
        let after = copied(words, &source, Below::Tree(&below)).expect(words);
        let changes = changes(Below::Tree(&below), &after);
        let shown = changes.iter().map(|change| match change {
            Change::Put(path, node) => line(path, node),
            Change::Remove(path) => format!("- {}", path.escape_ascii()),
            Change::Clear(path) => format!("! {}", path.escape_ascii()),
        });
        shown.collect::<Vec<_>>()
    };
    assert_eq!(change("new /a/b/"), ["d755 0:0 a", "d755 0:0 a/b", "-644 0:0 a/b/new new"]);
    assert_eq!(change("new /g"), ["-644 0:0 g new"]);
    assert_eq!(change("b /a/b"), ["d755 0:0 a", "d755 0:0 a/b", "-644 0:0 a/b/x b/x"]);
    assert_eq!(change("no*match /x/"), Vec::<String>::new());

    let mut after = below.clone();
    after.remove(b"a/b");
    after.put(b"a/b/z", file("z")).expect("short");
    after.put(b"e", file("no directory")).expect("short");
    let changes = after.changes_since(&below);
    let shown: Vec<_> = changes
        .iter()
        .map(|change| {
            (
                String::from_utf8_lossy(change.path()).into_owned(),
                matches!(change, Change::Remove(_)),
            )
        })
        .collect();
    let expected = [("a", false), ("a/b", false), ("a/b/c", true), ("a/b/z", false), ("e", false)];
    assert_eq!(shown, expected.map(|(path, removed)| (path.to_owned(), removed)));
    let mut again = below.clone();
    again.apply(&changes).expect("short");
    assert_eq!(lines(&again), lines(&after));
}

#[test]
fn a_destination_that_ends_in_a_dot_is_a_directory() {
    let source = files(&["f"]);
    assert_eq!(result("f /new/.", &source), ["d755 0:0 new", "-644 0:0 new/f f"]);
}

#[test]
fn a_workdir_is_made_for_the_user() {
    let below = tree([
        ("etc/passwd", file("app:x:7:8::/:\n")),
        ("link", link("/made/here")),
        ("file", file("")),
    ]);
    let made = |workdir: &str, user: &str| make_workdir(workdir, user, Below::Tree(&below));
    let after = made("/link/a/../b", "app").expect("made");
    let expected = ["d755 7:8 made", "d755 7:8 made/here", "d755 7:8 made/here/b"];
    assert_eq!(lines(&after)[4..], expected);
    assert_eq!(lines(&made("/etc", "app").expect("there")), lines(&below));
    made("/file/x", "").expect_err("a file is in the way");
    make_workdir("/x", "app", Below::Nothing).expect_err("there are no users");
    assert_eq!(lines(&make_workdir("/x", "5", Below::Nothing).expect("made")), ["d755 5:5 x"]);
}

#[test]
fn deep_directories_are_copied_and_let_go() {
    let mut source = Tree::default();
    let path = vec![&b"d"[..]; MOST_NAMES - 1].join(&b'/');
    source.put(&path, file("deep")).expect("short enough");
    let after = copied("d /x/", &source, Below::Nothing).expect("copied");
    assert_eq!(changes(Below::Nothing, &after).len(), MOST_NAMES - 1);
    copied("d /more/than/there/is/room/for/", &source, Below::Nothing).expect_err("too deep");
    source.put(&[&path[..], b"/d/d"].concat(), file("")).expect_err("too deep");
    let long = vec![b'd'; LONGEST_PATH + 1];
    source.put(&long, file("")).expect_err("too long");
    source.put(&long[1..], file("")).expect("long enough");
}
