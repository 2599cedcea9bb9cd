//! What tests of layers share.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use dockit_assemble::assemble::Compression;
use dockit_assemble::images::BaseLayer;
use dockit_assemble::layer::{PackedLayer, pack};
use dockit_assemble::tree::{Change, FileContent, FileNode, Meta, Node, NodeKind};
use dockit_assemble::{AssembleError, LayerBlob};
use dockit_registry::Digest;
use dockit_registry::layout::Layout;
use dockit_registry::manifest::Descriptor;
use tempfile::TempDir;

/// A content in memory.
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl FileContent for Bytes {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.0)
    }
}

/// A layout of its own.
pub(crate) struct Output {
    pub(crate) layout: Layout,
    _directory: TempDir,
}

impl Output {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { layout: Layout::create(directory.path()).unwrap(), _directory: directory }
    }

    pub(crate) fn pack(
        &self,
        changes: &[Change],
        compression: Compression,
        threads: usize,
    ) -> PackedLayer {
        let threads = NonZeroUsize::new(threads).unwrap();
        pack(changes, compression, threads, &self.layout).unwrap()
    }

    pub(crate) fn open(&self, layer: &PackedLayer) -> File {
        self.layout.open_blob(&layer.descriptor).unwrap()
    }
}

/// Ordinary attributes.
pub(crate) fn meta(mode: u32) -> Meta {
    Meta { mode, modified: 315_619_200, ..Meta::default() }
}

pub(crate) fn file_node(content: &[u8]) -> FileNode {
    let size = content.len() as u64;
    FileNode { size, content: Arc::new(Bytes(content.to_vec())), hard_link: 0 }
}

pub(crate) fn file(path: &str, content: &[u8]) -> Change {
    put(path, NodeKind::File(file_node(content)), 0o644)
}

pub(crate) fn directory(path: &str) -> Change {
    put(path, NodeKind::Directory, 0o755)
}

pub(crate) fn symlink(path: &str, target: &str) -> Change {
    put(path, NodeKind::Symlink { target: target.as_bytes().to_vec() }, 0o777)
}

pub(crate) fn put(path: &str, kind: NodeKind, mode: u32) -> Change {
    Change::Put(path.as_bytes().to_vec(), Node { kind, meta: meta(mode) })
}

pub(crate) fn remove(path: &str) -> Change {
    Change::Remove(path.as_bytes().to_vec())
}

/// One of everything.
pub(crate) fn samples() -> Vec<Change> {
    let long = "d/".repeat(60) + &"n".repeat(120);
    let mut odd = Node { kind: NodeKind::File(file_node(b"odd")), meta: meta(0o4755) };
    odd.meta.uid = 3_000_000;
    odd.meta.gid = 5_000_000_000;
    odd.meta.modified = -2;
    odd.meta.modified_nanos = 250_000_000;
    odd.meta.xattrs = BTreeMap::from([
        (b"security.capability".to_vec(), vec![1, 0, 0, 2, 0, 10, 61, 255]),
        (b"user.empty".to_vec(), Vec::new()),
    ]);
    let linked = FileNode { hard_link: 7, ..file_node(b"linked") };
    vec![
        directory("a"),
        file("a/empty", b""),
        file("a/file", b"content\n"),
        put("a/link1", NodeKind::File(linked.clone()), 0o600),
        put("a/link2", NodeKind::File(linked), 0o600),
        symlink("a/symlink", "../../etc/passwd"),
        symlink("a/symlink-long", &"x/".repeat(90)),
        put("dev/block", NodeKind::BlockDevice { major: 8, minor: 1_048_575 }, 0o660),
        put("dev/char", NodeKind::CharDevice { major: 1, minor: 3 }, 0o666),
        put("dev/pipe", NodeKind::Fifo, 0o600),
        file(&long, b"deep"),
        remove("gone"),
        Change::Put(b"latin-\xe9\n=".to_vec(), odd),
        remove("opaque"),
        directory("opaque"),
        file("opaque/new", b"new"),
        remove("under/gone"),
    ]
}

/// A blob in memory, which checks nothing.
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl LayerBlob for Blob {
    fn open(&self) -> Result<Box<dyn Read + Send>, AssembleError> {
        Ok(Box::new(io::Cursor::new(self.0.clone())))
    }
}

/// A layer of these bytes.
pub(crate) fn layer(bytes: &[u8]) -> BaseLayer {
    let digest = Digest::of(bytes);
    let descriptor = Descriptor::new("application/octet-stream", digest, bytes.len() as u64);
    BaseLayer { descriptor, blob: Arc::new(Blob(bytes.to_vec())) }
}

/// Changes in a form that can be compared: names of one file by the first of them, contents by their digest.
pub(crate) fn shown(changes: &[Change]) -> Vec<String> {
    let mut links: BTreeMap<u64, &[u8]> = BTreeMap::new();
    let mut lines = Vec::new();
    for change in changes {
        let path = change.path();
        let what = match change {
            Change::Remove(_) => "removed".to_owned(),
            Change::Clear(_) => "cleared".to_owned(),
            Change::Put(_, Node { kind, meta }) => {
                let kind = match kind {
                    NodeKind::File(file) => {
                        let content = content(file);
                        assert_eq!(content.len() as u64, file.size);
                        let first = match file.hard_link {
                            0 => path,
                            number => links.entry(number).or_insert(path),
                        };
                        let first = (first != path).then(|| first.escape_ascii().to_string());
                        format!("{} {} {first:?}", file.size, Digest::of(&content))
                    }
                    other => format!("{other:?}"),
                };
                format!("{kind} {meta:?}")
            }
        };
        lines.push(format!("{}: {what}", path.escape_ascii()));
    }
    lines
}

pub(crate) fn content(file: &FileNode) -> Vec<u8> {
    let mut content = Vec::new();
    file.content.write_to(&mut content).unwrap();
    content
}
