//! The archive of a listing.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use dockit_hashing::context::{Archive, ContextError, ContextErrorKind, Listing};
use proptest::prelude::*;

use crate::tree::{Tree, at, chmod, list};

const DOCKERFILE: &[u8] = b"FROM scratch\n";

fn pack(root: &Path, listing: &Listing) -> Result<Vec<u8>, ContextError> {
    let mut archive = Vec::new();
    Archive::new(root, listing, DOCKERFILE).write_to(&mut archive)?;
    Ok(archive)
}

/// Lists the tree, changes it, and packs the listing.
fn change(tree: &Tree, change: impl FnOnce(&Path)) -> Result<Vec<u8>, ContextError> {
    let root = tree.plant();
    let listing = list(root.path());
    change(root.path());
    pack(root.path(), &listing)
}

fn rich() -> Tree {
    let long = "n".repeat(101);
    let deep = ["d".repeat(90), "e".repeat(90), "f".repeat(90)].join("/");
    Tree::default()
        .file("a-b", "sorts before a/b")
        .file("a/b", "")
        .mode("a/run", "#!/bin/sh\n", 0o755)
        .mode("special", "", 0o6755)
        .file("n".repeat(100), "a name that just fits")
        .file(&long, "one that does not")
        .file(format!("{deep}/x"), "deep")
        .directory("n".repeat(99) + "2")
        .directory("n".repeat(100) + "3")
        .file("block", [1; 512])
        .file("over", [1; 513])
        .file("leaves", vec![3; 1024 * 1024 + 5])
        .file(b"\xff\n", "raw")
        .file(b"\xfe".repeat(120), "raw and long")
        .link("link", b"\xff/..")
        .link("long", "t".repeat(101))
        .link("just-fits", "t".repeat(100))
        .link("missing", "nowhere")
        .directory("empty")
}

#[test]
fn unpacking_gives_the_listing_back() {
    let root = rich().plant();
    let listing = list(root.path());
    let archive = pack(root.path(), &listing).expect("packed");

    let copy = tempfile::tempdir().expect("a temporary directory");
    let mut reader = tar::Archive::new(&*archive);
    reader.set_preserve_permissions(true);
    reader.unpack(copy.path()).expect("unpacked");
    let dockerfile = copy.path().join(Archive::DOCKERFILE_NAME);
    assert_eq!(fs::read(&dockerfile).expect("the Dockerfile"), DOCKERFILE);
    fs::remove_file(dockerfile).expect("removed");
    assert_eq!(list(copy.path()), listing);
}

#[test]
fn the_archive_holds_nothing_of_the_machine() {
    let one = rich().plant();
    let other = rich().plant_backwards();
    chmod(&other.path().join("a-b"), 0o600);
    chmod(&other.path().join("empty"), 0o700);
    let archive = pack(one.path(), &list(one.path())).expect("packed");
    assert_eq!(archive, pack(other.path(), &list(other.path())).expect("packed"));

    for entry in tar::Archive::new(&*archive).entries().expect("entries").raw(true) {
        let header = entry.expect("an entry").header().clone();
        assert_eq!(header.mtime().expect("a time"), 315_619_200);
        assert_eq!(header.uid().expect("a user"), 0);
        assert_eq!(header.gid().expect("a group"), 0);
        assert_eq!(header.username_bytes(), Some(&b""[..]));
        assert_eq!(header.groupname_bytes(), Some(&b""[..]));
    }
}

#[test]
fn entries_come_in_order_behind_the_dockerfile() {
    let root = rich().plant();
    let listing = list(root.path());
    let archive = pack(root.path(), &listing).expect("packed");
    let names: Vec<Vec<u8>> = tar::Archive::new(&*archive)
        .entries()
        .expect("entries")
        .map(|entry| entry.expect("an entry").path_bytes().into_owned())
        .collect();
    assert_eq!(names[0], Archive::DOCKERFILE_NAME.as_bytes());
    let listed: Vec<&[u8]> =
        listing.entries().iter().map(|entry| entry.path().as_bytes()).collect();
    let packed: Vec<&[u8]> =
        names[1..].iter().map(|name| name.strip_suffix(b"/").unwrap_or(name)).collect();
    assert_eq!(packed, listed);
}

#[test]
fn the_first_kilobyte_tells_that_it_is_an_archive() {
    let root = Tree::default().file("!".repeat(200), "sorts first").plant();
    let archive = pack(root.path(), &list(root.path())).expect("packed");
    let mut reader = tar::Archive::new(&archive[..1024]);
    let first = reader.entries().expect("entries").next().expect("one").expect("readable");
    assert_eq!(&*first.path_bytes(), Archive::DOCKERFILE_NAME.as_bytes());
}

