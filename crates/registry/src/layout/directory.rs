//! A layout's directory, which no link leads out of.

use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use super::checked;
use super::lock::IndexLock;
use crate::digest::Digest;
use crate::error::{Details, Error, ErrorKind};

/// Largest blob whose bytes are looked at each time somebody relies on it, and that are not forced onto
/// the disk before something is to lead to it.
pub(super) const LOOKED_AT: u64 = 1024 * 1024;

/// What names of unfinished files begin with.
pub(super) const UNFINISHED: &str = ".dockit-unfinished-";

/// How long an unfinished file that nobody writes to is left alone.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory that is open. Names are relative to it; links in it are followed as long as they stay
/// inside, and only regular files are opened.
#[derive(Clone)]
pub(super) struct Directory {
    dir: Arc<Dir>,
    path: PathBuf,
    unforced: Arc<Mutex<Unforced>>,
}

/// How many files are forced onto the disk at a time.
const FORCED_AT_A_TIME: usize = 8;

/// What is forced onto the disk.
enum Job<'a> {
    Open(&'a str, &'a File),
    Blob(&'a str),
    /// The names in a directory.
    Names(&'a Path),
}

/// Small blobs that were written or relied upon, by name.
#[derive(Default)]
struct Unforced {
    /// They may not be on the disk yet.
    waiting: BTreeSet<String>,
    /// They are.
    forced: BTreeSet<String>,
}

impl Directory {
    /// Opens it; `None` if nothing is there. The path itself may lead over links.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Error> {
        match Dir::open_ambient_dir(path, ambient_authority()) {
            Ok(dir) => Ok(Some(Self::of(dir, path))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(path, "cannot be opened as a directory", error)),
        }
    }

    /// Opens it, and makes it and those above it if they are missing.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let dir = Dir::create_ambient_dir_all(path, ambient_authority())
            .and_then(|()| Dir::open_ambient_dir(path, ambient_authority()))
            .map_err(|error| failed(path, "cannot be made", error))?;
        Ok(Self::of(dir, path))
    }

    fn of(dir: Dir, path: &Path) -> Self {
        Self { dir: Arc::new(dir), path: path.to_owned(), unforced: Arc::default() }
    }

    /// Where it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The full path of a name, for messages.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// An error about a name in it.
    pub(super) fn failed(&self, name: &str, what: &str, error: io::Error) -> Error {
        failed(&self.path_of(name), what, error)
    }

    /// An [`ErrorKind::Invalid`] about a name in it.
    pub(super) fn invalid(&self, name: &str, what: &str) -> Error {
        Error::new(ErrorKind::Invalid, format!("{}: {what}", self.path_of(name).display()))
    }

    /// Opens a regular file to read, and says how large it is in bytes; `None` if nothing is there.
    pub(super) fn file(&self, name: &str) -> Result<Option<(File, u64)>, Error> {
        let unreadable = |error| self.failed(name, "cannot be read", error);
        // Opening a device can do things, so it is looked at before; it may be another one afterwards.
        match self.dir.metadata(name) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(self.invalid(name, "is no regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        }
        let file = match self.dir.open_with(name, options().read(true)) {
            Ok(file) => file.into_std(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(self.invalid(name, "is no regular file"));
        }
        Ok(Some((file, metadata.len())))
    }

    /// The bytes of a regular file of at most `limit` bytes; `None` if nothing is there.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some((file, _)) = self.file(name)? else {
            return Ok(None);
        };
        self.read_file(name, &file, limit).map(Some)
    }

    /// The bytes of an open file of at most `limit` bytes.
    pub(super) fn read_file(&self, name: &str, file: &File, limit: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.failed(name, "cannot be read", error))?;
        if bytes.len() as u64 > limit {
            return Err(self.invalid(name, &format!("has more than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// Opens a regular file to read and write, empty if it is new.
    pub(super) fn open_or_make(&self, name: &str) -> Result<File, Error> {
        let unwritable = |error| self.failed(name, "cannot be written", error);
        let mut options = options();
        let file = self
            .dir
            .open_with(name, options.read(true).write(true).create(true))
            .map_err(unwritable)?
            .into_std();
        if file.metadata().map_err(unwritable)?.is_file() {
            Ok(file)
        } else {
            Err(self.invalid(name, "is no regular file"))
        }
    }

    /// What a name stands for, itself and not what it links to; `None` if nothing is there.
    pub(super) fn look_at(&self, name: &str) -> Result<Option<cap_std::fs::Metadata>, Error> {
        match self.dir.symlink_metadata(name) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(name, "cannot be read", error)),
        }
    }

    /// The names in it, or in a directory inside; none if that is not there.
    pub(super) fn names(&self, inside: &str) -> Result<Vec<String>, Error> {
        let unreadable = |error| self.failed(inside, "cannot be read", error);
        let entries = match self.dir.read_dir(inside) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(error)),
        };
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()
            .map_err(unreadable)
    }

    /// Makes a directory inside, unless it is there, and sees that its name lasts.
    pub(super) fn make_directory(&self, name: &str) -> Result<(), Error> {
        match self.dir.create_dir(name) {
            Ok(()) => self
                .sync(Path::new(name).parent().unwrap_or(Path::new("")))
                .map_err(|error| self.failed(name, "cannot be made", error)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(self.failed(name, "cannot be made", error)),
        }
    }

    /// Removes a name, if it is there.
    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        match self.dir.remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed(name, "cannot be removed", error))
            }
            _ => Ok(()),
        }
    }

    /// Begins a file that has no name of its own yet.
    pub(super) fn begin_file(&self) -> Result<Unfinished, Error> {
        loop {
            let name = format!("{UNFINISHED}{:016x}", RandomState::new().hash_one(0_u8));
            match self.dir.open_with(&name, options().write(true).create_new(true)) {
                Ok(file) => {
                    let directory = self.clone();
                    return Ok(Unfinished { directory, name: Some(name), file: file.into_std() });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.failed(&name, "cannot be written", error)),
            }
        }
    }

    /// Replaces a file in one step: who reads it sees what it held before, or these bytes; also after a
    /// loss of power, for which the bytes are on the disk before they get the name, and so are the small
    /// blobs, with their names, that were written or relied upon since the last time. Which of both it is
    /// then is certain after [`sync_names`](Self::sync_names).
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut file = self.begin_file()?;
        io::Write::write_all(&mut file.file, bytes)
            .map_err(|error| self.failed(name, "cannot be written", error))?;
        let waiting = self.unforced().waiting.clone();
        let parents: BTreeSet<&Path> =
            waiting.iter().filter_map(|name| Path::new(name).parent()).collect();
        let jobs: Vec<Job<'_>> = [Job::Open(name, &file.file)]
            .into_iter()
            .chain(waiting.iter().map(|name| Job::Blob(name)))
            .chain(parents.into_iter().map(Job::Names))
            .collect();
        self.force(&jobs)?;
        let mut unforced = self.unforced();
        for name in &waiting {
            unforced.waiting.remove(name);
        }
        unforced.forced.extend(waiting);
        drop(unforced);
        file.put(name)
    }

    /// Does all of these, several at a time: file systems force what is asked for at the same time
    /// together, and one after the other takes several times as long.
    fn force(&self, jobs: &[Job<'_>]) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.force_one(job)?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..jobs.len().min(FORCED_AT_A_TIME))
                .map(|_| std::thread::Builder::new().spawn_scoped(scope, work))
                .collect();
            let mut done = work();
            // One that could not be started has left its share to the others.
            for other in others.into_iter().flatten() {
                done = done.and(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            done
        })
    }

    fn force_one(&self, job: &Job<'_>) -> Result<(), Error> {
        match job {
            Job::Open(name, file) => {
                file.sync_data().map_err(|error| self.failed(name, "cannot be written", error))
            }
            // One that is gone is missed by whoever names what needs it.
            Job::Blob(name) => match self.file(name)? {
                Some((file, _)) => self.force_one(&Job::Open(name, &file)),
                None => Ok(()),
            },
            Job::Names(inside) => self
                .sync(inside)
                .map_err(|error| failed(&self.path.join(inside), "cannot be written", error)),
        }
    }

    /// Sees that the names of the files in the directory itself last over a loss of power.
    pub(super) fn sync_names(&self) -> Result<(), Error> {
        self.sync(Path::new("")).map_err(|error| failed(&self.path, "cannot be written", error))
    }

    fn unforced(&self) -> MutexGuard<'_, Unforced> {
        self.unforced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a file is as good as written now, if it is there and has this size; `false` if it has
    /// to be written.
    pub(super) fn renew(&self, name: &str, size: u64) -> Result<bool, Error> {
        match self.file(name)? {
            Some((file, found)) if found == size => {
                match file.set_modified(SystemTime::now()) {
                    Ok(()) => {
                        // Another process may have written it a moment ago, and not named it yet.
                        let mut unforced = self.unforced();
                        if size <= LOOKED_AT && !unforced.forced.contains(name) {
                            unforced.waiting.insert(name.to_owned());
                        }
                        Ok(true)
                    }
                    // Somebody else's, who alone may set its time: it can be replaced.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
                    Err(error) => Err(self.failed(name, "cannot be written", error)),
                }
            }
            _ => Ok(false),
        }
    }

    /// Whether the path still leads to this directory, and not to one that was made in its place.
    #[cfg(feature = "client")]
    pub(super) fn is_current(&self) -> bool {
        #[cfg(unix)]
        {
            use cap_std::fs::MetadataExt as _;
            use std::os::unix::fs::MetadataExt as _;

            let there = std::fs::metadata(&self.path);
            let here = self.dir.dir_metadata();
            matches!((there, here), (Ok(there), Ok(here))
                if (there.dev(), there.ino()) == (here.dev(), here.ino()))
        }
        #[cfg(not(unix))]
        {
            self.path.is_dir()
        }
    }

    /// Removes unfinished files that nobody has written to for a day.
    pub(super) fn remove_abandoned(&self) -> Result<(), Error> {
        let now = SystemTime::now();
        for name in self.names(".")?.iter().filter(|name| name.starts_with(UNFINISHED)) {
            let Some(metadata) = self.look_at(name)? else {
                continue;
            };
            let written = metadata.modified().ok().map(cap_std::time::SystemTime::into_std);
            let age = written.and_then(|written| now.duration_since(written).ok());
            if metadata.is_file() && age.is_some_and(|age| age > ABANDONED_AFTER) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Sees that names in a directory inside last over a loss of power.
    fn sync(&self, inside: &Path) -> io::Result<()> {
        // Elsewhere directories cannot be opened as files.
        if !cfg!(unix) {
            return Ok(());
        }
        let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
        match self.dir.open(inside)?.into_std().sync_all() {
            // Not every file system can.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            done => done,
        }
    }
}

/// A file that is being written. Unless it is finished, it is removed when dropped.
pub(super) struct Unfinished {
    directory: Directory,
    /// `None` once it has its own.
    name: Option<String>,
    pub(super) file: File,
}

impl Unfinished {
    /// Gives the file the name of a blob, in place of what had it. A sweep that took what was there
    /// before for old does not come in between.
    ///
    /// The bytes of a large blob are on the disk then, which takes a while and need not happen under the
    /// lock. Those of a small one follow before `index.json` is written, which is to lead there.
    pub(super) fn finish(mut self, name: &str, digest: &Digest) -> Result<(), Error> {
        let metadata = self.file.metadata();
        let is_large = metadata.map_or(true, |metadata| metadata.len() > LOOKED_AT);
        if is_large {
            self.sync(name)?;
        }
        let directory = self.directory.clone();
        let _lock = IndexLock::take(&directory)?;
        self.put(name)?;
        if is_large {
            // Whoever wrote it has hashed it.
            checked::keep(&self.file, digest);
            let parent = Path::new(name).parent().unwrap_or(Path::new(""));
            let synced = directory.sync(parent);
            synced.map_err(|error| directory.failed(name, "cannot be written", error))?;
        } else {
            let mut unforced = directory.unforced();
            unforced.forced.remove(name);
            unforced.waiting.insert(name.to_owned());
        }
        Ok(())
    }

    /// Sees that the bytes are on the disk.
    fn sync(&self, name: &str) -> Result<(), Error> {
        let synced = self.file.sync_data();
        synced.map_err(|error| self.directory.failed(name, "cannot be written", error))
    }

    fn put(&mut self, name: &str) -> Result<(), Error> {
        let directory = &self.directory;
        let unfinished = self.name.as_deref().unwrap_or_default();
        directory
            .dir
            .rename(unfinished, &directory.dir, name)
            .map_err(|error| directory.failed(name, "cannot be written", error))?;
        self.name = None;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // What stays is removed as abandoned.
            let _ = self.directory.remove(name);
        }
    }
}

/// Options with which the open of a pipe does not wait for its other end.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use cap_std::fs::OpenOptionsExt as _;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    options
}

