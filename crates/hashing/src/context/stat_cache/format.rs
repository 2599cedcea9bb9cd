//! The bytes of a cache.
//!
//! A header, records of directories, and an index of the records by path. Numbers have their least
//! significant byte first. The header holds a hash of itself and the index, the index a checksum of
//! each record; a record is read and checked when it is used.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::digest::FileDigest;
use super::super::error::SpecialFile;
use super::super::path::ContextPath;
use super::super::stamp::{Stamp, Time};
use super::super::tree::Kind;
use super::checksum::checksum;
use crate::content_hash::ContentHash;

/// Changes with everything that is read or written here, and with the format of content digests.
const MAGIC: [u8; 16] = *b"dockit-stats-2\r\n";

/// Bytes before the records.
const HEADER: usize = 16 + 32 + 8 + 4 + 8 + 4 + 32;

/// Where in the header the hash is.
const HEADER_HASH: usize = HEADER - 32;

const INDEX_ENTRY: usize = 16 + 8 + 4 + 8;

/// Bytes of records that are read at once. Most records are smaller, and come in the order in which
/// they are asked for.
const WINDOW: u64 = 32 * 1024;

const DIRECTORY: u8 = 1;
const FILE: u8 = 2;
const SYMLINK: u8 = 3;
const FIFO: u8 = 4;
const SOCKET: u8 = 5;
const DEVICE: u8 = 6;
const OTHER: u8 = 7;
const HASHED_FILE: u8 = 8;

/// About as many bytes as a hashed file takes.
const HASHED_FILE_BYTES: usize = 90;

const WHOLE: u8 = 1;
const LEAVES: u8 = 2;

/// Which directory a cache is about: its canonical path, device and inode.
pub(super) struct Identity([u8; 32]);

impl Identity {
    pub(super) fn of(path: &Path, root: &Stamp) -> Self {
        let path = path.as_os_str().as_encoded_bytes();
        let hash = Sha256::new()
            .chain_update(root.device.to_le_bytes())
            .chain_update(root.inode.to_le_bytes())
            .chain_update(path);
        Self(hash.finalize().into())
    }

    pub(super) fn file_name(&self) -> String {
        let mut name = String::with_capacity(64 + SUFFIX.len());
        for byte in self.0 {
            // Writing into a string does not fail.
            let _ = write!(name, "{byte:02x}");
        }
        name + SUFFIX
    }
}

/// What names of caches end in.
pub(super) const SUFFIX: &str = ".stats";

/// A cache that is open. Nobody writes into its file: it is replaced.
pub(super) struct Cached {
    file: File,
    /// Where its records end.
    end: u64,
    index: Index,
}

/// Where the records are, by the hash of their paths.
pub(super) type Index = HashMap<[u8; 16], Place>;

/// Where a record is, and its checksum.
#[derive(Clone, Copy)]
pub(super) struct Place {
    offset: u64,
    length: u32,
    checksum: u64,
}

/// The part of one cache that a thread read last.
#[derive(Default)]
pub(in super::super) struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Cached {
    /// Nothing unless it was written for this context and version, is whole, and was written before
    /// `now`. Records are checked later.
    pub(super) fn open(file: File, size: u64, identity: &Identity, now: Time) -> Option<Self> {
        let mut bytes = [0; HEADER];
        read_at(&file, &mut bytes, 0).ok()?;
        let mut header = Input(&bytes);
        if header.array()? != MAGIC || header.array()? != identity.0 {
            return None;
        }
        let written =
            Time { seconds: i64::from_le_bytes(header.array()?), nanoseconds: header.u32()? };
        let end = header.u64()?;
        let count = header.u32()? as usize;
        let length = usize::try_from(size.checked_sub(end)?).ok()?;
        if written > now || length != count.checked_mul(INDEX_ENTRY)? {
            return None;
        }
        let mut places = vec![0; length];
        read_at(&file, &mut places, end).ok()?;
        if header.array()? != header_hash(&bytes[..HEADER_HASH], &places) {
            return None;
        }
        let mut index = HashMap::with_capacity(count);
        let mut places = Input(&places);
        for _ in 0..count {
            let path = places.array()?;
            let place =
                Place { offset: places.u64()?, length: places.u32()?, checksum: places.u64()? };
            index.insert(path, place);
        }
        Some(Self { file, end, index })
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// The record of the directory, if it is there and whole. Everything recorded is on the device.
    pub(super) fn record<'w>(
        &self,
        path: &[u8],
        device: u64,
        window: &'w mut Window,
    ) -> Option<Record<'w>> {
        let bytes = self.bytes_at(self.index.get(&short_hash(path))?, window)?;
        Record::parse(bytes, device).filter(|record| record.path == path)
    }

    /// The bytes of a record, if they are what was written.
    pub(super) fn bytes_at<'w>(&self, place: &Place, window: &'w mut Window) -> Option<&'w [u8]> {
        let length = u64::from(place.length);
        let left = self.end.checked_sub(place.offset).filter(|left| *left >= length)?;
        let within = |window: &Window| {
            let start = usize::try_from(place.offset.checked_sub(window.start)?).ok()?;
            let end = start.checked_add(place.length as usize)?;
            (end <= window.bytes.len()).then_some(start..end)
        };
        if within(window).is_none() {
            window.start = place.offset;
            window.bytes.resize(usize::try_from(length.max(WINDOW).min(left)).ok()?, 0);
            if read_at(&self.file, &mut window.bytes, place.offset).is_err() {
                window.bytes.clear();
            }
        }
        let bytes = &window.bytes[within(window)?];
        (checksum(bytes) == place.checksum).then_some(bytes)
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// No file system is trusted there.
#[cfg(not(unix))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What is known about a directory.
pub(in super::super) struct Record<'a> {
    /// Where it is; the root's is empty.
    pub(super) path: &'a [u8],
    /// If the directory still has it, the entries are all that it holds. Without one, they may be
    /// others by now.
    pub(in super::super) stamp: Option<Stamp>,
    pub(in super::super) entries: Vec<RecordEntry<'a>>,
}

