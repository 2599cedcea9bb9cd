//! Files that compress as sources and programs do, the same on every machine.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use crate::random::Random;

/// Words that texts are made of.
const WORDS: usize = 4096;

/// Text of words that are not equally frequent, with a number now and then: gzip makes less than half of it.
pub struct Words {
    random: Random,
    words: Vec<Vec<u8>>,
}

impl Words {
    /// Begins a text.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let words = (0..WORDS)
            .map(|_| {
                let length = 2 + random.next() % 9;
                (0..length).map(|_| b'a' + (random.next() % 26) as u8).collect()
            })
            .collect();
        Self { random, words }
    }

    /// Writes the next bytes of it to a new file.
    ///
    /// # Errors
    ///
    /// The disk is full or read-only.
    pub fn write(&mut self, path: &Path, size: u64) -> io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 17, File::create(path)?);
        let mut left = size;
        let mut word = Vec::new();
        while left > 0 {
            let next = self.random.next();
            word.clear();
            if next.is_multiple_of(16) {
                word.extend_from_slice(format!("{:08x}", next >> 32).as_bytes());
            } else {
                // The product of two numbers below one is small more often than not.
                let at = ((next >> 8) % 4096) * ((next >> 24) % 4096) / 4096;
                word.extend_from_slice(&self.words[at as usize]);
            }
            word.push(if next >> 60 == 0 { b'\n' } else { b' ' });
            let length = left.min(word.len() as u64) as usize;
            file.write_all(&word[..length])?;
            left -= length as u64;
        }
        file.flush()
    }

    /// Writes `count` files of `size` bytes on average below `root`, a hundred in each directory, and
    /// tells their bytes.
    ///
    /// # Errors
    ///
    /// The disk is full or read-only.
    pub fn write_tree(&mut self, root: &Path, count: usize, size: u64) -> io::Result<u64> {
        let mut bytes = 0;
        for index in 0..count {
            let directory = root.join(format!("part_{}", index / 100));
            if index % 100 == 0 {
                fs::create_dir_all(&directory)?;
            }
            let length = self.random.next() % (2 * size + 1);
            self.write(&directory.join(format!("file_{index}.txt")), length)?;
            bytes += length;
        }
        Ok(bytes)
    }
}
