//! SHA-256 of two contents at the same time, with the SHA extensions.
//!
//! Each step waits for the one before it, so that a content alone leaves the processor idle. The
//! steps of another one fill the gaps. `unsafe` is only the call of a function that needs the
//! processor's features.
#![expect(unsafe_code, reason = "vector instructions; the block says why it is sound")]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
    _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32,
    _mm_shuffle_epi8, _mm_shuffle_epi32,
};

use super::constants::{BLOCK, INITIAL, ROUNDS};

/// The hashes of two contents, or nothing where the processor lacks the instructions.
pub(in super::super) fn hash(contents: [&[u8]; 2]) -> Option<[[u8; 32]; 2]> {
    if !is_x86_feature_detected!("sha")
        || !is_x86_feature_detected!("ssse3")
        || !is_x86_feature_detected!("sse4.1")
    {
        return None;
    }
    // SAFETY: the processor has all features that the function is compiled for; it asks nothing
    // else of its caller.
    Some(unsafe { hash_with_sha(contents) })
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn hash_with_sha(contents: [&[u8]; 2]) -> [[u8; 32]; 2] {
    let [one, other] = &contents.map(Message::new);
    let [mut state, mut other_state] = [initial(), initial()];
    let both = one.blocks().min(other.blocks());
    for index in 0..both {
        [state, other_state] =
            compress([state, other_state], [one.block(index), other.block(index)]);
    }
    // What is longer goes on alone.
    for index in both..one.blocks() {
        [state] = compress([state], [one.block(index)]);
    }
    for index in both..other.blocks() {
        [other_state] = compress([other_state], [other.block(index)]);
    }
    [finish(state), finish(other_state)]
}

/// A content with its padding: a one bit, zeros, and its length in bits.
struct Message<'c> {
    whole: &'c [[u8; BLOCK]],
    /// What is left of the content, and the padding, which may need a block more.
    last: [[u8; BLOCK]; 2],
    lasts: usize,
}

impl<'c> Message<'c> {
    fn new(content: &'c [u8]) -> Self {
        const LENGTH: usize = size_of::<u64>();

        let (whole, rest) = content.as_chunks::<BLOCK>();
        let mut last = [[0; BLOCK]; 2];
        last[0][..rest.len()].copy_from_slice(rest);
        last[0][rest.len()] = 0x80;
        let lasts = if rest.len() + 1 + LENGTH <= BLOCK { 1 } else { 2 };
        let bits = 8 * content.len() as u64;
        last[lasts - 1][BLOCK - LENGTH..].copy_from_slice(&bits.to_be_bytes());
        Self { whole, last, lasts }
    }

    fn blocks(&self) -> usize {
        self.whole.len() + self.lasts
    }

    fn block(&self, index: usize) -> &[u8; BLOCK] {
        self.whole.get(index).unwrap_or_else(|| &self.last[index - self.whole.len()])
    }
}

/// The working variables, in the order in which the instructions take them, the last one lowest:
/// `abef` and `cdgh`.
type State = [__m128i; 2];

#[target_feature(enable = "sse2")]
fn initial() -> State {
    let [a, b, c, d, e, f, g, h] = INITIAL.map(|word| word as i32);
    [_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h)]
}

#[target_feature(enable = "sse4.1")]
fn finish([abef, cdgh]: State) -> [u8; 32] {
    let words = [
        _mm_extract_epi32::<3>(abef),
        _mm_extract_epi32::<2>(abef),
        _mm_extract_epi32::<3>(cdgh),
        _mm_extract_epi32::<2>(cdgh),
        _mm_extract_epi32::<1>(abef),
        _mm_extract_epi32::<0>(abef),
        _mm_extract_epi32::<1>(cdgh),
        _mm_extract_epi32::<0>(cdgh),
    ];
    let mut hash = [0; 32];
    for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
    hash
}

/// The sixteen words of a block, of which the first byte is the most significant.
#[inline]
#[target_feature(enable = "ssse3")]
fn load(block: &[u8; BLOCK]) -> [__m128i; 4] {
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let mut words = [_mm_setzero_si128(); 4];
    for (words, bytes) in words.iter_mut().zip(block.as_chunks::<16>().0) {
        let number = u128::from_le_bytes(*bytes);
        *words = _mm_shuffle_epi8(_mm_set_epi64x((number >> 64) as i64, number as i64), swap);
    }
    words
}

/// The compression function of FIPS 180-4, 6.2.2, step by step for one and then for the other.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress<const N: usize>(before: [State; N], blocks: [&[u8; BLOCK]; N]) -> [State; N] {
    let mut states = before;
    let mut words = [[_mm_setzero_si128(); 4]; N];
    for (words, block) in words.iter_mut().zip(blocks) {
        *words = load(block);
    }
    for (group, constants) in ROUNDS.as_chunks::<16>().0.iter().enumerate() {
        for (at, constants) in constants.as_chunks::<4>().0.iter().enumerate() {
            let [k0, k1, k2, k3] = constants.map(|constant| constant as i32);
            let constants = _mm_set_epi32(k3, k2, k1, k0);
            for (words, [abef, cdgh]) in words.iter_mut().zip(&mut states) {
                if group > 0 {
                    let [w1, w2, w3] = [1, 2, 3].map(|after| words[(at + after) % 4]);
                    let w_7 = _mm_alignr_epi8::<4>(w3, w2);
                    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(words[at], w1), w_7);
                    words[at] = _mm_sha256msg2_epu32(sum, w3);
                }
                let low = _mm_add_epi32(words[at], constants);
                let high = _mm_shuffle_epi32::<0x0e>(low);
                *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, low);
                *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, high);
            }
        }
    }
    for (state, before) in states.iter_mut().zip(before) {
        for (words, before) in state.iter_mut().zip(before) {
            *words = _mm_add_epi32(*words, before);
        }
    }
    states
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    /// More than the largest small file has.
    const MOST: usize = 140 * 1024;

    fn check(one: &[u8], other: &[u8]) {
        for contents in [[one, other], [other, one]] {
            // Where there are no such instructions, there is nothing that could be wrong.
            if let Some(hashes) = hash(contents) {
                let expected = contents.map(|content| <[u8; 32]>::from(Sha256::digest(content)));
                assert_eq!(hashes, expected, "{} and {} bytes", one.len(), other.len());
            }
        }
    }

    fn bytes(seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut bytes = vec![0; MOST];
        for word in bytes.as_chunks_mut::<8>().0 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            *word = (state ^ (state >> 29)).to_le_bytes();
        }
        bytes
    }

    #[test]
    fn two_short_ones_of_any_lengths_are_as_each_alone() {
        let bytes = bytes(1);
        for length in 0..300 {
            for other in 0..=length {
                check(&bytes[..length], &bytes[300..300 + other]);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn two_at_once_are_two_one_by_one(
            seed in any::<u64>(),
            length in 0..=MOST,
            other in 0..=MOST,
        ) {
            let contents = [bytes(seed), bytes(!seed)];
            check(&contents[0][..length], &contents[1][..other]);
            check(&contents[0][..length], &contents[1][..length]);
            // Neither has to begin at a multiple of anything.
            check(&contents[0][length..], &contents[0][other..]);
        }
    }
}
