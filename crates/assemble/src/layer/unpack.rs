//! Local archives that `ADD` unpacks.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use super::damaged;
use super::decompress::{Format, decompressed};
use super::header::BLOCK;
use super::header::EntryType;
use super::names::{clean, node, relink};
use super::reader::{ReadEntry, TarReader, is_header};
use super::spool::Spool;
use crate::error::{AssembleError, AssembleErrorKind};
use crate::tree::{Change, FileNode, Node, NodeKind, new_hard_link};

/// What an archive puts, in its own order, or `None` for a file that is none; as BuildKit tells them apart:
/// a tar, plain or compressed with gzip, bzip2, xz or Zstandard. Its first header decides, and everything
/// wrong behind that is an error. What it is called does not matter.
///
/// Paths are clamped to the directory in which it is unpacked. Links on their way are for the caller to
/// follow, who knows what is there already. A hard link shares what an earlier entry of the archive put.
/// Names that begin with `.wh.` are ordinary ones. Owners, modes and times are the archive's; times before
/// 1970 are 1970, as runtimes set them.
///
/// Contents go to a file without a name in the directory `spools`, and nothing else of the archive: what
/// follows its end is read but not kept. The archive is copied there, too, while this runs.
///
/// # Errors
///
/// [`AssembleErrorKind::Instruction`]: the archive is damaged, or larger than [`read`](super::read) takes;
/// [`AssembleErrorKind::Context`], or what an [`AssembleError`] inside of the content's error says: the file
/// cannot be read; [`AssembleErrorKind::Output`]: nothing can be written in `spools`.
pub fn unpack(file: &FileNode, spools: &Path) -> Result<Option<Vec<Change>>, AssembleError> {
    if !may_be_archive(file)? {
        return Ok(None);
    }
    let spool = Spool::unfilled(|error| AssembleError::from_io(AssembleErrorKind::Output, error));
    let packed = temporary(spools).and_then(|mut packed| {
        copy(file, &mut packed)?;
        packed.seek(SeekFrom::Start(0)).map_err(unwritable)?;
        Ok(packed)
    })?;
    let mut unpacked = temporary(spools)?;
    let mut kept = Kept { input: None, copy: &mut unpacked, failed: None };
    let entries = decompressed(packed).and_then(|input| {
        kept.input = Some(input);
        entries(&mut kept, &spool)
    });
    if let Some(error) = kept.failed {
        return Err(unwritable(error));
    }
    let entries = entries.map_err(|error| {
        AssembleError::new(AssembleErrorKind::Instruction, format!("a damaged archive: {error}"))
    })?;
    spool.fill(unpacked);
    Ok(entries)
}

/// Whether an error before the first header may mean that a file is no archive: not where it cannot be
/// read, or asks for more than may be held.
fn may_be_no_archive(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && error.kind() != io::ErrorKind::OutOfMemory
}

/// The entries; `None` if there is not even a first header.
fn entries(kept: &mut Kept<'_>, spool: &Arc<Spool>) -> io::Result<Option<Vec<Change>>> {
    let mut tar = TarReader::new(&mut *kept);
    let mut next = match tar.next() {
        Ok(next) if tar.has_begun() => next,
        Err(error) if tar.has_begun() || !may_be_no_archive(&error) => return Err(error),
        Ok(_) | Err(_) => return Ok(None),
    };
    let mut changes = Changes::default();
    while let Some(mut entry) = next {
        let path = clean(&entry.path).join(&b'/');
        if path.is_empty() && entry.entry_type != EntryType::Directory {
            return Err(damaged("the root is no directory"));
        }
        if entry.modified.0 < 0 {
            entry.modified = (0, 0);
        }
        if entry.entry_type == EntryType::HardLink {
            changes.link(path, &entry)?;
        } else {
            changes.put(path, node(entry, spool));
        }
        next = tar.next()?;
    }
    kept.drain()?;
    Ok(Some(changes.into_list()))
}

/// What entries have put until now.
#[derive(Default)]
struct Changes {
    /// Paths in the order of the archive, and positions of nodes, which several may share.
    list: Vec<(Vec<u8>, usize)>,
    nodes: Vec<Node>,
    /// The node that each path has now.
    there: HashMap<Vec<u8>, usize>,
}