pub(in super::super) struct RecordEntry<'a> {
    pub(in super::super) name: &'a [u8],
    pub(in super::super) kind: Kind,
    /// A file's stamp when it was hashed, and its digest.
    pub(in super::super) file: Option<(Stamp, FileDigest)>,
}

impl<'a> Record<'a> {
    pub(super) fn parse(bytes: &'a [u8], device: u64) -> Option<Self> {
        let mut input = Input(bytes);
        let length = input.u32()? as usize;
        let path = input.take(length)?;
        let stamp = match input.u8()? {
            0 => None,
            1 => Some(input.stamp(device)?),
            _ => return None,
        };
        let entries = input.entries(device)?;
        Some(Self { path, stamp, entries })
    }

    /// The paths of the directories in it.
    pub(super) fn directories(&self) -> impl Iterator<Item = Vec<u8>> {
        let directories = self.entries.iter().filter(|entry| entry.kind == Kind::Directory);
        directories.map(|entry| join(self.path, entry.name))
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// What one task learned about a directory.
pub(in super::super) struct Learned {
    pub(super) path: Option<ContextPath>,
    /// All names, if the directory was listed.
    pub(super) names: Option<Vec<u8>>,
    /// The directory's stamp from before it was listed, if that can be trusted.
    pub(super) stamp: Option<Stamp>,
    /// Files that were hashed.
    pub(super) files: Vec<u8>,
}

impl Learned {
    pub(in super::super) fn about(path: Option<ContextPath>) -> Self {
        Self { path, names: None, stamp: None, files: Vec::new() }
    }

    /// The directory was listed: it has these names, and had this stamp before.
    pub(in super::super) fn listed(&mut self, names: Names, stamp: Option<Stamp>) {
        self.names = Some(names.0);
        self.stamp = stamp;
    }

    /// A file in it was hashed.
    pub(in super::super) fn hashed(&mut self, name: &[u8], stamp: &Stamp, digest: &FileDigest) {
        put_entry(&mut self.files, name, Kind::File, Some((stamp, digest)));
    }

    /// Whether it is anything that will be true next time.
    pub(super) fn is_worth_keeping(&self) -> bool {
        self.stamp.is_some() || !self.files.is_empty()
    }
}

/// The names in a directory, with what they stand for.
#[derive(Default)]
pub(in super::super) struct Names(Vec<u8>);

impl Names {
    pub(in super::super) fn add(&mut self, name: &[u8], kind: Kind) {
        put_entry(&mut self.0, name, kind, None);
    }
}

/// Entries as [`Learned`] has them.
pub(super) fn entries_of(bytes: &[u8], device: u64) -> Option<Vec<RecordEntry<'_>>> {
    Input(bytes).entries(device)
}

/// Writes a cache, one record after the other.
pub(super) struct Output {
    bytes: Vec<u8>,
    index: Vec<u8>,
    count: u32,
}

impl Output {
    pub(super) fn new(identity: &Identity, written: Time) -> Self {
        let mut bytes = Vec::new();
        bytes.extend(MAGIC);
        bytes.extend(identity.0);
        bytes.extend(written.seconds.to_le_bytes());
        bytes.extend(written.nanoseconds.to_le_bytes());
        bytes.resize(HEADER, 0);
        Self { bytes, index: Vec::new(), count: 0 }
    }

    /// Adds a record that another cache held.
    pub(super) fn copy(&mut self, path: &[u8], record: &[u8]) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.enter(path, offset);
    }

