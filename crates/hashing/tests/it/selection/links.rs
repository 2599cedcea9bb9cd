//! Symbolic links that lead to what is read.

use std::fs;
use std::os::unix::fs::symlink;

use dockit_hashing::context::ContextErrorKind;

use super::Build;
use crate::tree::{Item, Tree};

fn base() -> Tree {
    Tree::default()
        .file("other/x", "x\n")
        .file("src/a", "a\n")
        .file("src/sub/b", "b\n")
        .link("absolute", "/src/a")
        .link("chain", "link")
        .link("clamped", "../../src/a")
        .link("directory", "src")
        .link("link", "src/a")
        .link("src/inside", "../other/x")
        .link("src/up", "..")
}

fn reads(source: &str, tree: &Tree) -> Vec<String> {
    Build::of(&format!("FROM scratch\nCOPY {source} /\n")).paths(tree)
}

#[test]
fn links_that_lead_to_a_source_are_read_and_followed() {
    let src = ["src", "src/a", "src/inside", "src/sub", "src/sub/b", "src/up"];
    let with = |link: &'static str, rest: &[&'static str]| [&[link], rest].concat();
    let table: Vec<(&str, Vec<&str>)> = vec![
        ("11b link", vec!["link", "src", "src/a"]),
        ("11g absolute", vec!["absolute", "src", "src/a"]),
        ("clamped", vec!["clamped", "src", "src/a"]),
        ("chain", vec!["chain", "link", "src", "src/a"]),
        ("directory", with("directory", &src)),
        ("11e directory/sub", vec!["directory", "src", "src/sub", "src/sub/b"]),
        ("directory/inside", vec!["directory", "other", "other/x", "src", "src/inside"]),
        ("directory/up/link", vec!["directory", "link", "src", "src/a", "src/up"]),
        ("11h li*", vec!["link", "src", "src/a"]),
        ("directory/s*", vec!["directory", "src", "src/sub", "src/sub/b"]),
        ("directory/i*", vec!["directory", "other", "other/x", "src", "src/inside"]),
        ("--parents directory/./s*", vec!["directory", "src", "src/sub", "src/sub/b"]),
        ("--exclude=sub directory", vec!["directory", "src", "src/a", "src/inside", "src/up"]),
        ("--exclude=sub dir*", vec!["directory", "src", "src/a", "src/inside", "src/up"]),
        // In a directory a link is its text.
        ("11d src", src.to_vec()),
        ("s*", src.to_vec()),
        ("--parents directory/sub", vec![]),
        ("--parents src/in*", vec!["src", "src/inside"]),
    ];
    for (source, expected) in table {
        let source = source.trim_start_matches(|ch: char| ch.is_ascii_digit());
        let source =
            source.split_once(' ').filter(|(id, _)| id.len() == 1).map_or(source, |it| it.1);
        assert_eq!(reads(source, &base()), expected, "{source}");
    }
}

#[test]
fn a_mount_is_followed_as_well() {
    let build = Build::of("FROM a\nRUN --mount=source=directory/sub,target=/x make\n");
    assert_eq!(build.paths(&base()), ["directory", "src", "src/sub", "src/sub/b"]);
}

#[test]
fn a_change_of_the_link_or_behind_it_changes_the_hash() {
    let hash = |tree: Tree| {
        let build = Build::of("FROM scratch\nCOPY link /\nCOPY src/s* /\n");
        build.list(tree.plant().path()).hash()
    };
    let before = hash(base());
    assert_ne!(before, hash(base().file("src/a", "b\n")), "11b");
    assert_ne!(before, hash(base().file("link", "a\n")), "11f");
    assert_ne!(before, hash(base().link("link", "other/x")), "retargeted");
    assert_eq!(before, hash(base().file("other/x", "y\n")), "11d");
    assert_eq!(before, hash(base().link("chain", "other")), "another link");
}

