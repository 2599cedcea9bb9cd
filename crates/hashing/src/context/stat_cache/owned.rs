//! Opening caches that nobody else can have written.

use std::fs::{self, File, Metadata};
use std::path::Path;

use super::LARGEST;

/// A cache and its size; none where it is no regular file, is too large, or where it or its
/// directory belongs to somebody else.
pub(super) fn open(location: &Path) -> Option<(File, u64)> {
    if !is_directory_ours(location.parent()?) {
        return None;
    }
    let file = open_at_once(location)?;
    let metadata =
        file.metadata().ok().filter(|metadata| metadata.is_file() && is_ours(metadata))?;
    let size = metadata.len();
    (size <= LARGEST).then_some((file, size))
}

/// Whether this user or root made the directory.
pub(super) fn is_directory_ours(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|metadata| is_ours(&metadata))
}

/// Does not wait for the writer of a named pipe, and follows no link.
#[cfg(target_os = "linux")]
fn open_at_once(location: &Path) -> Option<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, location, flags, Mode::empty()).ok().map(File::from)
}

#[cfg(target_os = "linux")]
fn is_ours(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    is_trusted(metadata.uid(), rustix::process::geteuid().as_raw())
}

#[cfg(target_os = "linux")]
fn is_trusted(owner: u32, user: u32) -> bool {
    owner == user || owner == 0
}

/// Other systems have no cache yet.
#[cfg(not(target_os = "linux"))]
fn open_at_once(_: &Path) -> Option<File> {
    None
}

#[cfg(not(target_os = "linux"))]
fn is_ours(_: &Metadata) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "content").expect("written");
        symlink("file", at("link")).expect("linked");
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).expect("a named pipe");
        assert_eq!(open(&at("file")).map(|(_, size)| size), Some(7));
        for name in ["link", "pipe", "."] {
            assert!(open(&at(name)).is_none(), "{name}");
        }
    }

    #[test]
    fn what_belongs_to_somebody_else_is_not_trusted() {
        let table = [(7, 7, true), (0, 7, true), (0, 0, true), (8, 7, false), (7, 0, false)];
        for (owner, user, trusted) in table {
            assert_eq!(is_trusted(owner, user), trusted, "{owner} {user}");
        }
    }
}
