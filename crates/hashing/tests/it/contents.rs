//! Reading listed files one at a time.

use std::fs;

use dockit_hashing::context::{Contents, ContextErrorKind, Listing, Node};

use crate::tree::{Tree, list};

fn read(contents: &Contents, listing: &Listing, path: &str) -> Result<Vec<u8>, ContextErrorKind> {
    let entry = listing.entries().iter().find(|entry| entry.path().as_bytes() == path.as_bytes());
    let mut content = Vec::new();
    contents.write(entry.expect("listed"), &mut content).map_err(|error| error.kind())?;
    Ok(content)
}

#[test]
fn a_file_is_written_as_long_as_it_is_what_was_listed() {
    let large = vec![7; 1024 * 1024 + 5];
    let tree = Tree::default().file("d/a", "one").file("large", &large).link("l", "d/a");
    let root = tree.plant();
    let listing = list(root.path());
    let contents = Contents::open(root.path()).expect("opened");
    assert_eq!(read(&contents, &listing, "d/a").expect("read"), b"one");
    assert_eq!(read(&contents, &listing, "large").expect("read"), large);
    assert_eq!(read(&contents, &listing, "l").expect("read"), b"", "a link's target is no content");
    assert_eq!(read(&contents, &listing, "d").expect("read"), b"");

    // The same size, and another content.
    fs::write(root.path().join("d/a"), "two").expect("written");
    let mut other = large;
    other[1024 * 1024] = 8;
    fs::write(root.path().join("large"), other).expect("written");
    for path in ["d/a", "large"] {
        assert_eq!(read(&contents, &listing, path), Err(ContextErrorKind::Changed), "{path}");
    }
    let file = |entry: &&dockit_hashing::context::Entry| matches!(entry.node(), Node::File { .. });
    assert_eq!(listing.entries().iter().filter(file).count(), 2);
}
