//! From changes to a layer.

use std::collections::HashMap;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::thread;

use dockit_registry::Digest;
use dockit_registry::layout::Layout;
use dockit_registry::manifest::Descriptor;

use super::compress::Compressor;
use super::header::{self, EntryType, Header, LONGEST_LINK};
use super::{OPAQUE, WHITEOUT};
use crate::assemble::Compression;
use crate::error::{AssembleError, AssembleErrorKind};
use crate::tree::{Change, FIXED_TIME, FileNode, Node, NodeKind};

/// A layer that is in the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedLayer {
    /// The packed bytes.
    pub descriptor: Descriptor,
    /// The digest of the tar, as configurations list it.
    pub diff_id: Digest,
}

/// Packs changes into a layer and writes it to the output.
///
/// The order of changes does not matter, but for two that put the same path: the later counts. What is
/// removed and put is there afterwards, as [`Tree::apply`](crate::tree::Tree::apply) has it. Directories
/// above what is put or removed should be
/// among them, even if nothing about them changes: engines that unpack each layer by itself make those
/// that are missing, with attributes of their own. The same changes give the same bytes, whatever the
/// number of threads. Contents are streamed; a few MiB for each thread are held.
///
/// # Errors
///
/// [`AssembleErrorKind::Context`] if a content cannot be read or is not as large as it was said to be, or
/// what an [`AssembleError`] inside of the content's error says; [`AssembleErrorKind::Instruction`] for
/// what no layer can hold: names that begin as whiteouts do, and what no tar holds;
/// [`AssembleErrorKind::Output`] if the layout cannot be written.
pub fn pack(
    changes: &[Change],
    compression: Compression,
    threads: NonZeroUsize,
    output: &Layout,
) -> Result<PackedLayer, AssembleError> {
    let entries = entries(changes)?;
    let blob = output.new_blob().map_err(unwritable)?;
    let (descriptor, diff_id) = thread::scope(|scope| {
        let mut out =
            Compressor::new(scope, compression, threads.get(), blob).map_err(unwritable)?;
        write(&entries, &mut out)?;
        out.finish().map_err(unwritable)
    })?;
    Ok(PackedLayer { descriptor, diff_id })
}

/// What is written of a path.
#[derive(Clone, Copy, Default)]
struct Entry<'a> {
    removed: bool,
    /// All that lower layers have in it.
    cleared: bool,
    put: Option<&'a Node>,
}

