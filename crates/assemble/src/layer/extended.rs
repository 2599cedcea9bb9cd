//! Extended headers as they are read (POSIX, *pax*, "pax Extended Header").

use std::collections::BTreeMap;
use std::io;

use super::damaged;
use super::header::XATTR;
use super::number;
use super::sparse::Fragment;

/// What names of attributes begin with that the overlay file system keeps for itself. In an image they
/// would tell it where files of other directories are.
const OVERLAYS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// What an extended header says of the entry that follows.
#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) modified: Option<(i64, u32)>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sparse: Sparse,
}

/// What GNU tar says of a sparse file.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    /// Of the whole file.
    pub(super) size: Option<u64>,
    /// In formats 0.0 and 0.1.
    pub(super) map: Vec<Fragment>,
    /// Fragments that the header tells of.
    pub(super) count: Option<u64>,
    /// Where the next fragment is, in format 0.0.
    offset: Option<u64>,
}

impl Extended {
    pub(super) fn parse(mut bytes: &[u8]) -> io::Result<Self> {
        let mut extended = Self::default();
        while !bytes.is_empty() {
            let (record, rest) = record(bytes)
                .ok_or_else(|| damaged("an extended header has a record that is none"))?;
            bytes = rest;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .filter(|at| *at > 0)
                .ok_or_else(|| damaged("an extended header has a record without a key"))?;
            extended.take(&record[..equals], &record[equals + 1..])?;
        }
        Ok(extended)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if let Some(name) = key.strip_prefix(XATTR) {
            if name.is_empty() || name.contains(&0) {
                return Err(damaged("an extended header names no attribute"));
            }
            if !OVERLAYS.iter().any(|overlay| name.starts_with(overlay)) {
                self.xattrs.insert(name.to_vec(), value.to_vec());
            }
            return Ok(());
        }
        // An empty value takes back what was said.
        let said = !value.is_empty();
        let number = || said.then(|| number::decimal(value)).transpose();
        let name = || {
            if value.contains(&0) {
                return Err(damaged("an extended header's name holds a NUL"));
            }
            Ok(said.then(|| value.to_vec()))
        };
        match key {
            b"path" => self.path = name()?,
            b"linkpath" => self.link = name()?,
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?,
            b"gid" => self.gid = number()?,
            b"mtime" => self.modified = said.then(|| number::time(value)).transpose()?,
            b"GNU.sparse.major" => self.sparse.major = number()?,
            b"GNU.sparse.minor" => self.sparse.minor = number()?,
            b"GNU.sparse.name" => self.sparse.name = name()?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = number()?,
            b"GNU.sparse.numblocks" => self.sparse.count = number()?,
            b"GNU.sparse.offset" => self.sparse.offset = number()?,
            b"GNU.sparse.numbytes" => {
                let told = self.sparse.offset.take().zip(number()?);
                let (offset, length) =
                    told.ok_or_else(|| damaged("a sparse file has a fragment without a place"))?;
                self.sparse.map.push(Fragment { offset, length });
            }
            b"GNU.sparse.map" => self.sparse.map = map(value)?,
            _ => {}
        }
        Ok(())
    }
}

/// The first record, without its length and end, and what follows it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number::decimal(&bytes[..space]).ok()?).ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    Some((record, &bytes[length..]))
}

fn map(value: &[u8]) -> io::Result<Vec<Fragment>> {
    let numbers: Vec<u64> =
        value.split(|byte| *byte == b',').map(number::decimal).collect::<io::Result<_>>()?;
    if !numbers.len().is_multiple_of(2) {
        return Err(damaged("a sparse file's map has an odd number of numbers"));
    }
    Ok(numbers.chunks(2).map(|pair| Fragment { offset: pair[0], length: pair[1] }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_by_their_length() {
        let attribute = b"24 SCHILY.xattr.a=\n=\0\xff1\n";
        assert_eq!(attribute.len(), 24);
        let records = [b"12 path=a=b\n10 uid=77\n8 uid=7\n11 mtime=2\n", &attribute[..]].concat();
        let extended = Extended::parse(&records).unwrap();
        assert_eq!(extended.xattrs[&b"a"[..]], b"\n=\0\xff1");
        assert_eq!(extended.path.as_deref(), Some(&b"a=b"[..]));
        assert_eq!((extended.uid, extended.modified), (Some(7), Some((2, 0))));
    }

    #[test]
    fn attributes_of_the_overlay_file_system_are_left_out() {
        let records = b"41 SCHILY.xattr.trusted.overlay.opaque=y\n\
            43 SCHILY.xattr.user.overlay.redirect=/etc\n\
            29 SCHILY.xattr.user.overla=\n";
        let extended = Extended::parse(records).unwrap();
        assert_eq!(extended.xattrs.into_keys().collect::<Vec<_>>(), [b"user.overla"]);
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        for bytes in [
            &b"x"[..],
            b"3 =\n",
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 a=bc",
            b"0 \n",
            b"99999999999999999999999 a=b\n",
            b"-6 a=b\n",
            b"11 size=-1\n",
            b"12 path=a\0b\n",
            b"13 mtime=soon\n",
            b"25 GNU.sparse.numbytes=1\n",
            b"23 GNU.sparse.map=1,2,3\n",
            b"18 SCHILY.xattr.=\n",
        ] {
            assert!(Extended::parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
