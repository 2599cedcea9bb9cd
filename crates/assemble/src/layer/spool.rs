//! Contents of an archive, which are read from a file of its unpacked bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::reader::Part;
use crate::error::AssembleError;
use crate::tree::FileContent;

const BUFFER: usize = 128 * 1024;

/// Opens an archive, unpacked, from its beginning. Whoever reads to the end gets an error unless the
/// archive is whole.
pub(super) type Open = Box<dyn Fn() -> Result<Box<dyn Read + Send>, AssembleError> + Send + Sync>;

/// The unpacked bytes of an archive, in a file without a name that is made when the first content is
/// wanted.
pub(super) struct Spool {
    directory: PathBuf,
    open: Option<Open>,
    /// Turns an error of the archive into one that names it.
    explain: Box<dyn Fn(io::Error) -> AssembleError + Send + Sync>,
    /// Shared with whoever reads a content, so that it can be dropped here meanwhile.
    file: Mutex<Option<Arc<Mutex<File>>>>,
    budget: Option<Arc<Budget>>,
}

/// Bounds what the files of several spools have together. Those that were made first are dropped first,
/// and made anew when they are wanted.
pub(super) struct Budget {
    most: u64,
    /// Spools with a file and its size, the oldest first.
    made: Mutex<VecDeque<(Weak<Spool>, u64)>>,
}

impl Budget {
    pub(super) fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most, made: Mutex::default() })
    }

    /// Counts a file that was made, and drops others until they fit. The newest one stays.
    fn count(&self, spool: &Arc<Spool>, size: u64) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|(spool, _)| spool.strong_count() > 0);
        made.push_back((Arc::downgrade(spool), size));
        let mut sum: u64 = made.iter().map(|(_, size)| size).sum();
        while sum > self.most && made.len() > 1 {
            let Some((oldest, size)) = made.pop_front() else {
                return;
            };
            sum -= size;
            if let Some(oldest) = oldest.upgrade() {
                *oldest.file() = None;
            }
        }
    }
}

impl Spool {
    /// One that is made in this directory, and counts for a budget.
    pub(super) fn new(
        directory: &Path,
        budget: Option<Arc<Budget>>,
        open: Open,
        explain: impl Fn(io::Error) -> AssembleError + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            directory: directory.to_owned(),
            open: Some(open),
            explain: Box::new(explain),
            file: Mutex::new(None),
            budget,
        })
    }

    /// One that is there as soon as it is [filled](Self::fill).
    pub(super) fn unfilled(
        explain: impl Fn(io::Error) -> AssembleError + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            directory: PathBuf::new(),
            open: None,
            explain: Box::new(explain),
            file: Mutex::new(None),
            budget: None,
        })
    }

    pub(super) fn fill(&self, file: File) {
        *self.file() = Some(Arc::new(Mutex::new(file)));
    }

    fn file(&self) -> MutexGuard<'_, Option<Arc<Mutex<File>>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, made if it is not there.
    fn opened(self: &Arc<Self>) -> io::Result<Arc<Mutex<File>>> {
        let mut held = self.file();
        if let Some(file) = &*held {
            return Ok(Arc::clone(file));
        }
        let file = self.unpack()?;
        let size = file.metadata()?.len();
        let file = Arc::clone(held.insert(Arc::new(Mutex::new(file))));
        // The budget takes the locks of others.
        drop(held);
        if let Some(budget) = &self.budget {
            budget.count(self, size);
        }
        Ok(file)
    }

    fn unpack(&self) -> Result<File, AssembleError> {
        let unpack = |open: &Open| -> Result<File, AssembleError> {
            let mut file = tempfile::tempfile_in(&self.directory).map_err(&self.explain)?;
            io::copy(&mut open()?, &mut file).map_err(&self.explain)?;
            Ok(file)
        };
        match &self.open {
            Some(open) => unpack(open),
            None => Err((self.explain)(io::Error::other("its contents are not there"))),
        }
    }
}

/// The content of a file of an archive.
pub(super) struct Stored {
    pub(super) spool: Arc<Spool>,
    pub(super) size: u64,
    pub(super) parts: Vec<Part>,
}

impl FileContent for Stored {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let longest = self.size.min(BUFFER as u64) as usize;
        let mut buffer = vec![0; longest];
        let mut written = 0;
        let file = if self.parts.is_empty() { None } else { Some(self.spool.opened()?) };
        let read_at = |position, buffer: &mut [u8]| {
            let file = file.as_ref().expect("there is one where there are parts");
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(position))?;
            file.read_exact(buffer)
        };
        for part in &self.parts {
            zeroes(part.offset - written, out)?;
            let mut done = 0;
            while done < part.length {
                let length = (part.length - done).min(longest as u64) as usize;
                read_at(part.stored_at + done, &mut buffer[..length])?;
                out.write_all(&buffer[..length])?;
                done += length as u64;
            }
            written = part.offset + part.length;
        }
        zeroes(self.size - written, out)
    }
}

fn zeroes(count: u64, out: &mut dyn Write) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(count), out).map(drop)
}
