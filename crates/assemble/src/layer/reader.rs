//! The entries of a tar, whoever wrote it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;

use super::damaged;
use super::extended::Extended;
use super::header::{BLOCK, EntryType, LONGEST_EXTENDED, LONGEST_LINK, field};
use super::number;
use super::sparse::{self, Fragment, MOST_FRAGMENTS};

/// Most entries of an archive.
const MOST_ENTRIES: usize = 1024 * 1024;

/// Most headers of an archive. An entry has up to four: its own, one that extends it, a long name and a
/// long link.
const MOST_HEADERS: usize = 4 * MOST_ENTRIES + 4;

/// Bytes that names, links and attributes of an archive may have together.
const MOST_NAMES: u64 = 512 * 1024 * 1024;

/// Bytes that an archive may have unpacked: 256 GiB.
pub(super) const LARGEST: u64 = 256 << 30;

/// Bytes that holes of an archive's sparse files may have together: 16 GiB. A layer holds them as zeroes.
const MOST_HOLES: u64 = 16 << 30;

/// An entry as it was read.
#[derive(Debug)]
pub(super) struct ReadEntry {
    /// As it is written.
    pub(super) path: Vec<u8>,
    pub(super) entry_type: EntryType,
    pub(super) link: Vec<u8>,
    /// Of the whole file, with its holes.
    pub(super) size: u64,
    /// Where the tar has the parts of the file that it holds.
    pub(super) parts: Vec<Part>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) modified: (i64, u32),
    pub(super) device: (u32, u32),
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A part of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// In the file.
    pub(super) offset: u64,
    pub(super) length: u64,
    /// In the tar.
    pub(super) stored_at: u64,
}

/// Reads headers, and passes over contents. All formats are understood that tar, Go and Python write:
/// version 7, ustar, GNU's and pax; sparse files of GNU tar, too.
pub(super) struct TarReader<R> {
    input: R,
    /// Bytes that were read.
    position: u64,
    /// Bytes of the last entry that were not.
    rest: u64,
    entries: usize,
    names: u64,
    holes: u64,
    /// Of sparse files, as they are held.
    fragments: usize,
    /// Headers of any kind.
    headers: usize,
    ended: bool,
}

type Block = [u8; BLOCK];

