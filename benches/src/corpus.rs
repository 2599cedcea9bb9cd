//! Generators of synthetic build contexts, the same on every machine.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::random::Random;

/// A build context to generate.
#[derive(Clone, Copy, Debug)]
pub struct Corpus {
    /// What it is called in reports and on the command line.
    pub name: &'static str,
    /// How many files it has.
    pub files: usize,
    /// Sizes of files: a range in bytes and its share of the files in thousandths.
    pub sizes: &'static [(u64, u64, u32)],
    /// Files in one directory.
    pub per_directory: usize,
    /// Directories in one directory.
    pub fan_out: usize,
    /// Bytes of each file instead of what `sizes` says.
    pub large: Option<u64>,
}

/// Bytes from which on a file is large.
const LARGE: u64 = 16 << 20;

/// The sizes that files of source trees have: most are a few kilobytes, a few hold most bytes. About
/// 12 KB on average, as in large Go and C++ projects.
const SOURCE: &[(u64, u64, u32)] = &[
    (0, 300, 60),
    (300, 1_500, 220),
    (1_500, 5_000, 310),
    (5_000, 15_000, 270),
    (15_000, 50_000, 115),
    (50_000, 200_000, 23),
    (200_000, 1_500_000, 2),
];

/// The corpora that benches use.
pub const CORPORA: [Corpus; 4] = [
    Corpus {
        name: "source-7k",
        files: 7_000,
        sizes: SOURCE,
        per_directory: 9,
        fan_out: 6,
        large: None,
    },
    Corpus {
        name: "source-15k",
        files: 15_000,
        sizes: SOURCE,
        per_directory: 4,
        fan_out: 5,
        large: None,
    },
    Corpus {
        name: "small-100k",
        files: 100_000,
        sizes: &[(1_024, 4_096, 1_000)],
        per_directory: 90,
        fan_out: 10,
        large: None,
    },
    Corpus {
        name: "large",
        files: 4,
        sizes: &[(1 << 30, 1 << 30, 1_000)],
        per_directory: 4,
        fan_out: 1,
        large: None,
    },
];

impl Corpus {
    /// Whether it has a few large files, instead of many small ones.
    pub fn is_large(&self) -> bool {
        self.sizes.iter().all(|(low, ..)| *low > LARGE)
    }

    /// The same with a fifth of the files; not if they are large.
    #[must_use]
    pub fn quick(self) -> Self {
        if self.is_large() { self } else { Self { files: self.files / 5, ..self } }
    }

    /// The same with large files of `bytes` each, if it has large ones.
    #[must_use]
    pub fn with_large_files_of(self, bytes: u64) -> Self {
        if self.is_large() { Self { large: Some(bytes), ..self } } else { self }
    }

    /// Writes the files below `root`, and tells their bytes.
    ///
    /// # Errors
    ///
    /// The disk is full or read-only.
    pub fn write(&self, root: &Path) -> io::Result<u64> {
        let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
        let mut bytes = 0;
        let mut block = vec![0; 1 << 16];
        for index in 0..self.files {
            let directory = root.join(self.directory(index / self.per_directory));
            if index % self.per_directory == 0 {
                fs::create_dir_all(&directory)?;
            }
            let size = self.size(&mut random);
            bytes += size;
            let mut file = File::create(directory.join(format!("file_{index}.txt")))?;
            let mut left = size;
            while left > 0 {
                let length = left.min(block.len() as u64) as usize;
                random.fill(&mut block[..length.next_multiple_of(8)]);
                file.write_all(&block[..length])?;
                left -= length as u64;
            }
        }
        Ok(bytes)
    }

    /// A tree in which each directory holds `fan_out` others.
    fn directory(&self, mut index: usize) -> String {
        let mut path = String::new();
        while index > 0 {
            path = format!("part_{}/{path}", index % self.fan_out);
            index = if self.fan_out == 1 { 0 } else { (index - 1) / self.fan_out };
        }
        path
    }

    fn size(&self, random: &mut Random) -> u64 {
        if let Some(bytes) = self.large {
            return bytes;
        }
        let mut at = (random.next() >> 32) as u32 % 1_000;
        for (low, high, share) in self.sizes {
            if at < *share {
                return low + random.next() % (high - low + 1);
            }
            at -= share;
        }
        0
    }
}
