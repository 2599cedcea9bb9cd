//! The build context as a tree.

use std::io::{self, Write};
use std::sync::Arc;

use dockit_hashing::context::{self, Contents, Entry, Listing};

use super::{FIXED_TIME, FileContent, FileNode, Meta, Node, NodeKind, PathTooLong, Tree};
use crate::error::{AssembleError, AssembleErrorKind};

impl Tree {
    /// The files of a build context: as they were listed, owned by root, with one time for all. Their
    /// content is read when it is asked for, and has to be what was listed.
    ///
    /// # Errors
    ///
    /// A path is too long.
    pub fn of_context(listing: &Listing, contents: &Arc<Contents>) -> Result<Self, PathTooLong> {
        let mut tree = Self::default();
        for entry in listing.entries() {
            let (kind, mode) = match entry.node() {
                context::Node::Directory { mode } => (NodeKind::Directory, mode.bits()),
                context::Node::Symlink { target } => {
                    (NodeKind::Symlink { target: target.to_vec() }, 0o777)
                }
                context::Node::File { mode, size, .. } => {
                    let content = Listed { contents: contents.clone(), entry: entry.clone() };
                    let file = FileNode { size: *size, content: Arc::new(content), hard_link: 0 };
                    (NodeKind::File(file), mode.bits())
                }
                _ => continue,
            };
            let meta = Meta { mode, modified: FIXED_TIME, ..Meta::default() };
            tree.put(entry.path().as_bytes(), Node { kind, meta })?;
        }
        Ok(tree)
    }
}

/// A file of the build context.
struct Listed {
    contents: Arc<Contents>,
    entry: Entry,
}

impl FileContent for Listed {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut guarded = Guarded { out, failed: None };
        let written = self.contents.write(&self.entry, &mut guarded);
        if let Some(failed) = guarded.failed {
            return Err(failed);
        }
        written.map_err(|error| {
            AssembleError::new(AssembleErrorKind::Context, error.to_string()).into()
        })
    }
}

/// Keeps the error of `out`, to tell it from those of the context.
struct Guarded<'o> {
    out: &'o mut dyn Write,
    failed: Option<io::Error>,
}

impl Write for Guarded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some(error);
            }
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
