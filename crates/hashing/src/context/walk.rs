//! Finding what is in a build context.

use std::collections::BTreeSet;
use std::fs::{self, FileType};
use std::path::{Component, Path, PathBuf};

use super::archive::Archive;
use super::error::{ContextError, ContextErrorKind, SpecialFile};
use super::ignore::{IgnoreRules, Verdict};
use super::path::ContextPath;
use super::selection::{Choice, Selection};

/// Something in a build context, not yet looked into.
pub(super) struct Found {
    pub(super) path: ContextPath,
    pub(super) kind: FoundKind,
}

pub(super) enum FoundKind {
    Directory,
    File,
    Symlink { target: Box<[u8]> },
}

/// Paths that are no part of a build context, whatever its ignore file says.
#[derive(Debug)]
pub(super) struct Never(Vec<Box<[u8]>>);

impl Never {
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        Self(paths.iter().filter_map(|path| plain(path)).collect())
    }

    /// Whether everything in the context is below one of the paths.
    fn holds_root(&self) -> bool {
        self.0.iter().any(|path| path.is_empty())
    }

    /// Whether it is one of the paths. What is below one is never reached.
    pub(super) fn holds(&self, path: &ContextPath) -> bool {
        self.0.iter().any(|never| **never == *path.as_bytes())
    }
}

/// The path as [`ContextPath`] spells it, or nothing for the root; none if it leads elsewhere.
fn plain(path: &Path) -> Option<Box<[u8]>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => names.push(name.as_encoded_bytes()),
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return None,
        }
    }
    Some(names.join(&b'/').into())
}

/// Everything that is in the context, sorted by path, each path once.
pub(super) fn walk(
    root: &Path,
    rules: &IgnoreRules,
    never: &Never,
    selection: &Selection,
) -> Result<Vec<Found>, ContextError> {
    let mut walk =
        Walk { root, rules, never, selection, found: Vec::new(), brought_back: BTreeSet::new() };
    let mut directories = Vec::new();
    let choice = selection.root();
    if choice.may_select_below && !never.holds_root() {
        directories.push(Directory { path: None, verdict: Verdict::default(), choice });
    }
    while let Some(directory) = directories.pop() {
        walk.read(&directory, &mut directories)?;
    }
    let brought_back = walk.brought_back.into_iter();
    let mut found = walk.found;
    found.extend(brought_back.map(|path| Found { path, kind: FoundKind::Directory }));
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    found.dedup_by(|one, other| one.path == other.path);
    let reserved = Archive::DOCKERFILE_NAME.as_bytes();
    match found.iter().find(|found| found.path.as_bytes() == reserved) {
        Some(found) => {
            Err(ContextError::new(ContextErrorKind::ReservedName, found.path.below(root)))
        }
        None => Ok(found),
    }
}

struct Walk<'a> {
    root: &'a Path,
    rules: &'a IgnoreRules,
    never: &'a Never,
    selection: &'a Selection,
    found: Vec<Found>,
    /// Directories that are no part of the listing themselves and hold something that is.
    brought_back: BTreeSet<ContextPath>,
}

/// A directory to be read. The root has no path and is never excluded.
struct Directory {
    path: Option<ContextPath>,
    verdict: Verdict,
    choice: Choice,
}

impl Directory {
    fn is_listed(&self) -> bool {
        !self.verdict.excluded && self.choice.selected
    }
}

impl Walk<'_> {
    fn read(
        &mut self,
        directory: &Directory,
        directories: &mut Vec<Directory>,
    ) -> Result<(), ContextError> {
        let location = match &directory.path {
            Some(path) => path.below(self.root),
            None => self.root.to_owned(),
        };
        let reading = |error| ContextError::reading(&location, error);
        let before = self.found.len();
        for entry in fs::read_dir(&location).map_err(reading)? {
            let entry = entry.map_err(reading)?;
            let name = entry.file_name();
            let location = || location.join(&name);
            check_name(&name, &location)?;
            let path = ContextPath::child(directory.path.as_ref(), &name);
            if self.never.holds(&path) {
                continue;
            }
            let verdict = self.rules.judge(&path, &directory.verdict);
            let kind =
                entry.file_type().map_err(|error| ContextError::reading(&location(), error))?;
            let choice = self.selection.choose(&path, &directory.choice);
            let listed = !verdict.excluded && choice.selected;
            if kind.is_dir() {
                let below = choice.may_select_below
                    && (!verdict.excluded || self.rules.may_bring_back_below(path.as_bytes()));
                if listed {
                    self.found.push(Found { path: path.clone(), kind: FoundKind::Directory });
                }
                if below {
                    directories.push(Directory { path: Some(path), verdict, choice });
                }
            } else if listed {
                let kind = look_at(kind, &location())?;
                self.found.push(Found { path, kind });
            }
        }
        if !directory.is_listed() && self.found.len() > before {
            self.bring_back(directory.path.clone());
        }
        Ok(())
    }

    /// Lists a directory that is not, and those above it, as parents of something that is.
    fn bring_back(&mut self, mut path: Option<ContextPath>) {
        while let Some(directory) = path {
            path = directory.parent();
            self.brought_back.insert(directory);
        }
    }
}

fn look_at(kind: FileType, location: &Path) -> Result<FoundKind, ContextError> {
    if kind.is_file() {
        return Ok(FoundKind::File);
    }
    if kind.is_symlink() {
        let target = fs::read_link(location)
            .map_err(|error| ContextError::reading(location, error))?
            .into_os_string()
            .into_encoded_bytes();
        return Ok(FoundKind::Symlink { target: target.into() });
    }
    Err(ContextError::new(ContextErrorKind::SpecialFile(special(kind)), location))
}

#[cfg(unix)]
fn special(kind: FileType) -> SpecialFile {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        SpecialFile::Fifo
    } else if kind.is_socket() {
        SpecialFile::Socket
    } else if kind.is_block_device() || kind.is_char_device() {
        SpecialFile::Device
    } else {
        SpecialFile::Other
    }
}

#[cfg(not(unix))]
fn special(_: FileType) -> SpecialFile {
    SpecialFile::Other
}

/// Every name is bytes here; elsewhere one that is not Unicode has no bytes that all machines
/// would agree on.
#[cfg(unix)]
fn check_name(_: &std::ffi::OsStr, _: &dyn Fn() -> PathBuf) -> Result<(), ContextError> {
    Ok(())
}

#[cfg(not(unix))]
fn check_name(name: &std::ffi::OsStr, location: &dyn Fn() -> PathBuf) -> Result<(), ContextError> {
    match name.to_str() {
        Some(_) => Ok(()),
        None => Err(ContextError::reading(&location(), std::io::ErrorKind::InvalidFilename.into())),
    }
}
