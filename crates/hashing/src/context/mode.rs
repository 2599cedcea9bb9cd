//! Modes of files, as far as they count.

use std::fmt;
use std::fs::Metadata;

/// A file's normalised mode: 0755 if its owner may execute it, else 0644, and its set-uid, set-gid
/// and sticky bits.
///
/// git keeps no more than the execute bit, and a umask takes away the rest; so two clones of one
/// revision agree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileMode(u32);

impl FileMode {
    /// Normalises Unix permission bits; bits beyond the lowest twelve are ignored.
    pub const fn normalise(mode: u32) -> Self {
        const EXECUTABLE: u32 = 0o100;
        const SPECIAL: u32 = 0o7000;
        let permissions = if mode & EXECUTABLE == 0 { 0o644 } else { 0o755 };
        Self(mode & SPECIAL | permissions)
    }

    /// The twelve bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    #[cfg(unix)]
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self::normalise(std::os::unix::fs::MetadataExt::mode(metadata))
    }

    /// Such systems have no execute bit.
    #[cfg(not(unix))]
    pub(super) fn of(_: &Metadata) -> Self {
        Self::normalise(0)
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

impl fmt::Debug for FileMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owners_execute_bit_and_the_special_bits_count() {
        let table = [
            (0o100_600, "0644"),
            (0o644, "0644"),
            (0o666, "0644"),
            (0o655, "0644"),
            (0o000, "0644"),
            (0o700, "0755"),
            (0o777, "0755"),
            (0o100, "0755"),
            (0o4711, "4755"),
            (0o2640, "2644"),
            (0o1755, "1755"),
        ];
        for (mode, normalised) in table {
            assert_eq!(FileMode::normalise(mode).to_string(), normalised, "{mode:o}");
        }
    }
}