#[test]
fn an_ignored_file_is_not_packed() {
    let root =
        Tree::default().file(".dockerignore", "secret\n").file("secret", "hush-hush").plant();
    let archive = pack(root.path(), &list(root.path())).expect("packed");
    assert!(!archive.windows(9).any(|window| window == b"hush-hush"));
}

#[test]
fn what_appears_after_the_listing_is_not_packed() {
    let tree = Tree::default().file("d/a", "");
    let unchanged = change(&tree, |_| {}).expect("packed");
    let changed = change(&tree, |root| {
        fs::write(root.join("d/b"), "new").expect("written");
    });
    assert_eq!(changed.expect("packed"), unchanged);
}

#[test]
fn what_changes_after_the_listing_is_an_error() {
    let tree =
        Tree::default().file("a", "content").file("b", vec![1; 1024 * 1024 + 1]).link("l", "a");
    type Change = fn(&Path);
    let table: [(&str, Change); 8] = [
        ("a", |root| {
            fs::write(root.join("a"), "CONTENT").expect("written");
        }),
        ("a", |root| {
            fs::write(root.join("a"), "content+").expect("written");
        }),
        ("a", |root| fs::write(root.join("a"), "").expect("written")),
        ("a", |root| {
            fs::remove_file(root.join("a")).expect("removed");
        }),
        ("a", |root| chmod(&root.join("a"), 0o755)),
        ("a", |root| {
            fs::rename(root.join("a"), root.join("elsewhere")).expect("moved");
            std::os::unix::fs::symlink("elsewhere", root.join("a")).expect("linked");
        }),
        ("b", |root| {
            let mut content = vec![1; 1024 * 1024 + 1];
            content[1024 * 1024] = 2;
            fs::write(root.join("b"), content).expect("written");
        }),
        ("l", |root| {
            fs::remove_file(root.join("l")).expect("removed");
            std::os::unix::fs::symlink("b", root.join("l")).expect("linked");
        }),
    ];
    for (index, (path, alter)) in table.into_iter().enumerate() {
        let error = change(&tree, alter).expect_err("an error");
        assert_eq!(error.kind(), ContextErrorKind::Changed, "change {index}: {error}");
        assert!(error.path().is_some_and(|changed| changed.ends_with(path)), "{error}");
    }
}

#[test]
fn what_does_not_count_may_change_after_the_listing() {
    let tree = Tree::default().file("a", "content");
    let unchanged = change(&tree, |_| {}).expect("packed");
    let touched = change(&tree, |root| {
        fs::write(root.join("a"), "content").expect("written");
        chmod(&root.join("a"), 0o664);
    });
    assert_eq!(touched.expect("packed"), unchanged);
}

/// Takes a number of bytes, then fails.
struct Closing(usize);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => {
                self.0 = left;
                Ok(bytes.len())
            }
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_receiver_that_goes_away_is_told_apart_from_a_changed_file() {
    let root = Tree::default().file("a", vec![0; 100_000]).plant();
    let listing = list(root.path());
    for taken in [0, 600, 50_000] {
        let error = Archive::new(root.path(), &listing, DOCKERFILE)
            .write_to(&mut Closing(taken))
            .expect_err("an error");
        assert_eq!(error.kind(), ContextErrorKind::Io);
        assert!(error.is_broken_pipe());
        assert_eq!(error.path(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn names_and_links_of_any_length_come_back(
        length in 1usize..256,
        target in 1usize..400,
        size in 0usize..2000,
        byte in prop::sample::select(vec![b'x', 0xff, b'\n', b'.']),
    ) {
        let name = [b"n".as_slice(), &vec![byte; length - 1]].concat();
        let root = Tree::default()
            .file(&name, vec![b'c'; size])
            .link("link", vec![byte; target])
            .plant();
        let listing = list(root.path());
        let archive = pack(root.path(), &listing).expect("packed");
        prop_assert_eq!(archive.len() % 512, 0);
        let copy = tempfile::tempdir().expect("a temporary directory");
        tar::Archive::new(&*archive).unpack(copy.path()).expect("unpacked");
        fs::remove_file(at(copy.path(), Archive::DOCKERFILE_NAME.as_bytes())).expect("removed");
        prop_assert_eq!(list(copy.path()), listing);
    }
}

#[test]
fn the_archive_ends_with_two_empty_blocks_and_no_more() {
    let root = Tree::default().plant();
    let archive = pack(root.path(), &list(root.path())).expect("packed");
    assert_eq!(archive.len(), 512 + 512 + 1024);
    assert_eq!(archive[1024..], [0; 1024]);
}