    pub(super) fn record(&mut self, record: &Record<'_>) {
        let offset = self.bytes.len();
        self.bytes.extend((record.path.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(record.path);
        match &record.stamp {
            None => self.bytes.push(0),
            Some(stamp) => {
                self.bytes.push(1);
                put_stamp(&mut self.bytes, stamp);
            }
        }
        for entry in &record.entries {
            let file = entry.file.as_ref().map(|(stamp, digest)| (stamp, digest));
            put_entry(&mut self.bytes, entry.name, entry.kind, file);
        }
        self.enter(record.path, offset);
    }

    fn enter(&mut self, path: &[u8], offset: usize) {
        let record = &self.bytes[offset..];
        self.index.extend(short_hash(path));
        self.index.extend((offset as u64).to_le_bytes());
        self.index.extend((record.len() as u32).to_le_bytes());
        self.index.extend(checksum(record).to_le_bytes());
        self.count += 1;
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let at = HEADER_HASH - 12;
        let offset = self.bytes.len() as u64;
        self.bytes[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        self.bytes[at + 8..HEADER_HASH].copy_from_slice(&self.count.to_le_bytes());
        let hash = header_hash(&self.bytes[..HEADER_HASH], &self.index);
        self.bytes[HEADER_HASH..HEADER].copy_from_slice(&hash);
        self.bytes.append(&mut self.index);
        self.bytes
    }
}

fn header_hash(header: &[u8], index: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(header).chain_update(index).finalize().into()
}

fn short_hash(bytes: &[u8]) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    let [short, _] = hash.as_chunks().0 else { unreachable!("32 bytes are twice 16") };
    *short
}

fn put_stamp(out: &mut Vec<u8>, stamp: &Stamp) {
    out.extend(stamp.inode.to_le_bytes());
    out.extend(stamp.size.to_le_bytes());
    out.extend(stamp.mode.to_le_bytes());
    for time in [stamp.modified, stamp.changed] {
        out.extend(time.seconds.to_le_bytes());
        out.extend(time.nanoseconds.to_le_bytes());
    }
}

fn put_entry(out: &mut Vec<u8>, name: &[u8], kind: Kind, file: Option<(&Stamp, &FileDigest)>) {
    out.push(match kind {
        Kind::Directory => DIRECTORY,
        Kind::File if file.is_some() => HASHED_FILE,
        Kind::File => FILE,
        Kind::Symlink => SYMLINK,
        Kind::Special(SpecialFile::Fifo) => FIFO,
        Kind::Special(SpecialFile::Socket) => SOCKET,
        Kind::Special(SpecialFile::Device) => DEVICE,
        Kind::Special(SpecialFile::Other) => OTHER,
    });
    out.extend((name.len() as u16).to_le_bytes());
    out.extend_from_slice(name);
    if let Some((stamp, digest)) = file {
        put_stamp(out, stamp);
        let (kind, hash) = match digest {
            FileDigest::Whole(hash) => (WHOLE, hash),
            FileDigest::Leaves(hash) => (LEAVES, hash),
        };
        out.push(kind);
        out.extend_from_slice(hash.as_bytes());
    }
}

/// What is left to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Time> {
        Some(Time { seconds: i64::from_le_bytes(self.array()?), nanoseconds: self.u32()? })
    }

    fn stamp(&mut self, device: u64) -> Option<Stamp> {
        let (inode, size, mode) = (self.u64()?, self.u64()?, self.u32()?);
        let (modified, changed) = (self.time()?, self.time()?);
        Some(Stamp { device, inode, size, mode, modified, changed })
    }

    /// Everything that is left.
    fn entries(&mut self, device: u64) -> Option<Vec<RecordEntry<'a>>> {
        // Hardly more than there are.
        let mut entries = Vec::with_capacity(self.0.len() / HASHED_FILE_BYTES + 1);
        while !self.0.is_empty() {
            let tag = self.u8()?;
            let length = self.u16()? as usize;
            let name = self.take(length)?;
            let kind = match tag {
                DIRECTORY => Kind::Directory,
                FILE | HASHED_FILE => Kind::File,
                SYMLINK => Kind::Symlink,
                FIFO => Kind::Special(SpecialFile::Fifo),
                SOCKET => Kind::Special(SpecialFile::Socket),
                DEVICE => Kind::Special(SpecialFile::Device),
                OTHER => Kind::Special(SpecialFile::Other),
                _ => return None,
            };
            let file = if tag == HASHED_FILE { Some(self.hashed_file(device)?) } else { None };
            entries.push(RecordEntry { name, kind, file });
        }
        Some(entries)
    }

    fn hashed_file(&mut self, device: u64) -> Option<(Stamp, FileDigest)> {
        let stamp = self.stamp(device)?;
        let kind = self.u8()?;
        let hash = ContentHash::from_bytes(self.array()?);
        match kind {
            WHOLE => Some((stamp, FileDigest::Whole(hash))),
            LEAVES => Some((stamp, FileDigest::Leaves(hash))),
            _ => None,
        }
    }
}
