//! OCI image layouts: directories that hold images as a registry does (image spec, *Image Layout*).
//!
//! The central type is [`Layout`].
//!
//! # Limitations
//!
//! - Links in the directory are followed as long as they stay inside it. Layouts whose blobs are links
//!   to other directories cannot be read.
//! - Nothing is removed from `blobs` but by [`Layout::sweep`].
//! - The lock on `index.json` binds whoever takes it: dockit and BuildKit. Skopeo, for one, does not.

mod blobs;
mod checked;
mod directory;
mod index;
mod lock;
mod names;
mod new_blob;
mod reference;
mod referrers;
mod repository;
mod seal;
mod seen;
mod sweep;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

pub use new_blob::NewBlob;
pub use reference::{LayoutName, LayoutReference, LayoutReferenceError};
#[cfg(feature = "client")]
pub(crate) use referrers::Referrers;
pub use repository::{RepositoryEntry, Unwanted};
pub use sweep::{DEFAULT_GRACE, Sweep};
#[cfg(feature = "client")]
pub use writer::BlobWriter;

use crate::error::{Error, ErrorKind};
use directory::{Directory, UNFINISHED};
use index::Index;
use lock::{IndexLock, LOCK};
use seen::Seen;

/// The file that marks a directory as a layout.
const MARK: &str = "oci-layout";

const INDEX: &str = "index.json";

const LARGEST_MARK: u64 = 64 * 1024;

/// Largest `index.json` that is read or written, in bytes. 100,000 tags of dockit's take 35 MB.
const LARGEST_INDEX: u64 = 128 * 1024 * 1024;

/// An OCI image layout: named manifests and blobs in a directory. Cheap to clone.
///
/// Every call sees what is there then; `index.json` is read anew when it is another file than before.
/// Blobs and `index.json` are written to other files first and then
/// put in place, so that a reader sees the old or the new, and
/// `index.json` is changed by one process at a time; fields and entries of other tools stay in it. No
/// link leads any of this out of the directory.
///
/// All functions block. An absent image or blob is [`ErrorKind::NotFound`] or `None`; damaged bytes are
/// [`ErrorKind::DigestMismatch`]; what is no layout, or not all of one, is [`ErrorKind::Invalid`]; a
/// directory that cannot be read or written is [`ErrorKind::Storage`].
#[derive(Clone)]
pub struct Layout {
    directory: Directory,
    seen: Seen,
}

