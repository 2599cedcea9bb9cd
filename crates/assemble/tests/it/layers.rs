//! What tests of layers share.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

use dockit_assemble::assemble::Compression;
use dockit_assemble::layer::{PackedLayer, pack};
use dockit_assemble::tree::{Change, FileContent, FileNode, Meta, Node, NodeKind};
use dockit_registry::layout::Layout;
use tempfile::TempDir;

/// A content in memory.
pub struct Bytes(pub Vec<u8>);

impl FileContent for Bytes {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.0)
    }
}

/// A content that is made as it is read.
pub struct Generated {
    pub seed: u64,
    pub size: u64,
}

impl FileContent for Generated {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut state = self.seed | 1;
        let mut left = self.size;
        let mut piece = Vec::with_capacity(4096);
        while left > 0 {
            piece.clear();
            while piece.len() < 4096 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Half of it repeats, as files do.
                let word = if state >> 63 == 0 { state } else { 0x2065_6874_206f_6f66 };
                piece.extend_from_slice(&word.to_le_bytes());
            }
            let take = left.min(4096) as usize;
            out.write_all(&piece[..take])?;
            left -= take as u64;
        }
        Ok(())
    }
}

/// A layout of its own.
pub struct Output {
    pub layout: Layout,
    _directory: TempDir,
}

impl Output {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { layout: Layout::create(directory.path()).unwrap(), _directory: directory }
    }

    pub fn pack(
        &self,
        changes: &[Change],
        compression: Compression,
        threads: usize,
    ) -> PackedLayer {
        let threads = NonZeroUsize::new(threads).unwrap();
        pack(changes, compression, threads, &self.layout).unwrap()
    }

    pub fn open(&self, layer: &PackedLayer) -> File {
        self.layout.open_blob(&layer.descriptor).unwrap()
    }
}

/// Ordinary attributes.
pub fn meta(mode: u32) -> Meta {
    Meta { mode, modified: 315_619_200, ..Meta::default() }
}

pub fn file_node(content: &[u8]) -> FileNode {
    let size = content.len() as u64;
    FileNode { size, content: Arc::new(Bytes(content.to_vec())), hard_link: 0 }
}

pub fn file(path: &str, content: &[u8]) -> Change {
    put(path, NodeKind::File(file_node(content)), 0o644)
}

pub fn directory(path: &str) -> Change {
    put(path, NodeKind::Directory, 0o755)
}

pub fn symlink(path: &str, target: &str) -> Change {
    put(path, NodeKind::Symlink { target: target.as_bytes().to_vec() }, 0o777)
}

pub fn put(path: &str, kind: NodeKind, mode: u32) -> Change {
    Change::Put(path.as_bytes().to_vec(), Node { kind, meta: meta(mode) })
}

pub fn remove(path: &str) -> Change {
    Change::Remove(path.as_bytes().to_vec())
}

/// One of everything.
pub fn samples() -> Vec<Change> {
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
