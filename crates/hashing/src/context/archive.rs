//! The archive of a build context that a build gets.

use std::io::Write;
use std::path::Path;

use tar::{EntryType, Header};

use super::contents;
use super::error::ContextError;
use super::listing::{Entry, Listing, Node};
use super::stable_file::BUFFER;
use super::tree::{SystemTree, Tree};

/// 1980-01-02T00:00:00Z: tools that pack ZIP files refuse times before 1980.
const TIME: u64 = 315_619_200;

const BLOCK: usize = 512;

/// Bytes for names and link texts in a header.
const NAME_FIELD: usize = 100;

const LONG_NAME: &[u8] = b"././@LongLink";

const DOCKERFILE_MODE: u32 = 0o644;
const SYMLINK_MODE: u32 = 0o777;

/// The canonical archive: exactly the listing's files, and the Dockerfile under a reserved name.
///
/// A tar in GNU's format. Owners are 0, every time is 1980-01-02T00:00:00Z, modes are the
/// listing's; there are no extended attributes and no hard links. The same listing and Dockerfile
/// give the same bytes on every machine; docs/key-format.md, "Archive", describes them.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    root: &'a Path,
    listing: &'a Listing,
    dockerfile: &'a [u8],
}

impl<'a> Archive<'a> {
    /// The time of everything in it, in seconds since 1970: 1980-01-02T00:00:00Z.
    pub const TIME: u64 = TIME;

    /// Name of the Dockerfile in the archive.
    pub const DOCKERFILE_NAME: &'static str = ".dockit.Dockerfile";

    /// An archive of the `listing` that was made of the directory `root`.
    pub fn new(root: &'a Path, listing: &'a Listing, dockerfile: &'a [u8]) -> Self {
        Self { root, listing, dockerfile }
    }

    /// Streams the archive, in pieces of at most 128 KiB.
    ///
    /// Each file is hashed again while it is packed. After an error, what was written is no whole
    /// archive: it lacks at least the end.
    ///
    /// # Errors
    ///
    /// A file changed since it was listed, or cannot be read; or `out` failed, which
    /// [`ContextError::io_error`] and [`ContextError::is_broken_pipe`] tell.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<(), ContextError> {
        let mut writer = Writer { out };
        // BuildKit looks at the first kilobyte to tell an archive from a lone Dockerfile; so the
        // first entry must be one whose name fits into its header.
        let header = header(EntryType::Regular, DOCKERFILE_MODE, self.dockerfile.len() as u64);
        writer.header(header, Self::DOCKERFILE_NAME.as_bytes(), b"")?;
        writer.content(self.dockerfile)?;
        let tree =
            SystemTree::open(self.root).map_err(|error| ContextError::root(self.root, error))?;
        let mut buffer = vec![0; BUFFER];
        for entry in self.listing.entries() {
            write_entry(&tree, entry, &mut writer, &mut buffer)?;
        }
        writer.bytes(&[0; 2 * BLOCK])?;
        writer.out.flush().map_err(ContextError::writing)
    }
}

fn write_entry(
    tree: &SystemTree,
    entry: &Entry,
    writer: &mut Writer<'_>,
    buffer: &mut [u8],
) -> Result<(), ContextError> {
    let name = entry.path.as_bytes();
    match &entry.node {
        Node::Directory { mode } => {
            let name = [name, b"/"].concat();
            writer.header(header(EntryType::Directory, mode.bits(), 0), &name, b"")
        }
        Node::Symlink { target } => {
            let now = tree
                .link(None, &entry.path)
                .map_err(|failure| failure.at(&entry.path.below(tree.root())))?;
            if now != *target {
                return Err(ContextError::changed(&entry.path.below(tree.root())));
            }
            writer.header(header(EntryType::Symlink, SYMLINK_MODE, 0), name, target)
        }
        Node::File { mode, size, digest } => {
            let file = contents::open(tree, &entry.path, *mode, *size)?;
            writer.header(header(EntryType::Regular, mode.bits(), *size), name, b"")?;
            contents::read(tree, &entry.path, &file, digest, buffer, &mut |piece| {
                writer.bytes(piece)
            })?;
            writer.pad(*size)
        }
    }
}

struct Writer<'a> {
    out: &'a mut dyn Write,
}

impl Writer<'_> {
    /// Writes a header, after those that carry what does not fit into it.
    fn header(&mut self, mut header: Header, name: &[u8], link: &[u8]) -> Result<(), ContextError> {
        if link.len() > NAME_FIELD {
            self.long(EntryType::GNULongLink, link)?;
        }
        if name.len() > NAME_FIELD {
            self.long(EntryType::GNULongName, name)?;
        }
        // The crate's own setters split and check names; raw bytes are taken as they are here.
        let fields = header.as_old_mut();
        fill(&mut fields.name, name);
        fill(&mut fields.linkname, link);
        header.set_cksum();
        self.bytes(header.as_bytes())
    }

    fn long(&mut self, kind: EntryType, value: &[u8]) -> Result<(), ContextError> {
        let value = [value, b"\0"].concat();
        self.header(header(kind, DOCKERFILE_MODE, value.len() as u64), LONG_NAME, b"")?;
        self.content(&value)
    }

    fn content(&mut self, content: &[u8]) -> Result<(), ContextError> {
        self.bytes(content)?;
        self.pad(content.len() as u64)
    }

    /// Fills the last block of a content of `size` bytes.
    fn pad(&mut self, size: u64) -> Result<(), ContextError> {
        let used = (size % BLOCK as u64) as usize;
        let missing = (BLOCK - used) % BLOCK;
        self.bytes(&[0; BLOCK][..missing])
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), ContextError> {
        self.out.write_all(bytes).map_err(ContextError::writing)
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(TIME);
    header
}

/// Copies as much as fits.
fn fill(field: &mut [u8; NAME_FIELD], value: &[u8]) {
    let length = value.len().min(NAME_FIELD);
    field[..length].copy_from_slice(&value[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_beyond_8_gib_fits_into_a_header() {
        let octal = header(EntryType::Regular, 0o644, (1 << 33) - 1);
        assert_eq!(octal.as_old().size, *b"77777777777\0");
        let binary = header(EntryType::Regular, 0o644, (1 << 33) + 1);
        assert_eq!(binary.as_old().size, *b"\x80\0\0\0\0\0\0\x02\0\0\0\x01");
    }
}