impl Layout {
    /// Opens the layout in a directory. The path may lead over links.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`]: there is none, or one of a version that is not known;
    /// [`ErrorKind::Storage`]: it cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let none = || {
            let message = format!("there is no OCI image layout in {}", path.display());
            Error::new(ErrorKind::Invalid, message)
        };
        let directory = Directory::open(path)?.ok_or_else(none)?;
        let mark = directory.read(MARK, LARGEST_MARK)?.ok_or_else(none)?;
        let mark: Value = serde_json::from_slice(&mark)
            .map_err(|error| directory.invalid(MARK, &format!("is damaged: {error}")))?;
        match mark["imageLayoutVersion"].as_str() {
            Some(version) if version.starts_with("1.") => {
                Ok(Self { directory, seen: Seen::default() })
            }
            Some(version) => {
                Err(directory.invalid(MARK, &format!("unknown version {version:?} of layouts")))
            }
            None => Err(directory.invalid(MARK, "is damaged: no imageLayoutVersion")),
        }
    }

    /// Opens the layout in a directory; `None` if the directory is missing or empty, or holds no more
    /// than the beginning of one, so that [`create`](Self::create) would make one there.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn open_if_there(path: &Path) -> Result<Option<Self>, Error> {
        let Some(directory) = Directory::open(path)? else {
            return Ok(None);
        };
        if directory.look_at(MARK)?.is_none() {
            refuse_foreign(&directory)?;
            // Another process may have made one meanwhile.
            if directory.look_at(MARK)?.is_none() {
                return Ok(None);
            }
        }
        Self::open(path).map(Some)
    }

    /// Whether the path that the layout was opened by still leads to it.
    #[cfg(feature = "client")]
    pub fn is_current(&self) -> bool {
        self.directory.is_current()
    }

    /// Sees that there is an index to add to.
    #[cfg(feature = "client")]
    pub(crate) fn check_index(&self) -> Result<(), Error> {
        self.index().map(drop)
    }

    /// Sees that files can be made in the directory, and that there is an index to add to.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`]: they cannot; `index.json` is damaged, or cannot be read.
    pub fn check_writable(&self) -> Result<(), Error> {
        self.index()?;
        self.directory.begin_file().map(drop)
    }

    /// Opens the layout in a directory, or makes an empty one if the directory is missing or empty.
    /// Removes what writers left unfinished a day ago or longer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a directory that holds something else, which stays as it is; as
    /// [`open`](Self::open); or it cannot be made.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let directory = Directory::create(path)?;
        if directory.look_at(MARK)?.is_none() {
            refuse_foreign(&directory)?;
            let _lock = IndexLock::take(&directory)?;
            // Another process may have made one meanwhile, or put other things here.
            if directory.look_at(MARK)?.is_none() {
                refuse_foreign(&directory)?;
                directory.make_directory("blobs")?;
                directory.replace(INDEX, &Index::empty().to_bytes())?;
                // Last: a directory that has it has all.
                let mark = json!({"imageLayoutVersion": "1.0.0"}).to_string();
                directory.replace(MARK, mark.as_bytes())?;
                directory.sync_names()?;
            }
        }
        let layout = Self::open(path)?;
        layout.directory.remove_abandoned()?;
        Ok(layout)
    }

    /// The directory, as it was given.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn index(&self) -> Result<Arc<Index>, Error> {
        let file = self.directory.file(INDEX)?;
        let (file, _) = file.ok_or_else(|| self.directory.invalid(INDEX, "is missing"))?;
        if let Some(index) = self.seen.of(&file) {
            return Ok(index);
        }
        let before = Seen::about_to_read(&file);
        let bytes = self.directory.read_file(INDEX, &file, LARGEST_INDEX)?;
        let index =
            Index::parse(&bytes).map_err(|problem| self.directory.invalid(INDEX, &problem))?;
        let index = Arc::new(index);
        self.seen.keep_if_unchanged(file, before, &index);
        Ok(index)
    }

    /// Reads the index under the lock, changes it, and writes it if `act` says that it changed.
    fn change(&self, act: impl FnOnce(&mut Index) -> Result<bool, Error>) -> Result<(), Error> {
        let lock = IndexLock::take(&self.directory)?;
        self.change_locked(&lock, act)
    }

    fn change_locked(
        &self,
        _: &IndexLock<'_>,
        act: impl FnOnce(&mut Index) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut index = self.index()?.copied();
        if act(&mut index)? {
            let bytes = index.to_bytes();
            if bytes.len() as u64 > LARGEST_INDEX {
                let problem = format!("would have more than {LARGEST_INDEX} bytes");
                return Err(self.directory.invalid(INDEX, &problem));
            }
            self.directory.replace(INDEX, &bytes)?;
            let force = self.seen.is_force_due();
            if force {
                self.directory.sync_names()?;
            }
            if let Ok(Some((file, _))) = self.directory.file(INDEX) {
                self.seen.keep_written(file, bytes.len() as u64, Arc::new(index), force);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Layout").field(&self.directory()).finish()
    }
}

/// Refuses a directory that holds anything but what an interrupted [`Layout::create`] leaves.
fn refuse_foreign(directory: &Directory) -> Result<(), Error> {
    for name in directory.names(".")? {
        let ours = match name.as_str() {
            LOCK => true,
            "blobs" => directory.names("blobs")?.is_empty(),
            INDEX => directory.read(INDEX, LARGEST_INDEX)? == Some(Index::empty().to_bytes()),
            // Another process may have made it between two looks; then it is a layout.
            MARK => true,
            name => name.starts_with(UNFINISHED),
        };
        if !ours {
            let path = directory.path().display();
            let message =
                format!("{path} is no OCI image layout and is not empty: it holds {name:?}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    Ok(())
}
