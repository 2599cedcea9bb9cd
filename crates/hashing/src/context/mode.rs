//! Modes of files and directories, as far as they count.

use std::fmt;

/// A mode as it counts: normalised, or, where modes are strict, all twelve bits.
///
/// A file's normalised mode is 0755 if its owner may execute it, else 0644, and its set-uid,
/// set-gid and sticky bits; a directory's is 0755. git keeps no more than the execute bit, and a
/// umask takes away the rest; so two clones of one revision agree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileMode(u32);

impl FileMode {
    /// That of every directory, unless modes are strict.
    pub const DIRECTORY: Self = Self(0o755);

    /// Normalises Unix permission bits; bits beyond the lowest twelve are ignored.
    pub const fn normalise(mode: u32) -> Self {
        const EXECUTABLE: u32 = 0o100;
        const SPECIAL: u32 = 0o7000;
        let permissions = if mode & EXECUTABLE == 0 { 0o644 } else { 0o755 };
        Self(mode & SPECIAL | permissions)
    }

    /// Keeps the lowest twelve bits as they are.
    pub const fn strict(mode: u32) -> Self {
        Self(mode & 0o7777)
    }

    /// The twelve bits.
    pub const fn bits(self) -> u32 {
        self.0
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