fn failed(path: &Path, what: &str, error: io::Error) -> Error {
    let path = path.display();
    // The error for paths that lead out is made by cap-std and not by the system.
    let leads_out =
        error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none();
    let (kind, message) = if leads_out {
        (ErrorKind::Invalid, format!("{path}: a link leads out of the layout"))
    } else if error.kind() == io::ErrorKind::NotADirectory {
        (ErrorKind::Invalid, format!("{path} {what}: {error}"))
    } else {
        (ErrorKind::Storage, format!("{path} {what}: {error}"))
    };
    Error::with_details(
        kind,
        message,
        Details { source: Some(Box::new(error)), ..Details::default() },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(directory: &Directory) -> usize {
        directory.unforced().waiting.len()
    }

    fn write(directory: &Directory, name: &str, size: u64) {
        let mut file = directory.begin_file().unwrap();
        let bytes = vec![7; usize::try_from(size).unwrap()];
        io::Write::write_all(&mut file.file, &bytes).unwrap();
        file.finish(name, &Digest::of(b"")).unwrap();
    }

    #[test]
    fn small_blobs_are_forced_before_a_file_is_replaced() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::create(temporary.path()).unwrap();
        directory.make_directory("blobs").unwrap();
        for number in 0..20 {
            write(&directory, &format!("blobs/{number}"), 10);
        }
        write(&directory, "blobs/large", LOOKED_AT + 1);
        assert_eq!(waiting(&directory), 20, "the large one was forced when it was finished");
        directory.remove("blobs/3").unwrap();
        directory.clone().replace("index", b"{}").unwrap();
        assert_eq!(waiting(&directory), 0);

        assert!(directory.renew("blobs/4", 10).unwrap());
        assert_eq!(waiting(&directory), 0, "it has been forced");
        write(&directory, "blobs/4", 10);
        assert_eq!(waiting(&directory), 1, "it is another file");
        let other = Directory::open(temporary.path()).unwrap().unwrap();
        assert!(other.renew("blobs/5", 10).unwrap());
        assert_eq!(waiting(&other), 1, "nothing is known of who wrote it");
    }

    #[test]
    fn a_blob_that_cannot_be_forced_keeps_the_file_from_being_replaced() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::create(temporary.path()).unwrap();
        directory.make_directory("blobs").unwrap();
        directory.replace("index", b"before").unwrap();
        write(&directory, "blobs/1", 10);
        directory.remove("blobs/1").unwrap();
        directory.make_directory("blobs/1").unwrap();
        assert!(directory.replace("index", b"after").is_err());
        assert_eq!(directory.read("index", 10).unwrap().unwrap(), b"before");
        assert_eq!(waiting(&directory), 1);
        assert!(directory.names(".").unwrap().iter().all(|name| !name.starts_with(UNFINISHED)));
    }
}
