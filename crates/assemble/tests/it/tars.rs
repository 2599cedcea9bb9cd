//! Tars byte by byte, also such as no program writes.

use dockit_assemble::tree::{Change, Node, NodeKind};

use crate::layers::content;

/// A header.
pub(crate) struct Entry {
    pub(crate) bytes: [u8; 512],
}

/// A header in the ustar format.
pub(crate) fn entry(flag: u8, name: &str, size: u64, link: &[u8]) -> Entry {
    let mut bytes = [0; 512];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[100..108].copy_from_slice(b"0000644\0");
    bytes[156] = flag;
    bytes[157..157 + link.len()].copy_from_slice(link);
    bytes[257..265].copy_from_slice(b"ustar\x0000");
    Entry { bytes }.size(size)
}

impl Entry {
    pub(crate) fn size(mut self, size: u64) -> Self {
        self.bytes[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        self.summed()
    }

    /// With the sum that it has now.
    pub(crate) fn summed(mut self) -> Self {
        self.bytes[148..156].copy_from_slice(b"        ");
        let sum: u32 = self.bytes.iter().map(|byte| u32::from(*byte)).sum();
        self.bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self
    }
}

/// A tar that is being made.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn raw(mut self, entry: Entry) -> Self {
        self.0.extend_from_slice(&entry.summed().bytes);
        self
    }

    pub(crate) fn raw_bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn file(mut self, name: &str, content: &str) -> Self {
        self = self.raw(entry(b'0', name, content.len() as u64, b"")).raw_bytes(content.as_bytes());
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.raw(entry(b'5', name, 0, b""))
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(entry(b'2', name, 0, target.as_bytes()))
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.raw(entry(b'1', name, 0, target.as_bytes()))
    }

    /// An extended header for the next entry.
    pub(crate) fn extended(mut self, records: &[(&str, &str)]) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let rest = format!(" {key}={value}\n");
            let mut length = rest.len();
            while length != rest.len() + length.to_string().len() {
                length = rest.len() + length.to_string().len();
            }
            bytes.extend_from_slice(format!("{length}{rest}").as_bytes());
        }
        self = self.raw(entry(b'x', "x", bytes.len() as u64, b"")).raw_bytes(&bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// Changes, a line each.
pub(crate) fn lines(changes: &[Change]) -> Vec<String> {
    let line = |change: &Change| {
        let what = match change {
            Change::Remove(_) => "removed".to_owned(),
            Change::Clear(_) => "cleared".to_owned(),
            Change::Put(_, Node { kind: NodeKind::Directory, .. }) => "directory".to_owned(),
            Change::Put(_, Node { kind: NodeKind::Symlink { target }, .. }) => {
                format!("-> {}", String::from_utf8_lossy(target))
            }
            Change::Put(_, Node { kind: NodeKind::File(file), .. }) => {
                let linked = if file.hard_link == 0 { "" } else { " linked" };
                format!("{}{linked}", String::from_utf8_lossy(&content(file)))
            }
            Change::Put(_, node) => format!("{:?}", node.kind),
        };
        format!("{}: {what}", String::from_utf8_lossy(change.path()))
    };
    changes.iter().map(line).collect()
}
