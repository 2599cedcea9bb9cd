//! The archive holds exactly what was listed, and its bytes are the same everywhere.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use dockit_hashing::content_hash::ContentHash;
use dockit_hashing::context::{Archive, ContextErrorKind, Listing};

use crate::context::{list, tree};

fn pack(root: &Path, listing: &Listing) -> Vec<u8> {
    let mut bytes = Vec::new();
    Archive::new(root, listing, b"FROM scratch\n").write_to(&mut bytes).unwrap();
    bytes
}

fn unpack(bytes: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    tar::Archive::new(bytes).unpack(directory.path()).unwrap();
    fs::remove_file(directory.path().join(Archive::DOCKERFILE_NAME)).unwrap();
    directory
}

fn odd_tree() -> tempfile::TempDir {
    let long = format!("{}/{}", "d".repeat(90), "f".repeat(120));
    let root = tree(&[("a", "A"), ("d/run", "#!/bin/sh\n"), (&long, "long")]);
    fs::set_permissions(root.path().join("d/run"), fs::Permissions::from_mode(0o775)).unwrap();
    fs::create_dir(root.path().join("empty")).unwrap();
    symlink("../".repeat(50), root.path().join("long-link")).unwrap();
    symlink("nowhere", root.path().join("dangling")).unwrap();
    fs::write(root.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "x").unwrap();
    fs::write(root.path().join("exactly-512"), "x".repeat(512)).unwrap();
    root
}

#[test]
fn unpacking_gives_the_listed_tree() {
    let root = odd_tree();
    let listing = list(root.path()).unwrap();
    let unpacked = unpack(&pack(root.path(), &listing));
    assert_eq!(list(unpacked.path()).unwrap(), listing);
}

#[test]
fn headers_are_normalised() {
    let root = odd_tree();
    let listing = list(root.path()).unwrap();
    let bytes = pack(root.path(), &listing);
    let mut archive = tar::Archive::new(&*bytes);
    let mut modes = BTreeMap::new();
    let mut order = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), 315_619_200);
        assert_eq!(header.username_bytes().unwrap_or_default(), b"");
        let path = entry.path_bytes().into_owned();
        modes.insert(path.clone(), header.mode().unwrap());
        order.push(path);
    }
    assert_eq!(order[0], Archive::DOCKERFILE_NAME.as_bytes());
    assert_eq!(order.len(), listing.entries().len() + 1);
    assert_eq!(modes[&b"a"[..]], 0o644);
    assert_eq!(modes[&b"d/run"[..]], 0o755);
    assert_eq!(modes[&b"d/"[..]], 0o755);
}

#[test]
fn equal_listings_give_equal_bytes() {
    let (one, two) = (odd_tree(), odd_tree());
    fs::set_permissions(two.path().join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    let one = pack(one.path(), &list(one.path()).unwrap());
    let two = pack(two.path(), &list(two.path()).unwrap());
    assert!(one == two);
    let documented = include_str!("../../../../docs/key-format.md");
    let small = tree(&[("d/x", "1"), ("f", "hello\n")]);
    let vector = ContentHash::of(&pack(small.path(), &list(small.path()).unwrap())).to_string();
    assert!(documented.contains(&vector), "{vector} is not in docs/key-format.md");
}

#[test]
fn a_file_that_changed_since_it_was_listed_is_an_error() {
    type Change = fn(&Path);
    let changes: &[Change] = &[
        |path| fs::write(path, "B").unwrap(),
        |path| fs::write(path, "longer").unwrap(),
        |path| fs::write(path, "").unwrap(),
    ];
    for change in changes {
        let root = tree(&[("a", "A")]);
        let listing = list(root.path()).unwrap();
        change(&root.path().join("a"));
        let error = Archive::new(root.path(), &listing, b"").write_to(&mut Vec::new()).unwrap_err();
        assert!(matches!(error.kind(), ContextErrorKind::Changed), "{error}");
    }
    let root = tree(&[("a", "A")]);
    let listing = list(root.path()).unwrap();
    fs::remove_file(root.path().join("a")).unwrap();
    assert!(Archive::new(root.path(), &listing, b"").write_to(&mut Vec::new()).is_err());
}