fn entries(changes: &[Change]) -> Result<Vec<(&[u8], Entry<'_>)>, AssembleError> {
    let mut sorted: Vec<&Change> = changes.iter().collect();
    sorted.sort_by(|one, other| one.path().cmp(other.path()));
    let mut entries: Vec<(&[u8], Entry<'_>)> = Vec::with_capacity(sorted.len());
    for change in sorted {
        let path = change.path();
        if entries.last().is_none_or(|(last, _)| *last != path) {
            check(path)?;
            entries.push((path, Entry::default()));
        }
        let (_, entry) = entries.last_mut().expect("one was pushed if there was none");
        match change {
            Change::Put(_, node) => entry.put = Some(node),
            Change::Clear(_) => entry.cleared = true,
            Change::Remove(_) => entry.removed = true,
        }
    }
    Ok(entries)
}

/// Refuses a path that would be read as something else.
fn check(path: &[u8]) -> Result<(), AssembleError> {
    if path.is_empty() {
        return Ok(());
    }
    for name in path.split(|byte| *byte == b'/') {
        if name.is_empty() || name == b"." || name == b".." || name.contains(&0) {
            return Err(impossible(path, "is no path in an image"));
        }
        if name.starts_with(WHITEOUT) {
            let why = "cannot be in a layer: names that begin with .wh. stand for what is removed";
            return Err(impossible(path, why));
        }
    }
    Ok(())
}

fn write(entries: &[(&[u8], Entry<'_>)], out: &mut dyn Write) -> Result<(), AssembleError> {
    let mut links: HashMap<u64, &[u8]> = HashMap::new();
    for (path, entry) in entries {
        if let Some(node) = entry.put {
            put(path, node, &mut links, out)?;
        }
        // What replaces something needs no whiteout besides, and one of the same name would be in its way
        // where layers are unpacked into overlays. Only of a directory what it held would stay.
        let opaque = match entry.put {
            Some(node) => node.is_directory() && (entry.removed || entry.cleared),
            None => path.is_empty() || !entry.removed,
        };
        if opaque {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            whiteout(&[*path, slash, OPAQUE].concat(), out)?;
        } else if entry.put.is_none() {
            let name = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
            whiteout(&[&path[..name], WHITEOUT, &path[name..]].concat(), out)?;
        }
    }
    header::end(out).map_err(unwritable)
}

fn whiteout(path: &[u8], out: &mut dyn Write) -> Result<(), AssembleError> {
    let header = Header {
        path,
        entry_type: EntryType::File,
        size: 0,
        mode: 0,
        uid: 0,
        gid: 0,
        modified: FIXED_TIME,
        modified_nanos: 0,
        link: b"",
        device: (0, 0),
        xattrs: None,
    };
    header.write_to(out).map_err(unwritable)
}

fn put<'a>(
    path: &'a [u8],
    node: &Node,
    links: &mut HashMap<u64, &'a [u8]>,
    out: &mut dyn Write,
) -> Result<(), AssembleError> {
    let mut link: &[u8] = b"";
    let mut device = (0, 0);
    let mut content = None;
    let mut named = path.to_vec();
    let entry_type = match &node.kind {
        NodeKind::Directory => {
            named.extend_from_slice(if path.is_empty() { b"./" } else { b"/" });
            EntryType::Directory
        }
        _ if path.is_empty() => return Err(impossible(path, "is a directory in every image")),
        NodeKind::File(file) => match links.get(&file.hard_link) {
            Some(first) => {
                link = first;
                EntryType::HardLink
            }
            None => {
                if file.hard_link != 0 {
                    links.insert(file.hard_link, path);
                }
                content = Some(file);
                EntryType::File
            }
        },
        NodeKind::Symlink { target } if target.len() > LONGEST_LINK => {
            return Err(impossible(path, "is a link with a text of more than 4095 bytes"));
        }
        NodeKind::Symlink { target } => {
            link = target;
            EntryType::Symlink
        }
        NodeKind::CharDevice { major, minor } => {
            device = (*major, *minor);
            EntryType::CharDevice
        }
        NodeKind::BlockDevice { major, minor } => {
            device = (*major, *minor);
            EntryType::BlockDevice
        }
        NodeKind::Fifo => EntryType::Fifo,
    };
    let meta = &node.meta;
    let header = Header {
        path: &named,
        entry_type,
        size: content.map_or(0, |file| file.size),
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        modified: meta.modified,
        modified_nanos: meta.modified_nanos,
        link,
        device,
        xattrs: Some(&meta.xattrs),
    };
    // Written to memory first, to tell what the header cannot hold from an output that cannot be written.
    let mut bytes = Vec::new();
    header.write_to(&mut bytes).map_err(|error| impossible(path, &error.to_string()))?;
    out.write_all(&bytes).map_err(unwritable)?;
    content.map_or(Ok(()), |file| write_content(path, file, out))
}

fn write_content(path: &[u8], file: &FileNode, out: &mut dyn Write) -> Result<(), AssembleError> {
    let mut counted = Counted { out, left: file.size, failed: None };
    let result = file.content.write_to(&mut counted);
    let Counted { left, failed, .. } = counted;
    if let Some(error) = failed {
        return Err(unwritable(error));
    }
    let unreadable = |why: &dyn std::fmt::Display| {
        let path = String::from_utf8_lossy(path);
        AssembleError::new(AssembleErrorKind::Context, format!("content of {path:?}: {why}"))
    };
    match result {
        Err(error) if error.get_ref().is_some_and(|inner| inner.is::<AssembleError>()) => {
            Err(AssembleError::from_io(AssembleErrorKind::Context, error))
        }
        Err(error) => Err(unreadable(&error)),
        Ok(()) if left > 0 => {
            Err(unreadable(&format!("it should have {} bytes, but lacks {left}", file.size)))
        }
        Ok(()) => header::pad(out, file.size).map_err(unwritable),
    }
}

/// Lets no more bytes through than a file has.
struct Counted<'a> {
    out: &'a mut dyn Write,
    left: u64,
    /// Why `out` did not take them.
    failed: Option<io::Error>,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other("there are more bytes than it should have"));
        }
        match self.out.write(bytes) {
            Ok(written) => {
                self.left -= written as u64;
                Ok(written)
            }
            Err(error) => {
                let told = io::Error::new(error.kind(), "the layer cannot be written");
                self.failed = Some(error);
                Err(told)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unwritable(error: impl std::fmt::Display) -> AssembleError {
    AssembleError::new(AssembleErrorKind::Output, format!("a layer cannot be written: {error}"))
}

fn impossible(path: &[u8], why: &str) -> AssembleError {
    let path = String::from_utf8_lossy(path);
    AssembleError::new(AssembleErrorKind::Instruction, format!("{path:?} {why}"))
}
