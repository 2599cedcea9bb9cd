//! Packets of the protocol that BuildKit copies files with
//! (<https://github.com/tonistiigi/fsutil/blob/master/types/wire.proto>).
//!
//! The generated messages have strings for paths; names of files are bytes, and BuildKit takes them as
//! such. On the wire both are the same.

use bytes::Bytes;

use crate::tree::{Entry, EntryKind};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Packet {
    #[prost(enumeration = "PacketKind", tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) stat: Option<Stat>,
    /// Which of the entries that were sent, from 0 on.
    #[prost(uint32, tag = "3")]
    pub(super) id: u32,
    /// A piece of a file, none at its end; or the words of an error.
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) data: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum PacketKind {
    /// An entry; the last one is empty.
    Stat = 0,
    /// The receiver wants the content of a file.
    Request = 1,
    Data = 2,
    /// The receiver has everything, and the sender says that it knows.
    Finish = 3,
    Error = 4,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Stat {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) path: Vec<u8>,
    /// Bits of Go's `os.FileMode`.
    #[prost(uint32, tag = "2")]
    pub(super) mode: u32,
    #[prost(uint32, tag = "3")]
    pub(super) uid: u32,
    #[prost(uint32, tag = "4")]
    pub(super) gid: u32,
    #[prost(int64, tag = "5")]
    pub(super) size: i64,
    /// In nanoseconds since 1970.
    #[prost(int64, tag = "6")]
    pub(super) modified: i64,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) link: Vec<u8>,
}

impl Packet {
    pub(super) fn stat(entry: &Entry<'_>) -> Self {
        let (size, link) = match entry.kind {
            EntryKind::Directory => (0, Vec::new()),
            EntryKind::File { size } => (size, Vec::new()),
            EntryKind::Symlink { target } => (target.len() as u64, target.to_vec()),
        };
        let stat = Stat {
            path: entry.path.to_vec(),
            mode: go_mode(entry),
            uid: 0,
            gid: 0,
            size: i64::try_from(size).unwrap_or(i64::MAX),
            modified: entry.modified.saturating_mul(1_000_000_000),
            link,
        };
        Self { stat: Some(stat), ..Self::of(PacketKind::Stat) }
    }

    pub(super) fn of(kind: PacketKind) -> Self {
        Self { kind: kind.into(), ..Self::default() }
    }

    pub(super) fn data(id: u32, data: Bytes) -> Self {
        Self { id, data, ..Self::of(PacketKind::Data) }
    }
}

/// A mode as Go has it (<https://pkg.go.dev/io/fs#FileMode>): kinds and the bits above the permissions are
/// elsewhere than in Unix.
fn go_mode(entry: &Entry<'_>) -> u32 {
    const DIRECTORY: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;
    let moved = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let kind = match entry.kind {
        EntryKind::Directory => DIRECTORY,
        EntryKind::File { .. } => 0,
        EntryKind::Symlink { .. } => SYMLINK,
    };
    let set = moved.iter().filter(|(unix, _)| entry.mode & unix != 0);
    set.fold(kind | entry.mode & 0o777, |mode, (_, go)| mode | go)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_go() {
        let file = EntryKind::File { size: 0 };
        let link = EntryKind::Symlink { target: b"x" };
        // Bits 31, 27, 23, 22 and 20 of `fs.ModeDir`, `ModeSymlink`, `ModeSetuid`, `ModeSetgid`, `ModeSticky`.
        for (kind, unix, go) in [
            (file, 0o644, 420),
            (file, 0o4755, 8_389_101),
            (file, 0o2755, 4_194_797),
            (EntryKind::Directory, 0o755, 2_147_484_141),
            (EntryKind::Directory, 0o1777, 2_148_532_735),
            (link, 0o777, 134_218_239),
        ] {
            let entry = Entry { path: b"x", kind, mode: unix, modified: 0 };
            assert_eq!(go_mode(&entry), go, "{unix:o}");
        }
    }
}
