//! The files that references are looked for in: those that git tracks, and those that it would.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::revision::{RevisionError, git, os_string, output, top_level};

/// Bytes of git's list of files that are read.
const LIST_LIMIT: usize = 1024 * 1024 * 1024;

/// How much of a file is looked at to see whether it is text; git looks at as much.
const HEAD: usize = 8000;

/// The files of a work tree.
pub(crate) struct WorkTree {
    /// What paths are relative to: the top of the repository, or the project's directory where there is
    /// none.
    pub(crate) top: PathBuf,
    /// Where the project lies below that; empty if it is that.
    pub(crate) prefix: String,
    /// Sorted by their bytes; whether there is a regular file is not known.
    pub(crate) paths: Vec<Vec<u8>>,
}

impl WorkTree {
    /// Of the repository that a directory is in: files that are tracked, and those that are neither
    /// tracked nor ignored. Without a repository, all files in the directory.
    pub(crate) async fn of(root: &Path, cancel: &CancellationToken) -> Result<Self, RevisionError> {
        let top = match top_level(root, cancel).await {
            Ok(top) => top,
            Err(RevisionError::NoRepository(_)) => return Self::without_git(root),
            Err(error) => return Err(error),
        };
        let io = |error| RevisionError::Io { directory: root.to_owned(), error };
        let (real_top, real_root) =
            (top.canonicalize().map_err(io)?, root.canonicalize().map_err(io)?);
        let prefix = real_root.strip_prefix(&real_top).unwrap_or(Path::new("")).to_string_lossy();
        let prefix = prefix.into_owned();
        let list = git(&top)
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output_limit(LIST_LIMIT);
        let listed = output(list, cancel).await?;
        let paths = listed.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        // One that is not merged is there several times.
        let paths: BTreeSet<&[u8]> = paths.collect();
        Ok(Self { top: real_top, prefix, paths: paths.into_iter().map(<[u8]>::to_vec).collect() })
    }

    fn without_git(root: &Path) -> Result<Self, RevisionError> {
        let io = |error| RevisionError::Io { directory: root.to_owned(), error };
        let top = root.canonicalize().map_err(io)?;
        let mut paths = Vec::new();
        let mut open = vec![Vec::new()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(top.join(os_string(&directory))).map_err(io)? {
                let entry = entry.map_err(io)?;
                let mut path = directory.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(entry.file_name().as_encoded_bytes());
                if entry.file_type().map_err(io)?.is_dir() {
                    open.push(path);
                } else {
                    paths.push(path);
                }
            }
        }
        paths.sort();
        Ok(Self { top, prefix: String::new(), paths })
    }

    /// Where a path is.
    pub(crate) fn location(&self, path: &[u8]) -> PathBuf {
        self.top.join(os_string(path))
    }

    /// A path as people write it: relative to the project.
    pub(crate) fn shown(&self, path: &[u8]) -> String {
        let path = String::from_utf8_lossy(path);
        if self.prefix.is_empty() {
            return path.into_owned();
        }
        let mut above = self.prefix.split('/').peekable();
        let mut below = path.split('/').peekable();
        while above.peek().is_some() && above.peek() == below.peek() {
            above.next();
            below.next();
        }
        let up = above.map(|_| "..");
        up.chain(below).collect::<Vec<_>>().join("/")
    }
}

/// The bytes of a regular file that is text; of anything else nothing.
pub(crate) fn text_of(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let looked = fs::symlink_metadata(path);
    match looked {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        // Tracked, and gone from the work tree.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut file = fs::File::open(path)?;
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD as u64).read_to_end(&mut bytes)?;
    if bytes.contains(&0) {
        return Ok(None);
    }
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_shown_from_the_project() {
        for (prefix, path, shown) in [
            ("", "a/b", "a/b"),
            ("x", "x/b", "b"),
            ("x/y", "x/b", "../b"),
            ("x/y", "a", "../../a"),
            ("x/y", "x/y/z/a", "z/a"),
            ("x/y", "x/yz/a", "../yz/a"),
        ] {
            let tree =
                WorkTree { top: PathBuf::new(), prefix: prefix.to_owned(), paths: Vec::new() };
            assert_eq!(tree.shown(path.as_bytes()), shown);
        }
    }
}
