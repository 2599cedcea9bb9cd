//! Headers of a tar, as layers are written.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// Bytes of a header, and what everything in a tar is padded to.
pub(super) const BLOCK: usize = 512;

/// Bytes of the longest extended header that is read or written.
pub(super) const LONGEST_EXTENDED: u64 = 1024 * 1024;

/// Bytes of the longest text of a symbolic link: Linux makes no longer one.
pub(super) const LONGEST_LINK: usize = 4095;

/// The name of every extended header. No reader makes anything of it.
const EXTENDED_NAME: &[u8] = b"././@PaxHeader";

/// What an extended attribute's name follows in the key of a record.
pub(super) const XATTR: &[u8] = b"SCHILY.xattr.";

/// Where the fields of a header are (POSIX, *pax*, "ustar Interchange Format").
pub(super) mod field {
    use std::ops::Range;

    pub(in crate::layer) const NAME: Range<usize> = 0..100;
    pub(in crate::layer) const MODE: Range<usize> = 100..108;
    pub(in crate::layer) const UID: Range<usize> = 108..116;
    pub(in crate::layer) const GID: Range<usize> = 116..124;
    pub(in crate::layer) const SIZE: Range<usize> = 124..136;
    pub(in crate::layer) const MODIFIED: Range<usize> = 136..148;
    pub(in crate::layer) const CHECKSUM: Range<usize> = 148..156;
    pub(in crate::layer) const TYPE: usize = 156;
    pub(in crate::layer) const LINK: Range<usize> = 157..257;
    pub(in crate::layer) const MAGIC: Range<usize> = 257..265;
    pub(in crate::layer) const MAJOR: Range<usize> = 329..337;
    pub(in crate::layer) const MINOR: Range<usize> = 337..345;
    pub(in crate::layer) const PREFIX: Range<usize> = 345..500;
}

/// What follows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryType {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

impl EntryType {
    pub(super) fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }
}

/// An entry without its content.
#[derive(Clone, Debug)]
pub(super) struct Header<'a> {
    /// With `/` at its end for a directory.
    pub(super) path: &'a [u8],
    pub(super) entry_type: EntryType,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) modified: i64,
    pub(super) modified_nanos: u32,
    pub(super) link: &'a [u8],
    pub(super) device: (u32, u32),
    pub(super) xattrs: Option<&'a BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Header<'_> {
    /// Writes the header: in the ustar format as far as that goes, and what does not fit into it in an
    /// extended header before it.
    ///
    /// Names are raw bytes in both: all readers take them so, whatever the format says of characters.
    pub(super) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut block = [0; BLOCK];
        let mut records = Records::default();
        match split(self.path) {
            Some((prefix, name)) => {
                put(&mut block, field::PREFIX, prefix);
                put(&mut block, field::NAME, name);
            }
            None => {
                records.add(b"path", self.path);
                put(&mut block, field::NAME, &self.path[..field::NAME.len()]);
            }
        }
        if self.link.len() > field::LINK.len() {
            records.add(b"linkpath", self.link);
        }
        put(&mut block, field::LINK, &self.link[..self.link.len().min(field::LINK.len())]);
        octal(&mut block, field::MODE, u64::from(self.mode & 0o7777));
        for (range, key, value) in [
            (field::UID, "uid", self.uid),
            (field::GID, "gid", self.gid),
            (field::SIZE, "size", self.size),
        ] {
            if !octal(&mut block, range, value) {
                records.add(key.as_bytes(), value.to_string().as_bytes());
            }
        }
        let seconds = u64::try_from(self.modified).ok();
        let fits = seconds.is_some_and(|seconds| octal(&mut block, field::MODIFIED, seconds));
        if !fits || self.modified_nanos != 0 {
            records.add(b"mtime", decimal(self.modified, self.modified_nanos).as_bytes());
        }
        if matches!(self.entry_type, EntryType::CharDevice | EntryType::BlockDevice) {
            let (major, minor) = self.device;
            if !octal(&mut block, field::MAJOR, u64::from(major))
                || !octal(&mut block, field::MINOR, u64::from(minor))
            {
                return Err(io::Error::other(format!("no tar holds a device {major}:{minor}")));
            }
        }
        for (name, value) in self.xattrs.into_iter().flatten() {
            if name.contains(&b'=') || name.contains(&0) || name.is_empty() {
                let name = String::from_utf8_lossy(name);
                return Err(io::Error::other(format!("no tar holds an attribute named {name:?}")));
            }
            records.add(&[XATTR, name].concat(), value);
        }
        records.write_to(out)?;
        finish(&mut block, self.entry_type.flag());
        out.write_all(&block)
    }
}

/// Writes as many zeroes as content of this size needs behind it.
pub(super) fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let over = (size % BLOCK as u64) as usize;
    if over == 0 { Ok(()) } else { out.write_all(&[0; BLOCK][over..]) }
}

