//! Files that are large, many, or not what they seem.

use dockit_hashing::content_hash::ContentHash;
use dockit_hashing::context::{FileDigest, Node};

use crate::tree::{Tree, list_fast};

const GIB: u64 = 1024 * 1024 * 1024;

/// Its size does not fit into 32 bits, nor does the place where its one byte stands.
#[test]
fn a_file_of_more_than_4_gib_has_the_digest_of_its_leaves() {
    const LEAF: usize = 64 * 1024;
    let root = tempfile::tempdir().expect("a temporary directory");
    let file = std::fs::File::create(root.path().join("large")).expect("made");
    file.set_len(4 * GIB).expect("a hole");
    std::os::unix::fs::FileExt::write_all_at(&file, b"x", 4 * GIB).expect("written");

    let mut tree = b"dockit-tree-v1".to_vec();
    tree.extend((4 * GIB + 1).to_le_bytes());
    let hole = ContentHash::of(&[0; LEAF]);
    for _ in 0..4 * GIB / LEAF as u64 {
        tree.extend(hole.as_bytes());
    }
    tree.extend(ContentHash::of(b"x").as_bytes());
    let listing = list_fast(root.path());
    let [entry] = listing.entries() else { panic!("one entry") };
    let Node::File { size, digest, .. } = entry.node() else { panic!("a file") };
    assert_eq!((*size, *digest), (4 * GIB + 1, FileDigest::Leaves(ContentHash::of(&tree))));
}

#[test]
fn a_hundred_thousand_files_are_each_listed_once() {
    let root = tempfile::tempdir().expect("a temporary directory");
    for directory in 0..100 {
        let directory = root.path().join(format!("d{directory}"));
        std::fs::create_dir(&directory).expect("made");
        for file in 0..1000 {
            std::fs::write(directory.join(format!("f{file}")), [file as u8]).expect("written");
        }
    }
    let listing = list_fast(root.path());
    assert_eq!((listing.files(), listing.bytes()), (100_000, 100_000));
    assert_eq!(listing.entries().len(), 100_100);
    assert!(listing.entries().is_sorted_by(|one, next| one.path() < next.path()));
}

/// What git makes of a submodule and of a file in its large-file store is what lies in the tree.
#[test]
fn submodules_and_pointers_count_as_the_files_that_they_are() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n";
    let checked_out = Tree::default()
        .file("sub/.git", "gitdir: ../.git/modules/sub\n")
        .file("sub/code", "1")
        .file("model", "hello");
    let listed = checked_out.paths();
    assert_eq!(listed, ["model", "sub", "sub/.git", "sub/code"]);
    let not_fetched = Tree::default().directory("sub").file("model", pointer);
    assert_eq!(not_fetched.paths(), ["model", "sub"]);
    assert_ne!(checked_out.hash(), not_fetched.hash(), "they build different images");
}

#[test]
fn names_that_differ_only_in_case_are_two() {
    let tree = Tree::default().file("Readme", "1").file("readme", "2");
    // Where the file system has one name for both, there is nothing to tell apart.
    let planted = tree.plant();
    if std::fs::read_dir(planted.path()).expect("a directory").count() == 2 {
        assert_eq!(tree.paths(), ["Readme", "readme"]);
    }
    assert_ne!(Tree::default().file("a", "1").hash(), Tree::default().file("A", "1").hash());
}
