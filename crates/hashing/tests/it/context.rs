//! What a listing of a build context depends on, and what it does not.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use dockit_hashing::content_hash::ContentHash;
use dockit_hashing::context::{
    BuildContext, ContextError, ContextErrorKind, ContextOptions, Listing, Node,
};
use tempfile::TempDir;

pub(crate) fn tree(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

pub(crate) fn list(root: &Path) -> Result<Listing, ContextError> {
    BuildContext::open(root, &ContextOptions::default())?.listing()
}

fn hash(root: &Path) -> ContentHash {
    list(root).unwrap().hash()
}

pub(crate) fn paths(root: &Path) -> Vec<String> {
    let listing = list(root).unwrap();
    listing
        .entries()
        .iter()
        .map(|entry| String::from_utf8_lossy(&entry.path).into_owned())
        .collect()
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const FILES: &[(&str, &str)] = &[("a.txt", "A"), ("src/b.sh", "B"), ("src/deep/c", "C")];

#[test]
fn incidentals_change_nothing() {
    let one = tree(FILES);
    let two = tree(&[FILES[2], FILES[0], FILES[1]]);
    let expected = hash(one.path());
    assert_eq!(hash(two.path()), expected, "another directory, another order of creation");
    let file = one.path().join("a.txt");
    for mode in [0o644, 0o664, 0o600, 0o666] {
        chmod(&file, mode);
        assert_eq!(hash(one.path()), expected, "mode {mode:o}");
    }
    for mode in [0o755, 0o775, 0o700, 0o777] {
        chmod(&one.path().join("src"), mode);
        assert_eq!(hash(one.path()), expected, "directory mode {mode:o}");
    }
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(86_400);
    fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    assert_eq!(hash(one.path()), expected, "touch");
    fs::hard_link(one.path().join("a.txt"), one.path().join("src/linked")).unwrap();
    fs::write(two.path().join("src/linked"), "A").unwrap();
    assert_eq!(hash(one.path()), hash(two.path()), "a hard link is its content");
}

#[test]
fn everything_that_a_build_sees_changes_the_hash() {
    type Change = fn(&Path);
    let changes: &[(&str, Change)] = &[
        ("content", |root| fs::write(root.join("a.txt"), "X").unwrap()),
        ("chmod +x", |root| chmod(&root.join("a.txt"), 0o755)),
        ("setuid", |root| chmod(&root.join("a.txt"), 0o4644)),
        ("new file", |root| fs::write(root.join("src/new"), "").unwrap()),
        ("removed file", |root| fs::remove_file(root.join("src/deep/c")).unwrap()),
        ("renamed file", |root| fs::rename(root.join("a.txt"), root.join("b.txt")).unwrap()),
        ("empty directory", |root| fs::create_dir(root.join("empty")).unwrap()),
        ("file to directory", |root| {
            fs::remove_file(root.join("a.txt")).unwrap();
            fs::create_dir(root.join("a.txt")).unwrap();
        }),
        ("link", |root| symlink("a.txt", root.join("link")).unwrap()),
        ("file to link of equal content", |root| {
            fs::rename(root.join("a.txt"), root.join("src/a.txt")).unwrap();
            symlink("src/a.txt", root.join("a.txt")).unwrap();
        }),
        ("appended, same time", |root| {
            let path = root.join("a.txt");
            let time = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(&path, "B").unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }),
    ];
    for (name, change) in changes {
        let root = tree(FILES);
        let before = hash(root.path());
        change(root.path());
        assert_ne!(hash(root.path()), before, "{name}");
    }
}

#[test]
fn links_are_their_text_whatever_they_point_to() {
    let root = tree(FILES);
    for (name, target) in
        [("dangling", "nowhere"), ("cycle", "cycle"), ("out", "/etc/passwd"), ("up", "../../x")]
    {
        symlink(target, root.path().join(name)).unwrap();
    }
    symlink("src", root.path().join("directory")).unwrap();
    let before = hash(root.path());
    assert!(!paths(root.path()).iter().any(|path| path.starts_with("directory/")));
    let retarget = |name: &str, target: &str| {
        fs::remove_file(root.path().join(name)).unwrap();
        symlink(target, root.path().join(name)).unwrap();
    };
    retarget("dangling", "elsewhere");
    assert_ne!(hash(root.path()), before);
    retarget("dangling", "nowhere");
    assert_eq!(hash(root.path()), before);
}

#[test]
fn names_are_bytes() {
    let root = tree(&[]);
    let name = |bytes: &[u8]| root.path().join(std::ffi::OsStr::from_bytes(bytes));
    fs::write(name(b"\xff"), "").unwrap();
    fs::write(name(b"new\nline"), "").unwrap();
    let before = hash(root.path());
    fs::rename(name(b"\xff"), name(b"\xfe")).unwrap();
    assert_ne!(hash(root.path()), before);
    let entries = list(root.path()).unwrap();
    let found: Vec<&[u8]> = entries.entries().iter().map(|entry| &*entry.path).collect();
    assert_eq!(found, [&b"new\nline"[..], b"\xfe"]);
}

#[test]
fn special_files_are_refused_unless_ignored() {
    let root = tree(FILES);
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("sock")).unwrap();
    let error = list(root.path()).unwrap_err();
    assert!(matches!(error.kind(), ContextErrorKind::Special("socket")), "{error}");
    assert!(error.to_string().contains("sock is a socket"), "{error}");
    fs::write(root.path().join(".dockerignore"), "sock\n").unwrap();
    assert_eq!(paths(root.path()).len(), 6);
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_empty() {
    // Root reads everything; a directory that vanished stands in for it.
    let root = tree(FILES);
    let context = BuildContext::open(root.path(), &ContextOptions::default()).unwrap();
    fs::remove_dir_all(root.path()).unwrap();
    let error = context.listing().unwrap_err();
    assert!(matches!(error.kind(), ContextErrorKind::Unreadable(_)), "{error}");
    let error = list(root.path()).unwrap_err();
    assert!(matches!(error.kind(), ContextErrorKind::NotADirectory), "{error}");
    let file = tree(FILES);
    let error = list(&file.path().join("a.txt")).unwrap_err();
    assert!(matches!(error.kind(), ContextErrorKind::NotADirectory), "{error}");
}

#[test]
fn the_reserved_name_is_refused_in_the_root_only() {
    let root = tree(&[("sub/.dockit.Dockerfile", "x")]);
    assert!(list(root.path()).is_ok());
    fs::write(root.path().join(".dockit.Dockerfile"), "x").unwrap();
    let error = list(root.path()).unwrap_err();
    assert!(matches!(error.kind(), ContextErrorKind::ReservedName), "{error}");
}

#[test]
fn some_paths_are_never_part_of_it() {
    let root =
        tree(&[("a", ""), ("dockit.lock", ""), (".dockit/x/y", ""), ("sub/dockit.lock", "")]);
    let never = [PathBuf::from("dockit.lock"), PathBuf::from(".dockit")];
    let options = ContextOptions { dockerfile: None, never: &never };
    let listing = BuildContext::open(root.path(), &options).unwrap().listing().unwrap();
    let found: Vec<&[u8]> = listing.entries().iter().map(|entry| &*entry.path).collect();
    assert_eq!(found, [&b"a"[..], b"sub", b"sub/dockit.lock"]);
}

#[test]
fn modes_and_sizes_are_listed() {
    let root = tree(&[("a", "12345"), ("d/run", "")]);
    chmod(&root.path().join("d/run"), 0o700);
    let listing = list(root.path()).unwrap();
    assert_eq!((listing.files(), listing.bytes()), (2, 5));
    let modes: Vec<u32> = listing
        .entries()
        .iter()
        .filter_map(|entry| match &entry.node {
            Node::File { mode, .. } => Some(mode.bits()),
            _ => None,
        })
        .collect();
    assert_eq!(modes, [0o644, 0o755]);
}

/// The vectors of `docs/key-format.md`: the format must not change under a version.
#[test]
fn the_listing_hash_is_as_documented() {
    let root = tree(&[]);
    let empty = hash(root.path()).to_string();
    fs::create_dir(root.path().join("d")).unwrap();
    fs::write(root.path().join("d/run"), "#!/bin/sh\n").unwrap();
    chmod(&root.path().join("d/run"), 0o755);
    fs::write(root.path().join("f"), "hello\n").unwrap();
    symlink("f", root.path().join("l")).unwrap();
    let small = hash(root.path()).to_string();
    fs::write(root.path().join("big"), vec![0; 1024 * 1024 + 1]).unwrap();
    let large = hash(root.path()).to_string();
    let documented = include_str!("../../../../docs/key-format.md");
    for vector in [empty, small, large] {
        assert!(documented.contains(&vector), "{vector} is not in docs/key-format.md");
    }
}
