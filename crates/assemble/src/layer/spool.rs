//! Contents of an archive, which are read from a file of its unpacked bytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
    file: Mutex<Option<File>>,
}

impl Spool {
    /// One that is made in this directory.
    pub(super) fn new(
        directory: &Path,
        open: Open,
        explain: impl Fn(io::Error) -> AssembleError + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            directory: directory.to_owned(),
            open: Some(open),
            explain: Box::new(explain),
            file: Mutex::new(None),
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
        })
    }

    pub(super) fn fill(&self, file: File) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    /// Reads bytes, at most as many as fit into the buffer.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(self.unpack()?),
        };
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(buffer)
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
        for part in &self.parts {
            zeroes(part.offset - written, out)?;
            let mut done = 0;
            while done < part.length {
                let length = (part.length - done).min(longest as u64) as usize;
                self.spool.read_at(part.stored_at + done, &mut buffer[..length])?;
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
