//! Build contexts: which files a build may read, their hash, and their archive.

mod archive;
mod error;
mod file_digest;
mod ignore;
mod listing;
mod pattern;
mod walk;

use std::path::{Path, PathBuf};

pub use archive::Archive;
pub use error::{ContextError, ContextErrorKind};
pub use file_digest::FileDigest;
pub use ignore::IgnoreRules;
pub use listing::{Entry, FileMode, Listing, Node};

/// A directory that a build may read from, less what its ignore file excludes.
#[derive(Clone, Debug)]
pub struct BuildContext {
    root: PathBuf,
    ignore: IgnoreRules,
    never: Vec<PathBuf>,
}

/// How a build context is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContextOptions<'a> {
    /// The Dockerfile. `<Dockerfile>.dockerignore` beside it is the ignore file if it is there, even
    /// when it is empty; otherwise `.dockerignore` in the context's root is.
    pub dockerfile: Option<&'a Path>,
    /// Paths relative to the context that are never part of it, each with everything below.
    pub never: &'a [PathBuf],
}

impl BuildContext {
    /// Reads the ignore file of a context.
    ///
    /// # Errors
    ///
    /// `root` is no directory, or the ignore file cannot be read or has a pattern that is wrong or
    /// that engines understand differently.
    pub fn open(
        root: impl Into<PathBuf>,
        options: &ContextOptions<'_>,
    ) -> Result<Self, ContextError> {
        let root = root.into();
        if !root.is_dir() {
            return Err(ContextError::new(root, ContextErrorKind::NotADirectory));
        }
        let ignore = read_ignore_file(&root, options.dockerfile)?;
        Ok(Self { root, ignore, never: options.never.to_vec() })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Walks the directory and hashes the files, on all cores.
    ///
    /// # Errors
    ///
    /// See [`ContextErrorKind`]; nothing is left out silently.
    pub fn listing(&self) -> Result<Listing, ContextError> {
        let found = walk::walk(&self.root, &self.ignore, &self.never)?;
        listing::hash_files(&self.root, found)
    }
}

fn read_ignore_file(root: &Path, dockerfile: Option<&Path>) -> Result<IgnoreRules, ContextError> {
    let own = dockerfile.map(|dockerfile| {
        let mut name = dockerfile.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for file in own.into_iter().chain([root.join(".dockerignore")]) {
        match std::fs::read(&file) {
            Ok(text) => {
                return IgnoreRules::parse(&text).map_err(|error| {
                    let (line, message) = (error.line, error.message);
                    ContextError::new(file, ContextErrorKind::Ignore { line, message })
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(ContextError::unreadable(file, error)),
        }
    }
    Ok(IgnoreRules::default())
}
