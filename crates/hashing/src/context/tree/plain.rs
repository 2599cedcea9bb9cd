//! Files by their full paths, with the standard library alone.
//!
//! A directory that is exchanged for a link while the tree is read may be followed here: the
//! standard library has no lookup that starts at an open directory.

use std::ffi::OsStr;
use std::fs::{self, File, FileType};
use std::io;
use std::path::{Path, PathBuf};

use super::super::error::SpecialFile;
use super::super::path::ContextPath;
use super::super::stamp::Stamp;
use super::{Failure, Kind, OpenFile, Tree, Way};

/// Works everywhere; a path may not be longer than the operating system takes at once.
pub(in super::super) struct PlainTree(PathBuf);

impl PlainTree {
    fn location(&self, path: Option<&ContextPath>) -> PathBuf {
        path.map_or_else(|| self.0.clone(), |path| path.below(&self.0))
    }
}

impl Tree for PlainTree {
    type Directory = PathBuf;
    type File = File;

    fn open(root: &Path) -> io::Result<Self> {
        Ok(Self(root.to_owned()))
    }

    fn root(&self) -> &Path {
        &self.0
    }

    fn directory(
        &self,
        _: Option<Way<'_, PathBuf>>,
        path: Option<&ContextPath>,
    ) -> Result<PathBuf, Failure> {
        let location = self.location(path);
        if path.is_some() && !fs::symlink_metadata(&location)?.is_dir() {
            return Err(Failure::Changed);
        }
        Ok(location)
    }

    fn directory_stamp(&self, directory: &PathBuf) -> io::Result<Stamp> {
        fs::metadata(directory).map(|metadata| Stamp::of(&metadata))
    }

    /// The standard library does not tell what file system it is.
    fn trusted_device(&self) -> Option<u64> {
        None
    }

    fn list(
        &self,
        directory: &PathBuf,
        each: &mut dyn FnMut(&OsStr, io::Result<Kind>),
    ) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let kind = check_name(&name).and_then(|()| entry.file_type()).map(kind);
            each(&name, kind);
        }
        Ok(())
    }

    fn file(&self, _: Option<&PathBuf>, path: &ContextPath) -> Result<File, Failure> {
        let location = self.location(Some(path));
        // A link is not to be followed, and opening a named pipe would wait for its writer.
        let seen = fs::symlink_metadata(&location)?;
        match kind(seen.file_type()) {
            Kind::File => {}
            Kind::Special(special) => return Err(Failure::Special(special)),
            Kind::Directory | Kind::Symlink => return Err(Failure::Changed),
        }
        let file = File::open(&location)?;
        if Stamp::of(&file.metadata()?) != Stamp::of(&seen) {
            return Err(Failure::Changed);
        }
        Ok(file)
    }

    fn link(&self, _: Option<&PathBuf>, path: &ContextPath) -> Result<Box<[u8]>, Failure> {
        let target = fs::read_link(self.location(Some(path))).map_err(link_failure)?;
        Ok(target.into_os_string().into_encoded_bytes().into())
    }

    fn stat(&self, path: Option<&ContextPath>) -> io::Result<Stamp> {
        let location = self.location(path);
        let metadata =
            if path.is_some() { fs::symlink_metadata(location) } else { fs::metadata(location) };
        Ok(Stamp::of(&metadata?))
    }

    fn stat_in(&self, _: &PathBuf, path: &ContextPath) -> io::Result<Stamp> {
        self.stat(Some(path))
    }
}

/// What is no link any more is said to be an invalid argument.
fn link_failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidInput => Failure::Changed,
        _ => Failure::Io(error),
    }
}

impl OpenFile for File {
    fn stamp(&self) -> io::Result<Stamp> {
        self.metadata().map(|metadata| Stamp::of(&metadata))
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        retry(|| std::os::unix::fs::FileExt::read_at(self, buffer, offset))
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        retry(|| std::os::windows::fs::FileExt::seek_read(self, buffer, offset))
    }
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn kind(kind: FileType) -> Kind {
    if kind.is_dir() {
        Kind::Directory
    } else if kind.is_file() {
        Kind::File
    } else if kind.is_symlink() {
        Kind::Symlink
    } else {
        Kind::Special(special(kind))
    }
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
fn check_name(_: &OsStr) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn check_name(name: &OsStr) -> io::Result<()> {
    match name.to_str() {
        Some(_) => Ok(()),
        None => Err(io::ErrorKind::InvalidFilename.into()),
    }
}