impl<R: Read> TarReader<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            position: 0,
            rest: 0,
            entries: 0,
            names: 0,
            holes: 0,
            fragments: 0,
            headers: 0,
            ended: false,
        }
    }

    /// The next entry; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<ReadEntry>> {
        let mut extended = Extended::default();
        let mut long_name = None;
        let mut long_link = None;
        loop {
            self.skip()?;
            let Some(block) = self.header()? else {
                return if long_name.is_none() && long_link.is_none() {
                    Ok(None)
                } else {
                    Err(damaged("it ends after a long name"))
                };
            };
            self.headers += 1;
            if self.headers > MOST_HEADERS {
                return Err(damaged(&format!("it has more than {MOST_HEADERS} headers")));
            }
            let size = number::field(&block[field::SIZE])?;
            let size = u64::try_from(size).map_err(|_| damaged("an entry has a negative size"))?;
            match block[field::TYPE] {
                b'x' => {
                    let records = self.special(size)?;
                    extended = Extended::parse(&records)?;
                }
                // What holds for all that follows are comments and times: no runtime makes more of it.
                b'g' => self.content(size)?,
                b'L' => long_name = Some(text(&self.special(size)?).to_vec()),
                b'K' => long_link = Some(text(&self.special(size)?).to_vec()),
                flag => {
                    if let Some(name) = long_name.filter(|name| !name.is_empty()) {
                        extended.path.get_or_insert(name);
                    }
                    if let Some(link) = long_link.filter(|link| !link.is_empty()) {
                        extended.link.get_or_insert(link);
                    }
                    return self.entry(&block, flag, size, extended).map(Some);
                }
            }
        }
    }

    /// Whether it has read a header: what it reads is an archive then, if a damaged one.
    pub(super) fn has_begun(&self) -> bool {
        self.headers > 0
    }

    /// Reads to the end of what it reads from.
    pub(super) fn drain(mut self) -> io::Result<u64> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.input.read(&mut buffer) {
                Ok(0) => return Ok(self.position),
                Ok(read) => self.advance(read as u64)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn entry(
        &mut self,
        block: &Block,
        flag: u8,
        size: u64,
        extended: Extended,
    ) -> io::Result<ReadEntry> {
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            return Err(damaged(&format!("it has more than {MOST_ENTRIES} entries")));
        }
        let Extended { path, link, size: told, uid, gid, modified, xattrs, sparse } = extended;
        let mut stored = told.unwrap_or(size);
        let mut path = path.unwrap_or_else(|| name(block));
        let link = link.unwrap_or_else(|| text(&block[field::LINK]).to_vec());
        // The time may have a sign; the others may not, but writers that know no owner put -1.
        let id = |told: Option<u64>, range: Range<usize>| match told {
            Some(id) => Ok(id),
            None => u64::try_from(number::field(&block[range])?)
                .map_err(|_| damaged("an entry has a negative owner")),
        };
        let (uid, gid) = (id(uid, field::UID)?, id(gid, field::GID)?);
        let modified = match modified {
            Some(modified) => modified,
            None => (number::field(&block[field::MODIFIED])?, 0),
        };
        let mode = number::field(&block[field::MODE])?;
        let entry_type = match flag {
            // Version 7 has no directories but by their names.
            0 if path.ends_with(b"/") => EntryType::Directory,
            b'0' | 0 | b'7' | b'S' => EntryType::File,
            b'1' => EntryType::HardLink,
            b'2' => EntryType::Symlink,
            b'3' => EntryType::CharDevice,
            b'4' => EntryType::BlockDevice,
            b'5' => EntryType::Directory,
            b'6' => EntryType::Fifo,
            other => {
                let path = String::from_utf8_lossy(&path);
                let other = char::from(other);
                return Err(damaged(&format!("{path:?} is of the unknown type {other:?}")));
            }
        };
        if entry_type == EntryType::Symlink && link.len() > LONGEST_LINK {
            return Err(damaged(&format!("a link's text is longer than {LONGEST_LINK} bytes")));
        }
        let mut size = 0;
        let mut parts = Vec::new();
        if entry_type == EntryType::File {
            size = stored;
            let map = if flag == b'S' {
                let (map, whole) = self.old_sparse(block)?;
                size = whole;
                Some(map)
            } else if sparse.major == Some(1) && sparse.minor == Some(0) {
                size = sparse.size.ok_or_else(|| damaged("a sparse file has no size"))?;
                let (map, read) = self.map_before_content(stored)?;
                stored -= read;
                Some(map)
            } else if sparse.major.is_some_and(|major| major != 0) {
                return Err(damaged("a sparse file is of an unknown format"));
            } else if sparse.count.is_some() || !sparse.map.is_empty() {
                size = sparse.size.ok_or_else(|| damaged("a sparse file has no size"))?;
                if sparse.count.is_some_and(|count| count != sparse.map.len() as u64) {
                    return Err(damaged("a sparse file's map has another length than is told"));
                }
                Some(sparse.map)
            } else {
                None
            };
            if map.is_some()
                && let Some(name) = sparse.name
            {
                path = name;
            }
            let map = match map {
                Some(map) => {
                    let map = sparse::check(map, size, stored)?;
                    self.fragments += map.len();
                    if self.fragments > MOST_FRAGMENTS {
                        return Err(sparse::too_many());
                    }
                    map
                }
                None if size == 0 => Vec::new(),
                None => vec![Fragment { offset: 0, length: size }],
            };
            self.holes = self.holes.saturating_add(size - stored);
            if self.holes > MOST_HOLES {
                return Err(damaged("its sparse files are larger than 16 GiB"));
            }
            let mut stored_at = self.position;
            for Fragment { offset, length } in map {
                parts.push(Part { offset, length, stored_at });
                stored_at = stored_at.saturating_add(length);
            }
            self.content(stored)?;
        }
        self.count_names(
            path.len()
                + link.len()
                + xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>(),
        )?;
        let device = match entry_type {
            EntryType::CharDevice | EntryType::BlockDevice => {
                let part = |range: Range<usize>| {
                    u32::try_from(number::field(&block[range])?)
                        .map_err(|_| damaged("a device has no such number"))
                };
                (part(field::MAJOR)?, part(field::MINOR)?)
            }
            _ => (0, 0),
        };
        Ok(ReadEntry {
            path,
            entry_type,
            link,
            size,
            parts,
            mode: (mode & 0o7777) as u32,
            uid,
            gid,
            modified,
            device,
            xattrs,
        })
    }

    /// The next header, checked; `None` at the end, which is two blocks of zeroes or that of the input.
    fn header(&mut self) -> io::Result<Option<Block>> {
        if self.ended {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        if !self.block(&mut block)? {
            self.ended = true;
            return Ok(None);
        }
        if block == [0; BLOCK] {
            self.ended = true;
            if self.block(&mut block)? && block != [0; BLOCK] {
                return Err(damaged("something follows the block that ends it"));
            }
            return Ok(None);
        }
        if !is_header(&block) {
            return Err(damaged("a header's checksum is wrong"));
        }
        Ok(Some(block))
    }

    /// Reads a block; `false` at the end.
    fn block(&mut self, block: &mut Block) -> io::Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(cut()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.advance(BLOCK as u64)?;
        Ok(true)
    }

    /// Notes content that is passed over before the next header.
    fn content(&mut self, size: u64) -> io::Result<()> {
        self.rest = size
            .checked_next_multiple_of(BLOCK as u64)
            .filter(|rest| *rest <= LARGEST)
            .ok_or_else(|| damaged("an entry is larger than 256 GiB"))?;
        Ok(())
    }

    fn skip(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        let skipped = io::copy(&mut self.input.by_ref().take(rest), &mut io::sink())?;
        self.advance(skipped)?;
        if skipped == rest { Ok(()) } else { Err(cut()) }
    }

    fn advance(&mut self, read: u64) -> io::Result<()> {
        self.position += read;
        if self.position > LARGEST {
            return Err(damaged("it has more than 256 GiB"));
        }
        Ok(())
    }

    /// The content of an entry that says something of the next one.
    fn special(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > LONGEST_EXTENDED {
            return Err(damaged("an extended header is longer than a MiB"));
        }
        self.content(size)?;
        let mut bytes = Vec::new();
        self.input.by_ref().take(size).read_to_end(&mut bytes)?;
        self.advance(bytes.len() as u64)?;
        if bytes.len() as u64 != size {
            return Err(cut());
        }
        self.rest -= size;
        self.count_names(bytes.len())?;
        Ok(bytes)
    }

    fn count_names(&mut self, length: usize) -> io::Result<()> {
        self.names += length as u64;
        if self.names > MOST_NAMES {
            return Err(damaged("its names and attributes have more than 512 MiB"));
        }
        Ok(())
    }

    /// The map of a sparse file in GNU's own format, in the header and blocks after it, and the size of
    /// the whole file.
    fn old_sparse(&mut self, header: &Block) -> io::Result<(Vec<Fragment>, u64)> {
        const IN_HEADER: Range<usize> = 386..482;
        const MORE_IN_HEADER: usize = 482;
        const SIZE: Range<usize> = 483..495;
        const IN_BLOCK: Range<usize> = 0..504;
        const MORE_IN_BLOCK: usize = 504;
        let unsigned = |bytes: &[u8]| {
            u64::try_from(number::field(bytes)?)
                .map_err(|_| damaged("a sparse file's map has a negative number"))
        };
        let size = unsigned(&header[SIZE])?;
        let mut map = Vec::new();
        let mut block = *header;
        let (mut places, mut more) = (IN_HEADER, MORE_IN_HEADER);
        loop {
            for pair in block[places.clone()].chunks(24) {
                // The first that is empty is the last.
                if pair[0] == 0 {
                    break;
                }
                map.push(Fragment {
                    offset: unsigned(&pair[..12])?,
                    length: unsigned(&pair[12..])?,
                });
            }
            if map.len() > MOST_FRAGMENTS {
                return Err(sparse::too_many());
            }
            if block[more] == 0 {
                return Ok((map, size));
            }
            if !self.block(&mut block)? {
                return Err(cut());
            }
            (places, more) = (IN_BLOCK, MORE_IN_BLOCK);
        }
    }

    /// The map that stands before a content of this size in format 1.0, and how many bytes it takes:
    /// decimal numbers on lines of their own, the first of which counts the fragments.
    fn map_before_content(&mut self, stored: u64) -> io::Result<(Vec<Fragment>, u64)> {
        let mut read = 0;
        let mut digits = Vec::new();
        let mut numbers = Vec::new();
        let mut wanted = 1;
        let mut block = [0; BLOCK];
        loop {
            read += BLOCK as u64;
            if read > stored || !self.block(&mut block)? {
                return Err(damaged("a sparse file's map is cut off"));
            }
            for byte in block {
                if byte != b'\n' {
                    digits.push(byte);
                    if digits.len() > 20 {
                        return Err(damaged("a sparse file's map has a number that is none"));
                    }
                    continue;
                }
                let number = number::decimal(&digits)?;
                digits.clear();
                if numbers.is_empty() {
                    let count =
                        usize::try_from(number).ok().filter(|count| *count <= MOST_FRAGMENTS);
                    wanted += 2 * count.ok_or_else(sparse::too_many)?;
                }
                numbers.push(number);
                if numbers.len() == wanted {
                    // The rest of the block is padding.
                    let pairs = numbers[1..].chunks(2);
                    let map = pairs.map(|pair| Fragment { offset: pair[0], length: pair[1] });
                    return Ok((map.collect(), read));
                }
            }
        }
    }
}

/// Whether a block is a header: its sum is what it says.
pub(super) fn is_header(block: &Block) -> bool {
    let own = &block[field::CHECKSUM];
    // Some sum the bytes as signed ones, which takes 256 away for each of the upper half.
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| i64::from(*byte)).sum::<i64>();
    let upper = |bytes: &[u8]| bytes.iter().filter(|byte| **byte > 127).count() as i64;
    let blanks = i64::from(b' ') * own.len() as i64;
    let unsigned = sum(block) - sum(own) + blanks;
    let signed = unsigned - 256 * (upper(block) - upper(own));
    let told = number::field(&block[field::CHECKSUM]);
    told.is_ok_and(|told| told == unsigned || told == signed)
}

/// The name in a header.
fn name(block: &Block) -> Vec<u8> {
    let name = text(&block[field::NAME]);
    // In GNU's format, and before POSIX's, something else is there.
    let prefix =
        if block[field::MAGIC].starts_with(b"ustar\0") { text(&block[field::PREFIX]) } else { b"" };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// What stands before the first NUL.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut off")
}