#[test]
fn a_link_to_nothing_selects_nothing_more() {
    let tree = Tree::default()
        .file(".dockerignore", "secret\nhidden\n!hidden/not\n")
        .file("secret", "")
        .file("hidden/a", "")
        .file("hidden/not", "")
        .link("dangling", "nowhere/at/all")
        .link("52", "../../etc/passwd")
        .link("53", "secret")
        .link("partly", "hidden")
        .link("through", "secret/x");
    assert_eq!(reads("dangling", &tree), ["dangling"]);
    assert_eq!(reads("52", &tree), ["52"]);
    assert_eq!(reads("53", &tree), ["53"]);
    assert_eq!(reads("partly", &tree), ["hidden", "hidden/not", "partly"]);
    assert_eq!(reads("through", &tree), ["through"]);
    assert_eq!(reads("5*", &tree), ["52", "53"]);
    let ignored = tree.file(".dockerignore", "53\nsecret\n").file("plain", "");
    assert_eq!(reads("53 plain", &ignored), ["plain"]);
}

#[test]
fn links_in_a_circle_are_an_error_where_they_are_followed() {
    let tree = base().link("self", "self").link("one", "two").link("two", "one");
    for source in ["self", "se*", "one", "two/x"] {
        let text = format!("FROM scratch\nCOPY {source} /\n");
        let error = Build::of(&text).try_list(tree.plant().path()).expect_err(source);
        assert_eq!(error.kind(), ContextErrorKind::TooManyLinks, "{source}");
        assert!(error.to_string().ends_with("too many symbolic links to follow"), "{error}");
    }
    assert_eq!(reads("src/a", &tree), ["src", "src/a"]);
    assert!(reads(".", &tree).contains(&"self".to_owned()));
}

#[test]
fn as_many_links_as_buildkit_follows_are_followed() {
    let chain = |links: usize| {
        let tree = Tree::default().file("l0", "end");
        (1..=links)
            .fold(tree, |tree, index| tree.link(format!("l{index}"), format!("l{}", index - 1)))
    };
    assert_eq!(reads("l255", &chain(255)).len(), 256);
    let error = Build::of("FROM scratch\nCOPY l256 /\n").try_list(chain(256).plant().path());
    assert_eq!(error.expect_err("an error").kind(), ContextErrorKind::TooManyLinks);
}

/// BuildKit reads `a/..` in one way when it computes its own keys and in another when it copies.
#[test]
fn both_readings_of_a_link_text_are_selected() {
    let tree = Tree::default()
        .link("a", "deep/er")
        .file("deep/er/x", "")
        .file("deep/b", "physical")
        .file("b", "lexical")
        .link("link", "a/../b");
    assert_eq!(reads("link", &tree), ["a", "b", "deep", "deep/b", "deep/er", "link"]);
}

#[test]
fn what_the_file_system_says_in_another_order_is_the_same() {
    let tree = base().link("l2", "other").link("l1", "src/sub");
    let build = Build::of("FROM scratch\nCOPY l* dir* /\n");
    let there = build.list(tree.plant().path());
    let back = build.list(tree.plant_backwards().path());
    assert_eq!(there, back);
}

#[test]
fn the_archive_has_the_directories_above_what_is_read() {
    let tree = Tree(
        [("x/y/z", "1"), ("x/y/w", "2"), ("v", "3")]
            .map(|(path, content)| {
                let content = content.as_bytes().to_vec();
                (path.as_bytes().to_vec(), Item::File { content, mode: 0o644 })
            })
            .into(),
    );
    let root = tree.plant();
    symlink("x/y", root.path().join("to")).expect("the link");
    let listing = Build::of("FROM scratch\nCOPY to/z /\n").list(root.path());
    let mut bytes = Vec::new();
    dockit_hashing::context::Archive::new(root.path(), &listing, b"FROM scratch\n")
        .write_to(&mut bytes)
        .expect("an archive");
    let mut archive = tar::Archive::new(bytes.as_slice());
    let names: Vec<_> = archive
        .entries()
        .expect("entries")
        .map(|entry| String::from_utf8_lossy(&entry.expect("an entry").path_bytes()).into_owned())
        .collect();
    assert_eq!(names, [".dockit.Dockerfile", "to", "x/", "x/y/", "x/y/z"]);
    fs::remove_file(root.path().join("v")).expect("a file that does not count");
}
