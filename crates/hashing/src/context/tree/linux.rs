//! Files through descriptors of directories.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;

use super::super::error::SpecialFile;
use super::super::path::ContextPath;
use super::super::stamp::{Stamp, Time};
use super::{Failure, Kind, OpenFile, Tree, Way};

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

/// A directory to look things up in.
const PLACE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// No link is followed, and nothing above the directory is reached.
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Keeps only the root open. Whatever is deeper is found from there, a piece of the path at a time
/// when it is long; so neither depth nor width of the tree uses up descriptors.
///
/// No link is followed on the way, should one have taken a directory's place since that was listed:
/// openat2(2) refuses them, and without it each directory is opened from the one before.
pub(in super::super) struct LinuxTree {
    location: PathBuf,
    root: OwnedFd,
    /// Whether the kernel has openat2(2), and the sandbox, if any, lets it through.
    has_openat2: bool,
    /// Whether reading may leave the time of last access alone. Only owners may ask for that.
    no_access_time: AtomicBool,
}

impl LinuxTree {
    /// The directory to go on from, and the rest of the path to one.
    fn left_of<'p>(
        &'p self,
        way: Option<Way<'p, OwnedFd>>,
        path: Option<&'p ContextPath>,
    ) -> (BorrowedFd<'p>, &'p [u8]) {
        let path = path.map_or(b".".as_slice(), ContextPath::as_bytes);
        match way {
            Some(Way { directory, rest }) => (directory.as_fd(), &path[rest..]),
            None => (self.root.as_fd(), path),
        }
    }

    /// The directory from which the last piece of the path is looked up, if it is not the one given,
    /// and that piece. Between pieces, directories are opened and closed again.
    fn last_piece<'p>(
        &self,
        from: BorrowedFd<'_>,
        path: &'p [u8],
    ) -> rustix::io::Result<(Option<OwnedFd>, &'p [u8])> {
        let mut rest = path;
        let mut near: Option<OwnedFd> = None;
        while rest.len() > PIECE {
            // A name has at most 255 bytes.
            let Some(end) = rest[..PIECE].iter().rposition(|byte| *byte == b'/') else {
                return Err(Errno::NAMETOOLONG);
            };
            let from = near.as_ref().map_or(from, AsFd::as_fd);
            let next = self.open_below(from, &rest[..end], PLACE)?;
            near = Some(next);
            rest = &rest[end + 1..];
        }
        Ok((near, rest))
    }

    /// Opens what is at a path of any length.
    fn open_path(
        &self,
        from: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
    ) -> rustix::io::Result<OwnedFd> {
        let (near, rest) = self.last_piece(from, path)?;
        self.open_below(near.as_ref().map_or(from, AsFd::as_fd), rest, flags)
    }

    /// Opens what is at a path that the kernel takes at once.
    fn open_below(
        &self,
        from: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
    ) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW;
        let open_at = |from: BorrowedFd<'_>, name: &[u8]| {
            retry(|| rustix::fs::openat(from, name, flags, Mode::empty()))
        };
        if !path.contains(&b'/') {
            return open_at(from, path);
        }
        if self.has_openat2 {
            match retry(|| rustix::fs::openat2(from, path, flags, Mode::empty(), RESOLVE)) {
                // The kernel saw a race that one step at a time cannot have.
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
        let mut near: Option<OwnedFd> = None;
        let mut rest = path;
        while let Some(end) = rest.iter().position(|byte| *byte == b'/') {
            let from = near.as_ref().map_or(from, AsFd::as_fd);
            let flags = PLACE | OFlags::NOFOLLOW;
            near = Some(retry(|| rustix::fs::openat(from, &rest[..end], flags, Mode::empty()))?);
            rest = &rest[end + 1..];
        }
        open_at(near.as_ref().map_or(from, AsFd::as_fd), rest)
    }

    /// Calls `look` with a directory and a name in it.
    fn with_near<R>(
        &self,
        directory: Option<&OwnedFd>,
        path: &ContextPath,
        look: impl Fn(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<R>,
    ) -> rustix::io::Result<R> {
        let bytes = path.as_bytes();
        let name = path.name();
        let opened = match directory {
            None if name.len() < bytes.len() => {
                let parent = &bytes[..bytes.len() - name.len() - 1];
                Some(self.open_path(self.root.as_fd(), parent, PLACE)?)
            }
            _ => None,
        };
        let near = directory.or(opened.as_ref()).unwrap_or(&self.root).as_fd();
        retry(|| look(near, name))
    }

    /// Opens to read, and leaves the time of last access alone where that is allowed.
    fn open_to_read(
        &self,
        flags: OFlags,
        open: impl Fn(OFlags) -> rustix::io::Result<OwnedFd>,
    ) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if self.no_access_time.load(Ordering::Relaxed) {
            match open(flags | OFlags::NOATIME) {
                Err(Errno::PERM) => self.no_access_time.store(false, Ordering::Relaxed),
                result => return result,
            }
        }
        open(flags)
    }
}

impl Tree for LinuxTree {
    type Directory = OwnedFd;
    type File = OwnedFd;

    fn open(root: &Path) -> io::Result<Self> {
        let location = root.to_owned();
        let root = retry(|| rustix::fs::openat(CWD, root, PLACE, Mode::empty()))?;
        let probe = retry(|| rustix::fs::openat2(&root, ".", PLACE, Mode::empty(), RESOLVE));
        let has_openat2 = probe.is_ok();
        Ok(Self { location, root, has_openat2, no_access_time: AtomicBool::new(true) })
    }

