//! A tree as a tar, in GNU's format.

use std::io::{self, Write};

use tar::{EntryType, Header};

use crate::tree::{Entry, EntryKind, FileTree};

const BLOCK: usize = 512;

/// Bytes for names and link texts in a header.
const NAME_FIELD: usize = 100;

const LONG_NAME: &[u8] = b"././@LongLink";

/// Writes the whole archive.
///
/// # Errors
///
/// `out` failed, or a file cannot be read, or is no longer what it was. What was written is then no whole
/// archive.
pub(super) fn write(tree: &dyn FileTree, out: &mut dyn Write) -> io::Result<()> {
    // BuildKit looks at the first kilobyte to tell an archive from something else, and an archive of nothing
    // must be one, too. Where it is unpacked, this entry is already there and stays as it is.
    let root = Entry { path: b".", kind: EntryKind::Directory, mode: 0o755, modified: 0 };
    write_header(&root, out)?;
    for number in 0..tree.len() {
        let entry = tree.entry(number);
        write_header(&entry, out)?;
        if let EntryKind::File { size } = entry.kind {
            let mut counted = Counted { out, written: 0 };
            tree.write_content(number, &mut counted)?;
            if counted.written != size {
                let path = entry.path.escape_ascii();
                return Err(io::Error::other(format!("{path}: its size is another")));
            }
            pad(size, out)?;
        }
    }
    out.write_all(&[0; 2 * BLOCK])?;
    out.flush()
}

fn write_header(entry: &Entry<'_>, out: &mut dyn Write) -> io::Result<()> {
    let slashed;
    let (kind, size, name, link) = match entry.kind {
        EntryKind::Directory => {
            slashed = [entry.path, b"/"].concat();
            (EntryType::Directory, 0, slashed.as_slice(), &b""[..])
        }
        EntryKind::File { size } => (EntryType::Regular, size, entry.path, &b""[..]),
        EntryKind::Symlink { target } => (EntryType::Symlink, 0, entry.path, target),
    };
    for (kind, text) in [(EntryType::GNULongLink, link), (EntryType::GNULongName, name)] {
        if text.len() > NAME_FIELD {
            let text = [text, b"\0"].concat();
            let length = text.len() as u64;
            let long = Entry { mode: 0o644, ..*entry };
            out.write_all(header(kind, length, &long, LONG_NAME, b"").as_bytes())?;
            out.write_all(&text)?;
            pad(length, out)?;
        }
    }
    out.write_all(header(kind, size, entry, name, link).as_bytes())
}

fn header(kind: EntryType, size: u64, entry: &Entry<'_>, name: &[u8], link: &[u8]) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(entry.mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(entry.modified.try_into().unwrap_or(0));
    // The crate's own setters split and check names; raw bytes are taken as they are here.
    let fields = header.as_old_mut();
    fill(&mut fields.name, name);
    fill(&mut fields.linkname, link);
    header.set_cksum();
    header
}

/// Copies as much as fits.
fn fill(field: &mut [u8; NAME_FIELD], value: &[u8]) {
    let length = value.len().min(NAME_FIELD);
    field[..length].copy_from_slice(&value[..length]);
}

/// Fills the last block of a content of `size` bytes.
fn pad(size: u64, out: &mut dyn Write) -> io::Result<()> {
    let used = (size % BLOCK as u64) as usize;
    let missing = (BLOCK - used) % BLOCK;
    out.write_all(&[0; BLOCK][..missing])
}

struct Counted<'a> {
    out: &'a mut dyn Write,
    written: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::tree::NoFiles;

    #[test]
    fn an_archive_of_nothing_is_one() {
        let mut bytes = Vec::new();
        write(&NoFiles, &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let paths: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path_bytes().into_owned())
            .collect();
        assert_eq!(paths, [b"./"]);
    }

    struct Three;

    impl FileTree for Three {
        fn len(&self) -> usize {
            3
        }

        fn entry(&self, number: usize) -> Entry<'_> {
            let kind = match number {
                0 => EntryKind::Directory,
                1 => EntryKind::File { size: 700 },
                _ => EntryKind::Symlink { target: &[b't'; 150] },
            };
            let path = [&b"d"[..], &[b'f'; 120], b"l\xff"][number];
            Entry { path, kind, mode: 0o4755, modified: 7 }
        }

        fn write_content(&self, _: usize, out: &mut dyn Write) -> io::Result<()> {
            out.write_all(&[b'x'; 700])
        }
    }

    #[test]
    fn entries_are_whole_whatever_the_length_of_their_names() {
        let mut bytes = Vec::new();
        write(&Three, &mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap().skip(1) {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o4755, 7));
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let link = entry.link_name_bytes().map(|link| link.len());
            seen.push((entry.path_bytes().into_owned(), content.len(), link));
        }
        let wanted = [
            (b"d/".to_vec(), 0, None),
            (vec![b'f'; 120], 700, None),
            (b"l\xff".to_vec(), 0, Some(150)),
        ];
        assert_eq!(seen, wanted);
    }
}