/// Writes what ends a tar.
pub(super) fn end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// The records of an extended header (POSIX, *pax*, "pax Extended Header").
#[derive(Default)]
struct Records(BTreeMap<Vec<u8>, Vec<u8>>);

impl Records {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0.insert(key.to_vec(), value.to_vec());
    }

    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for (key, value) in &self.0 {
            // The length counts its own digits.
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length = rest + length.to_string().len();
            }
            bytes.extend_from_slice(format!("{length} ").as_bytes());
            bytes.extend_from_slice(key);
            bytes.push(b'=');
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        if bytes.len() as u64 > LONGEST_EXTENDED {
            return Err(io::Error::other("has names and attributes of more than a MiB"));
        }
        let mut block = [0; BLOCK];
        put(&mut block, field::NAME, EXTENDED_NAME);
        for range in [field::MODE, field::UID, field::GID, field::MODIFIED] {
            octal(&mut block, range, 0);
        }
        octal(&mut block, field::SIZE, bytes.len() as u64);
        finish(&mut block, b'x');
        out.write_all(&block)?;
        out.write_all(&bytes)?;
        pad(out, bytes.len() as u64)
    }
}

/// A path as the two fields that ustar has for it; `None` if it does not fit into them.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= field::NAME.len() {
        return Some((b"", path));
    }
    // The name may not become empty, so the slash that ends a directory is none to split at.
    let end = (path.len() - 1).min(field::PREFIX.len() + 1);
    let slash = path[..end].iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (!prefix.is_empty() && name.len() <= field::NAME.len()).then_some((prefix, name))
}

/// Seconds since 1970 as a decimal number, without more digits than it needs.
fn decimal(seconds: i64, nanos: u32) -> String {
    if nanos == 0 {
        return seconds.to_string();
    }
    // Before 1970 the fraction counts in the other direction.
    let (sign, whole, fraction) = if seconds < 0 {
        ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos)
    } else {
        ("", seconds.unsigned_abs(), nanos)
    };
    format!("{sign}{whole}.{fraction:09}").trim_end_matches('0').to_owned()
}

fn put(block: &mut [u8; BLOCK], range: std::ops::Range<usize>, bytes: &[u8]) {
    block[range][..bytes.len()].copy_from_slice(bytes);
}

/// Puts octal digits and a NUL; zero, and `false`, if there are too many.
fn octal(block: &mut [u8; BLOCK], range: std::ops::Range<usize>, value: u64) -> bool {
    let digits = range.len() - 1;
    let fits = value < 1 << (3 * digits);
    let text = format!("{:0digits$o}", if fits { value } else { 0 });
    put(block, range, text.as_bytes());
    fits
}

fn finish(block: &mut [u8; BLOCK], flag: u8) {
    block[field::TYPE] = flag;
    put(block, field::MAGIC, b"ustar\x0000");
    put(block, field::CHECKSUM, b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    put(block, field::CHECKSUM, format!("{sum:06o}\0 ").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_where_both_parts_fit() {
        let name = "n".repeat(100);
        let prefix = "p".repeat(155);
        for (path, expected) in [
            ("a/b".to_owned(), Some((String::new(), "a/b".to_owned()))),
            (name.clone(), Some((String::new(), name.clone()))),
            (format!("{name}n"), None),
            (format!("d/{name}"), Some(("d".to_owned(), name.clone()))),
            (
                format!("d/{}/", "n".repeat(99)),
                Some(("d".to_owned(), format!("{}/", "n".repeat(99)))),
            ),
            (format!("d/{name}/"), None),
            (format!("{prefix}/{name}"), Some((prefix.clone(), name.clone()))),
            (format!("{prefix}p/{name}"), None),
            (format!("{prefix}/{name}n"), None),
        ] {
            let found = split(path.as_bytes());
            let expected =
                expected.as_ref().map(|(prefix, name)| (prefix.as_bytes(), name.as_bytes()));
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn times_are_decimal_numbers() {
        for (seconds, nanos, expected) in [
            (0, 0, "0"),
            (1, 500_000_000, "1.5"),
            (1, 1, "1.000000001"),
            (-1, 0, "-1"),
            (-1, 500_000_000, "-0.5"),
            (-2, 999_999_999, "-1.000000001"),
            (i64::MIN, 0, "-9223372036854775808"),
        ] {
            assert_eq!(decimal(seconds, nanos), expected);
        }
    }

    #[test]
    fn records_count_their_own_length() {
        for length in [0, 1, 80, 85, 86, 87, 88, 89, 90, 980, 985, 990, 9980, 9990] {
            let mut records = Records::default();
            records.add(b"key", &vec![b'v'; length]);
            let mut bytes = Vec::new();
            records.write_to(&mut bytes).unwrap();
            let record = &bytes[BLOCK..];
            let space = record.iter().position(|byte| *byte == b' ').unwrap();
            let told: usize = std::str::from_utf8(&record[..space]).unwrap().parse().unwrap();
            assert_eq!(record[told - 1], b'\n', "{length}");
            assert_eq!(told, space + 1 + 4 + length + 1);
        }
    }
}
