//! Files through descriptors of directories.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::super::error::SpecialFile;
use super::super::path::ContextPath;
use super::super::stamp::{Stamp, Time};
use super::{Failure, Kind, OpenFile, Tree};

/// Bytes of a path that the kernel takes at once, with room for the NUL.
const PIECE: usize = 4000;

/// Bytes of a directory that are read at once.
const NAMES: usize = 32 * 1024;

/// File systems whose stamps tell every change, by the numbers that statfs(2) gives them; see
/// [`stat_cache`](super::super::stat_cache).
const TRUSTED: [u32; 5] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // XFS
    0x9123_683e, // Btrfs
    0xf2f5_2010, // F2FS
    0x2fc1_2fc1, // ZFS
];

/// Keeps only the root open. Whatever is deeper is found from there, a piece of the path at a time
/// when it is long; so neither depth nor width of the tree uses up descriptors.
pub(in super::super) struct LinuxTree {
    location: PathBuf,
    root: OwnedFd,
    /// Whether reading may leave the time of last access alone. Only owners may ask for that.
    no_access_time: AtomicBool,
}

impl LinuxTree {
    /// The directory from which the last piece of the path is looked up, and that piece. Between
    /// pieces, directories are opened and closed again.
    fn last_piece<'p>(&self, path: &'p [u8]) -> rustix::io::Result<(Option<OwnedFd>, &'p [u8])> {
        let mut rest = path;
        let mut near: Option<OwnedFd> = None;
        while rest.len() > PIECE {
            // A name has at most 255 bytes.
            let Some(end) = rest[..PIECE].iter().rposition(|byte| *byte == b'/') else {
                return Err(Errno::NAMETOOLONG);
            };
            let from = near.as_ref().unwrap_or(&self.root).as_fd();
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let next = retry(|| rustix::fs::openat(from, &rest[..end], flags, Mode::empty()))?;
            near = Some(next);
            rest = &rest[end + 1..];
        }
        Ok((near, rest))
    }

    /// Calls `look` with a directory and a path from there.
    fn with_near<R>(
        &self,
        directory: Option<&OwnedFd>,
        path: &ContextPath,
        look: impl Fn(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<R>,
    ) -> rustix::io::Result<R> {
        if let Some(directory) = directory {
            return retry(|| look(directory.as_fd(), path.name()));
        }
        let (near, rest) = self.last_piece(path.as_bytes())?;
        let from = near.as_ref().unwrap_or(&self.root).as_fd();
        retry(|| look(from, rest))
    }

    fn open_at(
        &self,
        from: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
    ) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if self.no_access_time.load(Ordering::Relaxed) {
            match rustix::fs::openat(from, path, flags | OFlags::NOATIME, Mode::empty()) {
                Err(Errno::PERM) => self.no_access_time.store(false, Ordering::Relaxed),
                result => return result,
            }
        }
        rustix::fs::openat(from, path, flags, Mode::empty())
    }
}

impl Tree for LinuxTree {
    type Directory = OwnedFd;
    type File = OwnedFd;

    fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let location = root.to_owned();
        let root = retry(|| rustix::fs::openat(CWD, root, flags, Mode::empty()))?;
        Ok(Self { location, root, no_access_time: AtomicBool::new(true) })
    }

    fn root(&self) -> &Path {
        &self.location
    }

    fn directory(&self, path: Option<&ContextPath>) -> Result<OwnedFd, Failure> {
        let opened = match path {
            Some(path) => {
                self.with_near(None, path, |from, path| self.open_at(from, path, OFlags::DIRECTORY))
            }
            None => retry(|| self.open_at(self.root.as_fd(), b".", OFlags::DIRECTORY)),
        };
        opened.map_err(failure)
    }

    fn near(&self, path: Option<&ContextPath>) -> Result<OwnedFd, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |from: BorrowedFd<'_>, path: &[u8]| {
            rustix::fs::openat(from, path, flags, Mode::empty())
        };
        let opened = match path {
            Some(path) => self.with_near(None, path, open),
            None => retry(|| open(self.root.as_fd(), b".")),
        };
        opened.map_err(failure)
    }

    fn directory_stamp(&self, directory: &OwnedFd) -> io::Result<Stamp> {
        directory.stamp()
    }

    fn trusted_device(&self) -> Option<u64> {
        let kind = rustix::fs::fstatfs(&self.root).ok()?.f_type as u32;
        TRUSTED.contains(&kind).then(|| self.root.stamp().ok())?.map(|stamp| stamp.device)
    }

    fn list(
        &self,
        directory: &OwnedFd,
        each: &mut dyn FnMut(&OsStr, io::Result<Kind>),
    ) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); NAMES];
        let mut entries = RawDir::new(directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Err(Errno::INTR) => continue,
                entry => entry?,
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                // The file system does not say it here.
                FileType::Unknown => rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map(|stat| Kind::of_mode(stat.st_mode)),
                known => Ok(kind(known)),
            };
            each(OsStr::from_bytes(name.to_bytes()), kind.map_err(io::Error::from));
        }
        Ok(())
    }

    fn file(&self, directory: Option<&OwnedFd>, path: &ContextPath) -> Result<OwnedFd, Failure> {
        self.with_near(directory, path, |from, path| self.open_at(from, path, OFlags::empty()))
            .map_err(failure)
    }

    fn link(&self, directory: Option<&OwnedFd>, path: &ContextPath) -> Result<Box<[u8]>, Failure> {
        let target = self.with_near(directory, path, |from, path| {
            rustix::fs::readlinkat(from, path, Vec::new())
        });
        match target {
            Ok(target) => Ok(target.into_bytes().into()),
            // It is no link any more.
            Err(Errno::INVAL) => Err(Failure::Changed),
            Err(error) => Err(failure(error)),
        }
    }

    fn stat(&self, path: Option<&ContextPath>) -> io::Result<Stamp> {
        let stat = match path {
            Some(path) => self.with_near(None, path, |from, path| {
                rustix::fs::statat(from, path, AtFlags::SYMLINK_NOFOLLOW)
            })?,
            None => rustix::fs::fstat(&self.root)?,
        };
        Ok(stamp(&stat))
    }

    fn stat_in(&self, directory: &OwnedFd, path: &ContextPath) -> io::Result<Stamp> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(stamp(&retry(|| rustix::fs::statat(directory, path.name(), flags))?))
    }
}

impl OpenFile for OwnedFd {
    fn stamp(&self) -> io::Result<Stamp> {
        Ok(stamp(&rustix::fs::fstat(self)?))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(retry(|| rustix::io::pread(self, &mut *buffer, offset))?)
    }
}

fn retry<R>(mut call: impl FnMut() -> rustix::io::Result<R>) -> rustix::io::Result<R> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// What was listed as a file or directory and is a link now is said to be a loop; a socket cannot
/// be opened.
fn failure(error: Errno) -> Failure {
    match error {
        Errno::LOOP | Errno::NXIO => Failure::Changed,
        error => Failure::Io(error.into()),
    }
}

fn kind(kind: FileType) -> Kind {
    match kind {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Special(SpecialFile::Fifo),
        FileType::Socket => Kind::Special(SpecialFile::Socket),
        FileType::CharacterDevice | FileType::BlockDevice => Kind::Special(SpecialFile::Device),
        FileType::Unknown => Kind::Special(SpecialFile::Other),
    }
}

fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: stat.st_size as u64,
        mode: stat.st_mode,
        modified: Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
        changed: Time { seconds: stat.st_ctime, nanoseconds: stat.st_ctime_nsec as u32 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_on_a_disk_is_not_trusted() {
        for root in ["/proc", "/sys"] {
            let tree = LinuxTree::open(Path::new(root)).expect("opened");
            assert_eq!(tree.trusted_device(), None, "{root}");
        }
    }
}
