//! The build context: what is in it, and the archive that a build gets of it.
//!
//! [`BuildContext`] knows the directory and its [`ignore`] rules, [`Listing`] what was in it when it
//! was read, and [`Archive`] packs just that.

pub mod ignore;

mod archive;
mod digest;
mod error;
mod ignore_file;
mod listing;
mod mode;
mod never;
mod path;
mod scan;
mod selection;
#[cfg(all(feature = "simd16", target_arch = "x86_64"))]
mod simd16;
mod stable_file;
mod stamp;
mod stat_cache;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

pub use self::archive::Archive;
pub use self::digest::FileDigest;
pub use self::error::{ContextError, ContextErrorKind, SpecialFile};
pub use self::listing::{Entry, Listing, Node};
pub use self::mode::FileMode;
pub use self::path::ContextPath;
pub use self::selection::Selection;
pub use self::stat_cache::StatCache;

use self::ignore::IgnoreRules;
use self::never::Never;
use self::scan::{Manner, scan};
use self::tree::{PlainTree, SystemTree};

/// The directory of files that a build may read.
///
/// Symbolic links in it are kept as links and never followed; the root itself may be one.
#[derive(Debug)]
pub struct BuildContext {
    root: PathBuf,
    rules: IgnoreRules,
    never: Never,
    manner: Manner,
    portable: bool,
}

/// How a build context is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContextOptions<'a> {
    /// Path of the Dockerfile, as the operating system takes it: `<Dockerfile>.dockerignore` beside
    /// it wins over `<root>/.dockerignore`, even when empty.
    pub dockerfile: Option<&'a Path>,
    /// Paths relative to the root that are never part of the context, with everything below them,
    /// whatever the ignore file says. Absolute ones and those with `..` mean nothing.
    pub never: &'a [PathBuf],
    /// Whether all twelve bits of every mode count, those of directories as well. Then two clones
    /// of one revision agree only if they were made under the same umask.
    pub strict_modes: bool,
    /// Where digests of files are kept from one run to the next. Without one, everything is read.
    pub stat_cache: Option<&'a StatCache>,
    /// Reads the context as on a system for which there is no faster way: with the standard library
    /// alone, and without a stat cache. The listing is the same.
    pub portable: bool,
}

impl BuildContext {
    /// Opens the directory and reads its ignore file, but no other file yet.
    ///
    /// # Errors
    ///
    /// The root is not there or no directory; the ignore file cannot be read, is invalid, or has a
    /// pattern that [`ignore`] refuses.
    pub fn open(
        root: impl Into<PathBuf>,
        options: &ContextOptions<'_>,
    ) -> Result<Self, ContextError> {
        let root = root.into();
        let metadata = fs::metadata(&root).map_err(|error| ContextError::root(&root, error))?;
        if !metadata.is_dir() {
            return Err(ContextError::new(ContextErrorKind::NotADirectory, root));
        }
        let rules = ignore_file::read(&root, options.dockerfile)?;
        let manner =
            Manner { strict_modes: options.strict_modes, stat_cache: options.stat_cache.cloned() };
        let never = Never::new(options.never);
        Ok(Self { root, rules, never, manner, portable: options.portable })
    }

    /// The directory, as it was given.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Walks the directory and hashes the selected files, on all cores, those excepted that the stat
    /// cache knows. The directories that hold
    /// something selected are listed as well.
    ///
    /// What it returns depends on names, contents, links and modes alone, and of modes on the
    /// execute, set-uid, set-gid and sticky bits of files, unless modes are strict: not on where the directory lies, nor on times, owners, umask, or
    /// the order in which things were made.
    ///
    /// # Errors
    ///
    /// Something in the context, after the ignore rules, cannot be read, changes meanwhile, is a
    /// [special file](SpecialFile), or has the reserved name [`Archive::DOCKERFILE_NAME`].
    /// Excluded files are not opened, and excluded directories only when something below them may
    /// be brought back.
    pub fn listing(&self, selection: &Selection) -> Result<Listing, ContextError> {
        self.entries(selection).map(Listing::new)
    }

    /// Everything selected, sorted by path.
    fn entries(&self, selection: &Selection) -> Result<Vec<Entry>, ContextError> {
        let scan = if self.portable { scan::<PlainTree> } else { scan::<SystemTree> };
        scan(&self.root, &self.rules, &self.never, selection, &self.manner)
    }
}
