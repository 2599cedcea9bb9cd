//! The test vectors of docs/key-format.md. They were computed by another program from the document
//! alone; should one change, every key changes with it.

use dockit_hashing::content_hash::{ContentHash, Framer};
use dockit_hashing::context::{Archive, FileDigest, Listing, Node};

use crate::tree::{Tree, list};

const LARGE: usize = 1024 * 1024 + 1;

fn example() -> Tree {
    Tree::default()
        .mode("bin/run", "#!/bin/sh\n", 0o755)
        .directory("empty")
        .file("large", vec![b'a'; LARGE])
        .link("latest", "bin/run")
        .file("n".repeat(101), "")
        .mode(b"raw\xff\n", "abc", 0o4755)
}

fn packed(tree: &Tree) -> Vec<u8> {
    let root = tree.plant();
    let mut archive = Vec::new();
    Archive::new(root.path(), &list(root.path()), b"FROM scratch\n")
        .write_to(&mut archive)
        .expect("packed");
    archive
}

fn only_digest(listing: &Listing) -> FileDigest {
    let [entry] = listing.entries() else { panic!("{listing:?}") };
    let Node::File { digest, .. } = entry.node() else { panic!("{entry:?}") };
    *digest
}

#[test]
fn framing() {
    let mut framer = Framer::new("example");
    framer.str("ab").number(258).list(1).hash(ContentHash::of(b""));
    assert_eq!(
        framer.finish().to_string(),
        "c9ff3488f16cfbc125d26237162f156b69163ec5cb86e4a045667f77353977d9"
    );
}

#[test]
fn content_digests() {
    let whole = |hash: &str| FileDigest::Whole(hash.parse().expect("a hash"));
    let leaves = |hash: &str| FileDigest::Leaves(hash.parse().expect("a hash"));
    let table = [
        (0, whole("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")),
        (LARGE - 1, whole("9bc1b2a288b26af7257a36277ae3816a7d4f16e89c1e7e77d0a5c48bad62b360")),
        (LARGE, leaves("e6b330de3008d848cddbbf98297697094afb74b05ba320d17b8639cc2d234286")),
    ];
    for (size, digest) in table {
        let root = Tree::default().file("file", vec![b'a'; size]).plant();
        assert_eq!(only_digest(&list(root.path())), digest, "{size} bytes");
    }
}

#[test]
fn context_listing() {
    assert_eq!(
        Tree::default().hash().to_string(),
        "e570a3bd2b3826c28c600228d0f124c8c920fcbd69f8ff9d8e038cf0810be640"
    );
    assert_eq!(
        example().hash().to_string(),
        "a1e80eb273fdcf7a2b67f4c367ec861cda821d04954ae5caf0c7fc3677236e67"
    );
}

#[test]
fn archive() {
    let empty = packed(&Tree::default());
    assert_eq!(empty.len(), 2048);
    assert_eq!(
        ContentHash::of(&empty).to_string(),
        "1c546854fcea26ddc32dbc61f7d5dcd231cb11ef5de1ef41cce7cb011eef0a17"
    );
    let example = packed(&example());
    assert_eq!(example.len(), 1_056_768);
    assert_eq!(
        ContentHash::of(&example).to_string(),
        "e997fd7c9355c4e043106f271c135cc320872e27e7f8a6dfb07bb6bd7932baa2"
    );
}
