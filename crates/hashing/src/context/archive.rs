//! The canonical archive of a build context.

use std::io::{self, Write};
use std::path::Path;

use tar::{EntryType, Header};

use super::error::{ContextError, ContextErrorKind};
use super::file_digest::copy_file;
use super::listing::{Listing, Node};
use super::walk::full_path;

/// 1980-01-02T00:00:00Z: after the epoch of zip files, before which some tools fail.
const MTIME: u64 = 315_619_200;

const BLOCK: usize = 512;

/// A tar of exactly the listed files and the Dockerfile: sorted, owned by root, with one time, and
/// with normalised modes. The same listing and Dockerfile give the same bytes on every machine.
#[derive(Clone, Copy, Debug)]
pub struct Archive<'a> {
    root: &'a Path,
    listing: &'a Listing,
    dockerfile: &'a [u8],
}

impl<'a> Archive<'a> {
    /// The Dockerfile's name in the archive.
    pub const DOCKERFILE_NAME: &'static str = ".dockit.Dockerfile";

    /// An archive of what was listed below `root`.
    pub fn new(root: &'a Path, listing: &'a Listing, dockerfile: &'a [u8]) -> Self {
        Self { root, listing, dockerfile }
    }

    /// Writes the archive. Each file is hashed again on the way.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is not what was listed; or `out` failed. What was written until
    /// then is no archive.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<(), ContextError> {
        let failed = |error| ContextError::new(self.root, ContextErrorKind::Write(error));
        let dockerfile = header(EntryType::Regular, 0o644, self.dockerfile.len() as u64);
        write_entry(out, dockerfile, Self::DOCKERFILE_NAME.as_bytes(), b"").map_err(failed)?;
        out.write_all(self.dockerfile).map_err(failed)?;
        pad(out, self.dockerfile.len() as u64).map_err(failed)?;
        for entry in self.listing.entries() {
            let path = &entry.path;
            match &entry.node {
                Node::Directory => {
                    let mut path = path.clone();
                    path.push(b'/');
                    write_entry(out, header_of_directory(), &path, b"").map_err(failed)?;
                }
                Node::Symlink { target } => {
                    let header = header(EntryType::Symlink, 0o777, 0);
                    write_entry(out, header, path, target).map_err(failed)?;
                }
                Node::File { mode, size, digest } => {
                    let header = header(EntryType::Regular, mode.bits(), *size);
                    write_entry(out, header, path, b"").map_err(failed)?;
                    let full = full_path(self.root, path);
                    if copy_file(&full, *size, out)? != *digest {
                        return Err(ContextError::new(full, ContextErrorKind::Changed));
                    }
                    pad(out, *size).map_err(failed)?;
                }
            }
        }
        out.write_all(&[0; 2 * BLOCK]).map_err(failed)
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MTIME);
    header.set_size(size);
    header
}

fn header_of_directory() -> Header {
    header(EntryType::Directory, 0o755, 0)
}

/// Writes a header, and before it what does not fit into it: GNU's long names are read by every
/// engine, and take any bytes.
fn write_entry(
    out: &mut dyn Write,
    mut header: Header,
    path: &[u8],
    target: &[u8],
) -> io::Result<()> {
    if target.len() > 100 {
        write_long(out, EntryType::GNULongLink, target)?;
    }
    if path.len() > 100 {
        write_long(out, EntryType::GNULongName, path)?;
    }
    let fields = header.as_old_mut();
    let name = &path[..path.len().min(100)];
    fields.name[..name.len()].copy_from_slice(name);
    let link = &target[..target.len().min(100)];
    fields.linkname[..link.len()].copy_from_slice(link);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

fn write_long(out: &mut dyn Write, kind: EntryType, text: &[u8]) -> io::Result<()> {
    let size = text.len() as u64 + 1;
    let mut header = header(kind, 0o644, size);
    let name = b"././@LongLink";
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    out.write_all(text)?;
    out.write_all(&[0])?;
    pad(out, size)
}

fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let rest = (size % BLOCK as u64) as usize;
    let padding = if rest == 0 { 0 } else { BLOCK - rest };
    out.write_all(&[0; BLOCK][..padding])
}
