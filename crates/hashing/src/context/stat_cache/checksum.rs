//! Tells damage of what is read back.

/// Bytes that are taken at once: a word for each lane.
const BLOCK: usize = 32;

/// Odd, so that no multiplication by one loses anything.
const FACTORS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];

/// A checksum as fast as memory. Every step can be undone, so whatever happens to one word of
/// eight bytes is noticed; damage to several is missed once in 2^64 times.
///
/// It protects against disks and power failures alone. Against somebody who may write there, no
/// checksum without a secret does.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let mut lanes = FACTORS;
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for block in blocks {
        take(&mut lanes, block);
    }
    let mut last = [0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    take(&mut lanes, &last);
    lanes.iter().fold(bytes.len() as u64, |sum, lane| {
        let sum = (sum ^ lane).wrapping_mul(FACTORS[0]);
        sum ^ (sum >> 32)
    })
}

fn take(lanes: &mut [u64; 4], block: &[u8; BLOCK]) {
    for ((lane, word), factor) in lanes.iter_mut().zip(block.as_chunks::<8>().0).zip(FACTORS) {
        *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(factor).rotate_left(29);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_damaged_changes_it() {
        let whole: Vec<u8> = (0..200_u32).map(|index| (index * index + 7) as u8).collect();
        for length in 0..whole.len() {
            let bytes = &whole[..length];
            let sum = checksum(bytes);
            assert_ne!(sum, checksum(&whole[..=length]), "{length} bytes and one more");
            assert_ne!(sum, checksum(&[bytes, b"\0"].concat()), "{length} bytes and a zero");
            for bit in 0..length * 8 {
                let mut damaged = bytes.to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(sum, checksum(&damaged), "bit {bit} of {length} bytes");
            }
        }
        // Words that change places, among lanes and within one.
        for (one, other) in [(0, 8), (0, 32), (40, 72)] {
            let mut damaged = whole.clone();
            (0..8).for_each(|index| damaged.swap(one + index, other + index));
            assert_ne!(checksum(&whole), checksum(&damaged), "{one} and {other}");
        }
    }
}
