//! Finding what is in a build context.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::error::{ContextError, ContextErrorKind};
use super::ignore::{IgnoreRules, Matches};
use super::listing::FileMode;

/// An entry as the walk finds it: files are not read yet.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: Vec<u8>,
    pub(super) node: FoundNode,
}

#[derive(Debug)]
pub(super) enum FoundNode {
    Directory,
    File { mode: FileMode },
    Symlink { target: Vec<u8> },
}

/// Everything in the context, sorted by the bytes of the paths.
pub(super) fn walk(
    root: &Path,
    ignore: &IgnoreRules,
    never: &[PathBuf],
) -> Result<Vec<Found>, ContextError> {
    let mut walk = Walk { root, ignore, never, found: Vec::new() };
    walk.directory(root, b"", &Matches::default())?;
    walk.found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(walk.found)
}

struct Walk<'a> {
    root: &'a Path,
    ignore: &'a IgnoreRules,
    never: &'a [PathBuf],
    found: Vec<Found>,
}

impl Walk<'_> {
    /// Walks a directory; returns whether anything in it belongs to the context.
    fn directory(
        &mut self,
        directory: &Path,
        prefix: &[u8],
        parent: &Matches,
    ) -> Result<bool, ContextError> {
        let unreadable = |error| ContextError::unreadable(directory, error);
        let mut any = false;
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = name_bytes(&entry.file_name());
            let mut path = prefix.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend(&name);
            any |= self.entry(&entry.path(), path, parent)?;
        }
        Ok(any)
    }

    /// Takes one entry; returns whether it, or something below it, belongs to the context.
    fn entry(
        &mut self,
        full: &Path,
        path: Vec<u8>,
        parent: &Matches,
    ) -> Result<bool, ContextError> {
        if full
            .strip_prefix(self.root)
            .is_ok_and(|path| self.never.iter().any(|never| never == path))
        {
            return Ok(false);
        }
        let matches = self.ignore.matches(&path, parent);
        let metadata = match std::fs::symlink_metadata(full) {
            Ok(metadata) => metadata,
            Err(_) if matches.excluded => return Ok(false),
            Err(error) => return Err(ContextError::unreadable(full, error)),
        };
        if metadata.is_dir() {
            if matches.excluded && !self.ignore.may_include_below(&path) {
                return Ok(false);
            }
            let any = self.directory(full, &path, &matches)?;
            // An excluded directory comes back as the parent of what is taken back in.
            let belongs = any || !matches.excluded;
            if belongs {
                self.found.push(Found { path, node: FoundNode::Directory });
            }
            return Ok(belongs);
        }
        if matches.excluded {
            return Ok(false);
        }
        if path == Archive::DOCKERFILE_NAME.as_bytes() {
            return Err(ContextError::new(full, ContextErrorKind::ReservedName));
        }
        let node = node(full, &metadata)?;
        self.found.push(Found { path, node });
        Ok(true)
    }
}

fn node(full: &Path, metadata: &Metadata) -> Result<FoundNode, ContextError> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(FoundNode::File { mode: FileMode::of(metadata) });
    }
    if kind.is_symlink() {
        let target =
            std::fs::read_link(full).map_err(|error| ContextError::unreadable(full, error))?;
        return Ok(FoundNode::Symlink { target: name_bytes(target.as_os_str()) });
    }
    Err(ContextError::new(full, ContextErrorKind::Special(special(&kind))))
}

#[cfg(unix)]
fn special(kind: &std::fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(not(unix))]
fn special(_: &std::fs::FileType) -> &'static str {
    "special file"
}

/// The bytes of a name as the archive holds them, `/` between components.
#[cfg(unix)]
fn name_bytes(name: &OsStr) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt as _;
    name.as_bytes().to_vec()
}

#[cfg(not(unix))]
fn name_bytes(name: &OsStr) -> Vec<u8> {
    name.to_string_lossy().replace('\\', "/").into_bytes()
}

/// The path of an entry below `root`.
#[cfg(unix)]
pub(super) fn full_path(root: &Path, path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    root.join(OsStr::from_bytes(path))
}

#[cfg(not(unix))]
pub(super) fn full_path(root: &Path, path: &[u8]) -> PathBuf {
    root.join(String::from_utf8_lossy(path).as_ref())
}
