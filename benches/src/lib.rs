//! Generators of synthetic build contexts, the same on every machine.

use std::io::Write as _;
use std::path::Path;

/// A build context to generate.
#[derive(Clone, Copy, Debug)]
pub struct Corpus {
    /// What it is called in reports.
    pub name: &'static str,
    /// How many files it has.
    pub files: usize,
    /// Smallest and largest size of a file, in bytes.
    pub sizes: (usize, usize),
    /// Files in one directory.
    pub per_directory: usize,
}

/// The corpora that benches use.
pub const CORPORA: [Corpus; 3] = [
    Corpus { name: "source tree", files: 7_000, sizes: (100, 20_000), per_directory: 9 },
    Corpus { name: "small files", files: 20_000, sizes: (1_024, 4_096), per_directory: 90 },
    Corpus { name: "large files", files: 4, sizes: (128 << 20, 128 << 20), per_directory: 4 },
];

impl Corpus {
    /// Writes the files below `root`.
    ///
    /// # Errors
    ///
    /// The disk is full or read-only.
    pub fn write(&self, root: &Path) -> std::io::Result<()> {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for index in 0..self.files {
            let directory = root.join(format!("d{}", index / self.per_directory));
            if index % self.per_directory == 0 {
                std::fs::create_dir_all(&directory)?;
            }
            let (low, high) = self.sizes;
            let size = low + random.next() as usize % (high - low + 1);
            let mut file = std::io::BufWriter::new(std::fs::File::create(
                directory.join(format!("f{index}.txt")),
            )?);
            for _ in 0..size.div_ceil(8) {
                file.write_all(&random.next().to_le_bytes())?;
            }
            file.flush()?;
        }
        Ok(())
    }
}

/// Vigna's xorshift64*: enough that nothing compresses or repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