impl Changes {
    fn put(&mut self, path: Vec<u8>, node: Node) {
        self.nodes.push(node);
        self.name(path, self.nodes.len() - 1);
    }

    fn name(&mut self, path: Vec<u8>, node: usize) {
        self.there.insert(path.clone(), node);
        self.list.push((path, node));
    }

    /// Gives what was put last where the link leads another name. Its attributes become those of the link,
    /// under all names.
    fn link(&mut self, path: Vec<u8>, entry: &ReadEntry) -> io::Result<()> {
        let target = clean(&entry.link).join(&b'/');
        let shown = || String::from_utf8_lossy(&target).into_owned();
        if path == target {
            return Err(damaged(&format!("{:?} is a hard link to itself", shown())));
        }
        let place = self.there.get(&target).copied().ok_or_else(|| {
            damaged(&format!("a hard link leads to {:?}, which is not in it", shown()))
        })?;
        let found = &mut self.nodes[place];
        if found.is_directory() {
            return Err(damaged(&format!("a hard link leads to the directory {:?}", shown())));
        }
        relink(found, entry);
        if let NodeKind::File(file) = &mut found.kind
            && file.hard_link == 0
        {
            file.hard_link = new_hard_link();
        }
        self.name(path, place);
        Ok(())
    }

    fn into_list(self) -> Vec<Change> {
        let Self { list, nodes, .. } = self;
        list.into_iter().map(|(path, node)| Change::Put(path, nodes[node].clone())).collect()
    }
}

/// Whether a file begins as an archive does.
fn may_be_archive(file: &FileNode) -> Result<bool, AssembleError> {
    let mut start = Start(Vec::with_capacity(BLOCK));
    let read = file.content.write_to(&mut start);
    let Start(start) = start;
    if start.len() < BLOCK {
        read.map_err(unreadable)?;
    }
    let block: Option<&[u8; BLOCK]> = start.as_slice().try_into().ok();
    Ok(Format::of(&start) != Format::Plain || block.is_some_and(is_header))
}

/// Takes the first block of a file, and then no more.
struct Start(Vec<u8>);

impl Write for Start {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.0.len());
        if taken == 0 && !bytes.is_empty() {
            return Err(io::Error::other("enough"));
        }
        self.0.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies a file, no more of it than it has.
fn copy(file: &FileNode, to: &mut File) -> Result<(), AssembleError> {
    let mut bounded = Bounded { to, left: file.size, failed: None };
    let result = file.content.write_to(&mut bounded);
    let Bounded { left, failed, .. } = bounded;
    match failed {
        Some(error) => Err(unwritable(error)),
        None => {
            result.map_err(unreadable)?;
            if left > 0 {
                return Err(unreadable(io::Error::other("it is shorter than it was")));
            }
            Ok(())
        }
    }
}

struct Bounded<'a> {
    to: &'a mut File,
    left: u64,
    failed: Option<io::Error>,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other("it is longer than it was"));
        }
        match self.to.write_all(bytes) {
            Ok(()) => {
                self.left -= bytes.len() as u64;
                Ok(bytes.len())
            }
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("the copy cannot be written"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps what is read.
struct Kept<'a> {
    input: Option<Box<dyn Read + Send>>,
    copy: &'a mut File,
    /// Why it could not be kept.
    failed: Option<io::Error>,
}

impl Kept<'_> {
    /// Reads to the end without keeping anything, so that sums are checked.
    fn drain(&mut self) -> io::Result<()> {
        match self.input.take() {
            Some(input) => TarReader::new(input).drain().map(drop),
            None => Ok(()),
        }
    }
}

impl Read for Kept<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(input) = &mut self.input else {
            return Ok(0);
        };
        let read = input.read(buffer)?;
        if let Err(error) = self.copy.write_all(&buffer[..read]) {
            self.failed = Some(error);
            return Err(io::Error::other("the copy cannot be written"));
        }
        Ok(read)
    }
}

fn temporary(spools: &Path) -> Result<File, AssembleError> {
    tempfile::tempfile_in(spools).map_err(unwritable)
}

fn unwritable(error: io::Error) -> AssembleError {
    let message = format!("an archive cannot be unpacked: {error}");
    AssembleError::new(AssembleErrorKind::Output, message)
}

fn unreadable(error: io::Error) -> AssembleError {
    AssembleError::from_io(AssembleErrorKind::Context, error)
}
