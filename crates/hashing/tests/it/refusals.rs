//! What is refused, and how it is said.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use dockit_hashing::content_hash::ContentHash;
use dockit_hashing::context::{Archive, ContextErrorKind, FileDigest, Node, SpecialFile};

use crate::tree::{Tree, at, chmod, list, paths, try_list};

fn make_fifo(path: &Path) {
    let status = Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
    assert!(status.success());
    assert!(fs::metadata(path).expect("made").file_type().is_fifo());
}

#[test]
fn a_named_pipe_is_refused_without_being_opened() {
    let root = Tree::default().directory("d").plant();
    let fifo = root.path().join("d/pipe");
    make_fifo(&fifo);
    let error = try_list(root.path()).expect_err("refused");
    assert_eq!(error.kind(), ContextErrorKind::SpecialFile(SpecialFile::Fifo));
    assert_eq!(error.path(), Some(&*fifo));
    assert!(error.to_string().contains("a line in .dockerignore excludes it"), "{error}");

    fs::write(root.path().join(".dockerignore"), "**/pipe\n").expect("written");
    assert_eq!(paths(&list(root.path())), [".dockerignore", "d"]);
}

#[test]
fn a_socket_is_refused_like_a_pipe() {
    let root = Tree::default().plant();
    let _listener = UnixListener::bind(root.path().join("s")).expect("bound");
    let error = try_list(root.path()).expect_err("refused");
    assert_eq!(error.kind(), ContextErrorKind::SpecialFile(SpecialFile::Socket));
}

#[test]
fn an_unreadable_file_is_never_taken_for_an_empty_one() {
    let root = Tree::default().mode("secret", "content", 0o000).plant();
    // A superuser reads it all the same.
    match try_list(root.path()) {
        Ok(listing) => {
            let [entry] = listing.entries() else { panic!("{listing:?}") };
            let Node::File { digest, .. } = entry.node() else { panic!("{entry:?}") };
            assert_eq!(*digest, FileDigest::Whole(ContentHash::of(b"content")));
        }
        Err(error) => {
            assert_eq!(error.kind(), ContextErrorKind::Unreadable);
            assert_eq!(error.path(), Some(&*root.path().join("secret")));
        }
    }
}

#[test]
fn what_is_excluded_need_not_be_readable() {
    let root = Tree::default()
        .file(".dockerignore", "private\nsecret\n!elsewhere/x\n")
        .file("private/x", "")
        .mode("secret", "", 0o000)
        .plant();
    chmod(&root.path().join("private"), 0o000);
    assert_eq!(paths(&list(root.path())), [".dockerignore"]);
    chmod(&root.path().join("private"), 0o700);
}

#[test]
fn the_reserved_name_is_refused_at_the_root_only() {
    let name = Archive::DOCKERFILE_NAME;
    let kinds = [
        Tree::default().file(name, ""),
        Tree::default().directory(name),
        Tree::default().link(name, "x"),
        Tree::default()
            .file(format!("{name}/x"), "")
            .file(".dockerignore", format!("{name}\n!{name}/x")),
    ];
    for tree in kinds {
        let root = tree.plant();
        let error = try_list(root.path()).expect_err("refused");
        assert_eq!(error.kind(), ContextErrorKind::ReservedName, "{tree:?}");
        assert_eq!(error.path(), Some(&*root.path().join(name)));
    }
    let elsewhere = Tree::default().file(format!("sub/{name}"), "");
    assert_eq!(elsewhere.paths().len(), 2);
    let ignored = Tree::default().file(name, "").file(".dockerignore", name);
    assert_eq!(ignored.paths(), [".dockerignore"]);
}

#[test]
fn a_bad_ignore_file_is_named_with_its_line() {
    let table = [
        ("x\n!\n", ContextErrorKind::InvalidIgnoreFile, "line 2"),
        ("[", ContextErrorKind::InvalidIgnoreFile, "a bracket is not closed"),
        ("*[[:alpha:]]", ContextErrorKind::UnsupportedPattern, r#"pattern "*[[:alpha:]]""#),
    ];
    for (rules, kind, said) in table {
        let root = Tree::default().file(".dockerignore", rules).plant();
        let error = try_list(root.path()).expect_err("refused");
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.path(), Some(&*root.path().join(".dockerignore")));
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.ignore_error().is_some());
    }
}

#[test]
fn an_ignore_file_that_cannot_be_read_is_not_taken_for_none() {
    let root = Tree::default().directory(".dockerignore").plant();
    let error = try_list(root.path()).expect_err("refused");
    assert_eq!(error.kind(), ContextErrorKind::Unreadable);
}

#[test]
fn an_error_escapes_the_path_without_loss() {
    let root = Tree::default().directory(b"a\n\xff").plant();
    let directory = at(root.path(), b"a\n\xff");
    make_fifo(&directory.join("p"));
    let error = try_list(root.path()).expect_err("refused");
    assert!(error.to_string().contains(r"/a\n\xff/p: "), "{error}");
}
