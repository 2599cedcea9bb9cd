//! `.dockerignore`: which file is used, and what it excludes.

use std::fs;

use dockit_hashing::context::{BuildContext, ContextErrorKind, ContextOptions, IgnoreRules};

use crate::context::{list, paths, tree};

fn excluded(patterns: &str, path: &str) -> bool {
    IgnoreRules::parse(patterns.as_bytes()).unwrap().excludes(path.as_bytes())
}

#[test]
fn the_reader_treats_lines_as_buildkit_does() {
    for (patterns, path, verdict) in [
        ("x.log", "x.log", true),
        ("\u{feff}x.log\r\n", "x.log", true),
        ("# x.log", "x.log", false),
        (" # foo", "# foo", true),
        ("  x.log  ", "x.log", true),
        ("/x.log", "x.log", true),
        ("./x.log", "x.log", true),
        ("src/../x.log", "x.log", true),
        ("x.log/", "x.log", true),
        ("//x.log", "x.log", true),
        ("other/", "other/file", true),
        ("x.log", "src/x.log", false),
        ("*.LOG", "x.log", false),
        ("**/x.log", "src/deep/x.log", true),
        (".", "a", false),
        ("/", "a", false),
        ("*", "a", true),
        ("*", "a/b", true),
        ("", "a", false),
        ("\n\n", "a", false),
    ] {
        assert_eq!(excluded(patterns, path), verdict, "{patterns:?} and {path}");
    }
}

#[test]
fn the_last_match_wins_and_files_come_back_from_excluded_directories() {
    for (patterns, path, verdict) in [
        ("*\n!src", "src/a.txt", false),
        ("*\n!src", "other", true),
        ("src\n!src/a.txt", "src/a.txt", false),
        ("src\n!src/a.txt", "src/b.txt", true),
        ("!src/a.txt\nsrc", "src/a.txt", true),
        ("src\n! src/a.txt", "src/a.txt", false),
        ("**/*.md\n!README.md", "README.md", false),
        ("**/*.md\n!README.md", "docs/README.md", true),
        ("a\n!a/b\na/b/c", "a/b/c", true),
        ("a\n!a/b\na/b/c", "a/b/d", false),
        ("foo/**\n!foo/bar", "foo/bar", false),
    ] {
        assert_eq!(excluded(patterns, path), verdict, "{patterns:?} and {path}");
    }
}

#[test]
fn wrong_lines_are_named() {
    for (patterns, line) in [("a\n!\n", 2), ("[", 1), ("a\n\n!/", 3), ("a\nb^c", 2), ("x\\", 1)] {
        assert_eq!(IgnoreRules::parse(patterns.as_bytes()).unwrap_err().line, line, "{patterns:?}");
    }
    let root = tree(&[(".dockerignore", "ok\na[\n")]);
    let error = list(root.path()).unwrap_err();
    assert!(matches!(error.kind(), ContextErrorKind::Ignore { line: 2, .. }), "{error}");
    assert!(error.to_string().contains(".dockerignore:2: "), "{error}");
}

#[test]
fn ignored_files_do_not_count_but_the_ignore_file_itself_does() {
    let root = tree(&[(".dockerignore", "*.log\n"), ("a", "1"), ("x.log", "1")]);
    let before = list(root.path()).unwrap().hash();
    fs::write(root.path().join("x.log"), "2").unwrap();
    fs::write(root.path().join("y.log"), "2").unwrap();
    assert_eq!(list(root.path()).unwrap().hash(), before);
    fs::write(root.path().join(".dockerignore"), "# why\n*.log\n").unwrap();
    assert_ne!(list(root.path()).unwrap().hash(), before);
    fs::write(root.path().join(".dockerignore"), "*.log\n.dockerignore\n").unwrap();
    let hidden = list(root.path()).unwrap().hash();
    fs::write(root.path().join(".dockerignore"), "# why\n*.log\n.dockerignore\n").unwrap();
    assert_eq!(list(root.path()).unwrap().hash(), hidden);
}

#[test]
fn directories_appear_as_buildkit_sends_them() {
    let only_ignored = tree(&[(".dockerignore", "d/*\n.dockerignore\n"), ("d/x", "")]);
    assert_eq!(paths(only_ignored.path()), ["d"], "a directory of ignored files is sent empty");
    let excluded = tree(&[(".dockerignore", "d\n.dockerignore\n"), ("d/x", "")]);
    assert_eq!(paths(excluded.path()), Vec::<String>::new());
    let back = tree(&[
        (".dockerignore", "*\n!d/e/x\n"),
        ("d/e/x", ""),
        ("d/e/y", ""),
        ("d/f/z", ""),
        ("g/h", ""),
    ]);
    assert_eq!(paths(back.path()), ["d", "d/e", "d/e/x"]);
}

#[test]
fn the_dockerfiles_own_ignore_file_wins_even_when_empty() {
    let root = tree(&[(".dockerignore", "a\n"), ("a", ""), ("Dockerfile", "")]);
    let dockerfile = root.path().join("Dockerfile");
    let count = || {
        let options = ContextOptions { dockerfile: Some(&dockerfile), never: &[] };
        BuildContext::open(root.path(), &options).unwrap().listing().unwrap().files()
    };
    assert_eq!(count(), 2);
    fs::write(root.path().join("Dockerfile.dockerignore"), "").unwrap();
    assert_eq!(count(), 4);
    fs::write(root.path().join("Dockerfile.dockerignore"), "*\n").unwrap();
    assert_eq!(count(), 0);
}

#[test]
fn an_unreadable_excluded_directory_is_not_opened() {
    let root = tree(&[(".dockerignore", "secret\n"), ("secret/x", "")]);
    let context = BuildContext::open(root.path(), &ContextOptions::default()).unwrap();
    let socket = root.path().join("secret/sock");
    let _socket = std::os::unix::net::UnixListener::bind(socket).unwrap();
    assert!(context.listing().is_ok());
}
