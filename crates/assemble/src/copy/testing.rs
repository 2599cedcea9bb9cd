//! Small trees for tests.

use std::io::{self, Write};
use std::sync::Arc;

use crate::tree::{FIXED_TIME, FileContent, FileNode, Meta, Node, NodeKind, Tree};

struct Bytes(Vec<u8>);

impl FileContent for Bytes {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.0)
    }
}

pub(crate) fn file(text: &str) -> Node {
    let size = text.len() as u64;
    let content = Arc::new(Bytes(text.as_bytes().to_vec()));
    node(NodeKind::File(FileNode { size, content, hard_link: 0 }), 0o644)
}

pub(crate) fn directory() -> Node {
    node(NodeKind::Directory, 0o755)
}

pub(crate) fn link(target: &str) -> Node {
    node(NodeKind::Symlink { target: target.into() }, 0o777)
}

pub(crate) fn node(kind: NodeKind, mode: u32) -> Node {
    Node { kind, meta: Meta { mode, modified: FIXED_TIME, ..Meta::default() } }
}

/// A line for each path: type and mode, owner, path, and what a link or a file holds. Times are there
/// where they are not the fixed one.
pub(crate) fn lines(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    tree.walk(&mut |path, node| lines.push(line(path, node)));
    lines
}

pub(crate) fn line(path: &[u8], node: &Node) -> String {
    let (kind, holds) = match &node.kind {
        NodeKind::Directory => ("d", String::new()),
        NodeKind::File(file) => ("-", format!(" {}", text(file))),
        NodeKind::Symlink { target } => ("l", format!(" -> {}", target.escape_ascii())),
        NodeKind::CharDevice { major, minor } => ("c", format!(" {major},{minor}")),
        NodeKind::BlockDevice { major, minor } => ("b", format!(" {major},{minor}")),
        NodeKind::Fifo => ("p", String::new()),
    };
    let Meta { mode, uid, gid, modified, xattrs, .. } = &node.meta;
    let time = match *modified {
        FIXED_TIME => String::new(),
        other => format!(" @{other}"),
    };
    let xattrs: String = xattrs.keys().map(|key| format!(" +{}", key.escape_ascii())).collect();
    format!("{kind}{mode:o} {uid}:{gid} {}{holds}{time}{xattrs}", path.escape_ascii())
}

pub(crate) fn text(file: &FileNode) -> String {
    let mut bytes = Vec::new();
    file.content.write_to(&mut bytes).expect("bytes");
    String::from_utf8_lossy(&bytes).into_owned()
}
