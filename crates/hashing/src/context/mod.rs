//! The build context: what is in it, and the archive that a build gets of it.
//!
//! [`BuildContext`] knows the directory and its [`ignore`] rules, [`Selection`] what a build reads of
//! it, [`Listing`] what that was when it was read, and [`Archive`] packs just that.

pub mod ignore;
pub mod patterns;

mod archive;
mod contents;
mod digest;
mod error;
mod escaped;
mod ignore_file;
mod listing;
mod mode;
mod never;
mod path;
mod scan;
mod selection;
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
mod simd;
mod stable_file;
mod stamp;
mod stat_cache;
mod tree;

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};

pub use self::archive::Archive;
pub use self::contents::Contents;
pub use self::digest::FileDigest;
pub use self::error::{ContextError, ContextErrorKind, SpecialFile};
pub use self::escaped::{Escaped, unescape};
pub use self::listing::{Entry, Listing, Node, Unsorted};
pub use self::mode::FileMode;
pub use self::path::ContextPath;
pub use self::selection::{Selection, Source};
pub use self::stat_cache::StatCache;

use self::ignore::IgnoreRules;
use self::never::Never;
use self::scan::{Manner, scan};
use self::selection::{Resolved, View, resolve};
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
    /// Whether no ignore file applies, which is how directories are listed that no build gets.
    pub without_ignore_file: bool,
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
        let rules = match options.without_ignore_file {
            true => IgnoreRules::default(),
            false => ignore_file::read(&root, options.dockerfile)?,
        };
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
    /// cache knows. The directories that hold something selected are listed as well, and the symbolic
    /// links that lead there.
    ///
    /// What it returns depends on names, contents, links and modes alone, and of modes on the
    /// execute, set-uid, set-gid and sticky bits of files, unless modes are strict: not on where the directory lies, nor on times, owners, umask, or
    /// the order in which things were made.
    ///
    /// # Errors
    ///
    /// Something in the context, after the ignore rules, cannot be read, changes meanwhile, is a
    /// [special file](SpecialFile), or has the reserved name [`Archive::DOCKERFILE_NAME`]; or
    /// more than 255 links lead to something selected. Files that are excluded or not selected are
    /// not opened, and directories only when something below them may be brought back and selected.
    pub fn listing(&self, selection: &Selection) -> Result<Listing, ContextError> {
        let (selection, entries) = self.entries(selection)?;
        let dockerfile = ContextPath::new(Archive::DOCKERFILE_NAME.as_bytes());
        let reads_dockerfile = dockerfile.is_some_and(|name| selection.covers_root_file(&name));
        Ok(Listing::new(entries, reads_dockerfile))
    }

    /// The first of these paths, relative to the root, at which a file would be listed if it were
    /// there, or is. Absolute ones and those with `..` lie elsewhere.
    ///
    /// Follows the links that lead to what is selected, and reads no file.
    ///
    /// # Errors
    ///
    /// A directory or a link on the way to something selected cannot be read.
    pub fn first_listed(
        &self,
        selection: &Selection,
        paths: &[PathBuf],
    ) -> Result<Option<usize>, ContextError> {
        if self.never.holds_root() {
            return Ok(None);
        }
        let view = View { root: &self.root, rules: &self.rules, never: &self.never };
        // Where links lead, and what is not there yet, which no link can lead to.
        let selections = [&resolve(view, selection)?.selection, selection];
        Ok(paths.iter().position(|path| {
            let bytes = never::plain(path).unwrap_or_default();
            let Some(path) = ContextPath::new(&bytes) else {
                return false;
            };
            let selected = selections.iter().any(|selection| self.selects(selection, &path));
            selected && !self.rules.excludes(&path)
        }))
    }

    fn selects(&self, selection: &Selection, path: &ContextPath) -> bool {
        let ways = iter::successors(Some(path.clone()), ContextPath::parent);
        let ways: Vec<ContextPath> = ways.collect();
        let mut choice = selection.root();
        for path in ways.iter().rev() {
            if self.never.holds(path) {
                return false;
            }
            choice = selection.choose(path, &choice);
        }
        choice.selected
    }

    /// Everything selected, sorted by path, and the selection with its links followed.
    fn entries(&self, selection: &Selection) -> Result<(Selection, Vec<Entry>), ContextError> {
        let view = View { root: &self.root, rules: &self.rules, never: &self.never };
        let Resolved { selection, links } = resolve(view, selection)?;
        let scan = if self.portable { scan::<PlainTree> } else { scan::<SystemTree> };
        let entries = scan(&self.root, &self.rules, &self.never, &selection, &self.manner)?;
        self.check_links(&links, &entries)?;
        Ok((selection, entries))
    }

    /// What was selected depends on these links: they must lead where they led before.
    fn check_links(
        &self,
        links: &[(ContextPath, Box<[u8]>)],
        entries: &[Entry],
    ) -> Result<(), ContextError> {
        for (path, text) in links {
            let found = entries.binary_search_by(|entry| entry.path().cmp(path));
            let same = found.is_ok_and(
                |index| matches!(entries[index].node(), Node::Symlink { target } if target == text),
            );
            if !same {
                return Err(ContextError::changed(&path.below(&self.root)));
            }
        }
        Ok(())
    }
}