    fn root(&self) -> &Path {
        &self.location
    }

    fn directory(
        &self,
        way: Option<Way<'_, OwnedFd>>,
        path: Option<&ContextPath>,
    ) -> Result<OwnedFd, Failure> {
        let (from, path) = self.left_of(way, path);
        self.open_to_read(OFlags::DIRECTORY, |flags| self.open_path(from, path, flags))
            .map_err(failure)
    }

    fn near(
        &self,
        way: Option<Way<'_, OwnedFd>>,
        path: Option<&ContextPath>,
    ) -> Result<OwnedFd, Failure> {
        let (from, path) = self.left_of(way, path);
        self.open_path(from, path, PLACE).map_err(failure)
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
        self.open_to_read(OFlags::empty(), |flags| match directory {
            Some(directory) => self.open_below(directory.as_fd(), path.name(), flags),
            None => self.open_path(self.root.as_fd(), path.as_bytes(), flags),
        })
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
            Some(path) => self
                .with_near(None, path, |from, path| {
                    rustix::fs::statat(from, path, AtFlags::SYMLINK_NOFOLLOW)
                })
                // A link where a directory was.
                .map_err(|error| if error == Errno::LOOP { Errno::NOTDIR } else { error })?,
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
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO => Failure::Changed,
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
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_not_on_a_disk_is_not_trusted() {
        for root in ["/proc", "/sys"] {
            let tree = LinuxTree::open(Path::new(root)).expect("opened");
            assert_eq!(tree.trusted_device(), None, "{root}");
        }
    }

    /// With openat2(2), and without.
    fn trees(root: &Path) -> [LinuxTree; 2] {
        let open = || LinuxTree::open(root).expect("opened");
        [open(), LinuxTree { has_openat2: false, ..open() }]
    }

    fn path(bytes: &[u8]) -> ContextPath {
        ContextPath::new(bytes).expect("a path")
    }

    #[test]
    fn a_directory_that_became_a_link_is_not_followed() {
        for index in 0..2 {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let [root, outside] = ["root", "outside"].map(|name| directory.path().join(name));
            for place in [root.join("a/b"), outside.join("b")] {
                fs::create_dir_all(&place).expect("made");
                fs::write(place.join("f"), "content").expect("written");
                symlink("f", place.join("l")).expect("linked");
            }
            let tree = &trees(&root)[index];
            let [within, file, link] = [b"a/b".as_slice(), b"a/b/f", b"a/b/l"].map(path);
            tree.directory(None, Some(&within)).expect("listed");
            tree.near(None, Some(&within)).expect("opened");
            tree.file(None, &file).expect("a file");
            tree.link(None, &link).expect("a link");
            tree.stat(Some(&file)).expect("a stamp");
            fs::remove_dir_all(root.join("a")).expect("removed");
            symlink(&outside, root.join("a")).expect("linked");
            for failure in [
                tree.directory(None, Some(&within)).err(),
                tree.near(None, Some(&within)).err(),
                tree.file(None, &file).err(),
                tree.link(None, &link).err(),
            ] {
                assert!(matches!(failure, Some(Failure::Changed)), "{index}: {failure:?}");
            }
            let error = tree.stat(Some(&file)).expect_err("a link on the way");
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{index}");
        }
    }

    #[test]
    fn no_link_is_followed_from_an_open_directory_either() {
        for index in 0..2 {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let [root, outside] = ["root", "outside"].map(|name| directory.path().join(name));
            fs::create_dir_all(root.join("a/b/c")).expect("made");
            fs::create_dir_all(outside.join("c")).expect("made");
            let tree = &trees(&root)[index];
            let above = tree.near(None, Some(&path(b"a"))).expect("opened");
            let way = || Some(Way { directory: &above, rest: 2 });
            let places = [b"a/b".as_slice(), b"a/b/c"].map(path);
            for place in &places {
                tree.directory(way(), Some(place)).expect("listed");
                tree.near(way(), Some(place)).expect("opened");
            }
            fs::rename(root.join("a/b"), root.join("a/moved")).expect("moved");
            symlink(&outside, root.join("a/b")).expect("linked");
            for place in &places {
                for result in [tree.directory(way(), Some(place)), tree.near(way(), Some(place))] {
                    assert!(matches!(result, Err(Failure::Changed)), "{index}, {place}");
                }
            }
        }
    }

    #[test]
    fn a_path_of_many_pieces_is_reached() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let name = "n".repeat(200);
        let mut near =
            rustix::fs::openat(CWD, directory.path(), PLACE, Mode::empty()).expect("root");
        let mut long = Vec::new();
        for _ in 0..60 {
            rustix::fs::mkdirat(&near, &name, Mode::RWXU).expect("made");
            near = rustix::fs::openat(&near, &name, PLACE, Mode::empty()).expect("opened");
            long.extend_from_slice(name.as_bytes());
            long.push(b'/');
        }
        rustix::fs::symlinkat("text", &near, "l").expect("linked");
        long.push(b'l');
        for tree in trees(directory.path()) {
            assert_eq!(*tree.link(None, &path(&long)).expect("a link"), *b"text");
            assert!(matches!(tree.file(None, &path(&long)), Err(Failure::Changed)));
        }
    }
}
