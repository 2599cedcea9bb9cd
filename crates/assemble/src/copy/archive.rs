//! `ADD` of archives: unpacking one into a tree.

use std::path::Path;

use super::path::Destination;
use super::transfer::{Attributes, make_directories};
use crate::error::AssembleError;
use crate::layer;
use crate::tree::{Change, FileNode, Node, Tree, join, split};

/// Unpacks a file that is an archive into the directory that the destination is then; whether it is
/// one. Owners, modes and times are the archive's, but for `--chown`; `--chmod` changes nothing.
///
/// # Errors
///
/// The archive is damaged, or something is in its way.
pub(super) fn unpack(
    file: &FileNode,
    spools: &Path,
    destination: &Destination,
    attributes: &Attributes,
    tree: &mut Tree,
) -> Result<bool, AssembleError> {
    let Some(entries) = layer::unpack(file, spools)? else {
        return Ok(false);
    };
    let directory = tree.resolve(&destination.path)?;
    make_directories(tree, &directory, 0o755, attributes.owner)?;
    for entry in entries {
        if let Change::Put(path, node) = entry {
            place(&directory, &path, node, attributes, tree)?;
        }
    }
    Ok(true)
}

/// Puts an entry below the directory, which counts as the root for the links on its way. It replaces
/// what is there, a directory too unless it is one itself.
fn place(
    directory: &[u8],
    path: &[u8],
    mut node: Node,
    attributes: &Attributes,
    tree: &mut Tree,
) -> Result<(), AssembleError> {
    let Some((parent, name)) = split(path) else {
        // The directory itself stays as it is.
        return Ok(());
    };
    let parent = tree.resolve_below(directory, parent)?;
    make_directories(tree, &parent, 0o755, None)?;
    if let Some(owner) = attributes.owner {
        (node.meta.uid, node.meta.gid) = (owner.uid, owner.gid);
    }
    let target = join(&parent, name);
    match tree.get(&target) {
        Some(there) if there.is_directory() && node.is_directory() => {
            let mut xattrs = there.meta.xattrs.clone();
            xattrs.append(&mut node.meta.xattrs);
            node.meta.xattrs = xattrs;
        }
        Some(_) => tree.remove(&target),
        None => {}
    }
    Ok(tree.put(&target, node)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::owner::Owner;
    use crate::copy::testing::{directory, file, lines, link};

    #[test]
    fn entries_replace_what_is_there_but_join_directories() {
        let mut tree = Tree::default();
        for (path, node) in [
            ("etc/keep", file("kept")),
            ("x/etc/keep", file("kept")),
            ("x/file", file("old")),
            ("x/tree/deep/file", file("old")),
            ("x/away", link("/etc")),
            ("x/up", link("../../etc")),
        ] {
            tree.put(path.as_bytes(), node).expect("short");
        }
        let attributes = Attributes { owner: Some(Owner { uid: 7, gid: 8 }), chmod: None };
        let mut private = directory();
        private.meta.mode = 0o700;
        for (path, node) in [
            ("", directory()),
            ("etc", private.clone()),
            ("file", private),
            ("file/inner", file("new")),
            ("tree", file("new")),
            ("away/passwd", file("inside")),
            ("up/group", file("inside")),
            ("implied/name", link("anywhere")),
            ("away", file("replaced")),
        ] {
            place(b"x", path.as_bytes(), node, &attributes, &mut tree).expect(path);
        }
        let expected = [
            "d755 0:0 etc",
            "-644 0:0 etc/keep kept",
            "d755 0:0 x",
            "-644 7:8 x/away replaced",
            "d700 7:8 x/etc",
            "-644 7:8 x/etc/group inside",
            "-644 0:0 x/etc/keep kept",
            "-644 7:8 x/etc/passwd inside",
            "d700 7:8 x/file",
            "-644 7:8 x/file/inner new",
            "d755 0:0 x/implied",
            "l777 7:8 x/implied/name -> anywhere",
            "-644 7:8 x/tree new",
            "l777 0:0 x/up -> ../../etc",
        ];
        assert_eq!(lines(&tree), expected);
        let blocked = place(b"x", b"tree/below", file("new"), &attributes, &mut tree);
        blocked.expect_err("a file is no directory");
    }
}
