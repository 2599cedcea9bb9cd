//! Small directory trees for tests.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use dockit_hashing::content_hash::ContentHash;
use dockit_hashing::context::{BuildContext, ContextError, ContextOptions, Listing, Selection};
use tempfile::TempDir;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Directory,
    File { content: Vec<u8>, mode: u32 },
    Link(Vec<u8>),
}

/// A directory tree as a value. Directories that hold something need not be named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree(pub(crate) BTreeMap<Vec<u8>, Item>);

impl Tree {
    pub(crate) fn file(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.mode(path, content, 0o644)
    }

    pub(crate) fn mode(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>, mode: u32) -> Self {
        self.with(path, Item::File { content: content.as_ref().to_vec(), mode })
    }

    pub(crate) fn link(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.with(path, Item::Link(target.as_ref().to_vec()))
    }

    pub(crate) fn directory(self, path: impl AsRef<[u8]>) -> Self {
        self.with(path, Item::Directory)
    }

    pub(crate) fn with(mut self, path: impl AsRef<[u8]>, item: Item) -> Self {
        self.0.insert(path.as_ref().to_vec(), item);
        self
    }

    /// Makes the tree in a new temporary directory.
    pub(crate) fn plant(&self) -> TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        self.0.iter().for_each(|(path, item)| make(root.path(), path, item));
        root
    }

    /// The same, the last path first.
    pub(crate) fn plant_backwards(&self) -> TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        self.0.iter().rev().for_each(|(path, item)| make(root.path(), path, item));
        root
    }

    /// The hash of its listing.
    pub(crate) fn hash(&self) -> ContentHash {
        list(self.plant().path()).hash()
    }

    /// The paths in its listing.
    pub(crate) fn paths(&self) -> Vec<String> {
        paths(&list(self.plant().path()))
    }
}

fn make(root: &Path, path: &[u8], item: &Item) {
    let location = at(root, path);
    let parent = location.parent().expect("a path below the root");
    fs::create_dir_all(parent).expect("the parent directory");
    match item {
        Item::Directory => fs::create_dir_all(&location).expect("the directory"),
        Item::File { content, mode } => {
            fs::write(&location, content).expect("the file");
            chmod(&location, *mode);
        }
        Item::Link(target) => {
            symlink(OsStr::from_bytes(target), &location).expect("the link");
        }
    }
}

pub(crate) fn at(root: &Path, path: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(path))
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the mode");
}

pub(crate) fn paths(listing: &Listing) -> Vec<String> {
    listing.entries().iter().map(|entry| entry.path().to_string()).collect()
}

pub(crate) fn try_list(root: &Path) -> Result<Listing, ContextError> {
    try_list_with(root, &ContextOptions::default(), &Selection::whole())
}

pub(crate) fn list(root: &Path) -> Listing {
    try_list(root).expect("a listing")
}

/// Lists in the usual way alone, where both would take too long or one cannot.
pub(crate) fn list_fast(root: &Path) -> Listing {
    BuildContext::open(root, &ContextOptions::default())
        .and_then(|context| context.listing(&Selection::whole()))
        .expect("a listing")
}

pub(crate) fn list_with(root: &Path, options: &ContextOptions<'_>) -> Listing {
    try_list_with(root, options, &Selection::whole()).expect("a listing")
}

/// Lists in both ways there are, which must come to the same.
pub(crate) fn try_list_with(
    root: &Path,
    options: &ContextOptions<'_>,
    selection: &Selection,
) -> Result<Listing, ContextError> {
    let list = |options| BuildContext::open(root, &options)?.listing(selection);
    let fast = list(*options);
    let portable = list(ContextOptions { portable: true, ..*options });
    match (&fast, &portable) {
        (Ok(fast), Ok(portable)) => assert_eq!(fast, portable),
        (fast, portable) => assert_eq!(told(fast), told(portable)),
    }
    fast
}

fn told(result: &Result<Listing, ContextError>) -> Result<(), String> {
    result.as_ref().map(|_| ()).map_err(ToString::to_string)
}
