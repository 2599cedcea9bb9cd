//! What tells that a file was written to or replaced.

use std::fs::Metadata;
use std::time::{SystemTime, UNIX_EPOCH};

/// What of a file's metadata cannot stay the same when the file is written to, replaced, or its
/// mode is changed, as far as the file system's clock is fine enough.
///
/// The time of the last change of status is what no program can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Type and permissions as Unix has them.
    pub(super) mode: u32,
    pub(super) modified: Time,
    pub(super) changed: Time,
}

/// Seconds since 1970 and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

impl Stamp {
    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let time = |seconds, nanoseconds: i64| Time { seconds, nanoseconds: nanoseconds as u32 };
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mode: metadata.mode(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Such systems have neither modes nor a time of the last change of status.
    #[cfg(not(unix))]
    pub(super) fn of(metadata: &Metadata) -> Self {
        let time = |time: std::io::Result<SystemTime>| time.map(Time::of).unwrap_or_default();
        Self {
            device: 0,
            inode: 0,
            size: metadata.len(),
            mode: if metadata.is_dir() { 0o040_755 } else { 0o100_644 },
            modified: time(metadata.modified()),
            changed: time(metadata.created()),
        }
    }
}

impl Time {
    pub(super) fn of(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => {
                Self { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() }
            }
            // Before 1970, whole seconds are enough.
            Err(until) => {
                Self { seconds: -(until.duration().as_secs() as i64) - 1, nanoseconds: 0 }
            }
        }
    }
}
