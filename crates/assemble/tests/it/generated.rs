//! Contents of any size.

use std::io::{self, Write};

use dockit_assemble::tree::FileContent;

/// A content that is made as it is read.
pub(crate) struct Generated {
    pub(crate) seed: u64,
    pub(crate) size: u64,
}

impl FileContent for Generated {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut state = self.seed | 1;
        let mut left = self.size;
        let mut piece = Vec::with_capacity(4096);
        while left > 0 {
            piece.clear();
            while piece.len() < 4096 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Half of it repeats, as files do.
                let word = if state >> 63 == 0 { state } else { 0x2065_6874_206f_6f66 };
                piece.extend_from_slice(&word.to_le_bytes());
            }
            let take = left.min(4096) as usize;
            out.write_all(&piece[..take])?;
            left -= take as u64;
        }
        Ok(())
    }
}
