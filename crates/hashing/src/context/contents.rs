//! Reading the files of a listing again, each to be what it was.

use std::fmt;
use std::io::Write;
use std::path::Path;

use super::digest::FileDigest;
use super::error::ContextError;
use super::listing::{Entry, Node};
use super::mode::FileMode;
use super::path::ContextPath;
use super::stable_file::{BUFFER, StableFile};
use super::tree::{SystemTree, Tree as _};

/// The files of a build context, for whoever sends them one by one instead of in an
/// [`Archive`](super::Archive).
pub struct Contents {
    tree: SystemTree,
}

impl Contents {
    /// The files below the directory `root`, of which listings were made.
    ///
    /// # Errors
    ///
    /// It is no directory any more, or cannot be opened.
    pub fn open(root: &Path) -> Result<Self, ContextError> {
        let tree = SystemTree::open(root).map_err(|error| ContextError::root(root, error))?;
        Ok(Self { tree })
    }

    /// Streams the content of a regular file, in pieces of at most 128 KiB. It is hashed meanwhile: what was
    /// written is what was listed only if there is no error. Of anything else nothing is written.
    ///
    /// # Errors
    ///
    /// The file changed since it was listed, or cannot be read; or `out` failed, which
    /// [`ContextError::io_error`] and [`ContextError::is_broken_pipe`] tell.
    pub fn write(&self, entry: &Entry, out: &mut dyn Write) -> Result<(), ContextError> {
        let Node::File { mode, size, digest } = entry.node() else {
            return Ok(());
        };
        let mut buffer = vec![0; BUFFER];
        let file = open(&self.tree, entry.path(), *mode, *size)?;
        read(&self.tree, entry.path(), &file, digest, &mut buffer, &mut |piece| {
            out.write_all(piece).map_err(ContextError::writing)
        })
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Contents").field(&self.tree.root()).finish()
    }
}

/// Opens a listed file, if it still has this mode and size.
pub(super) fn open<'a>(
    tree: &'a SystemTree,
    path: &'a ContextPath,
    mode: FileMode,
    size: u64,
) -> Result<StableFile<'a, SystemTree>, ContextError> {
    let file = StableFile::open(tree, None, path)?;
    let now = file.stamp();
    // A listing does not say whether its modes are strict; its own are packed either way.
    let modes = [FileMode::normalise(now.mode), FileMode::strict(now.mode)];
    if modes.contains(&mode) && now.size == size {
        return Ok(file);
    }
    Err(ContextError::changed(&path.below(tree.root())))
}

/// Reads it, if it still has this content.
pub(super) fn read(
    tree: &SystemTree,
    path: &ContextPath,
    file: &StableFile<'_, SystemTree>,
    digest: &FileDigest,
    buffer: &mut [u8],
    each: &mut dyn FnMut(&[u8]) -> Result<(), ContextError>,
) -> Result<(), ContextError> {
    let now = file.read(buffer, each)?;
    if now == *digest { Ok(()) } else { Err(ContextError::changed(&path.below(tree.root()))) }
}
