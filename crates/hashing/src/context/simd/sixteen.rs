//! SHA-256 of sixteen leaves at the same time, with AVX-512.
//!
//! Each 32-bit lane of a register belongs to one leaf, so that one instruction does a step of all
//! sixteen. `unsafe` are the call of a function that needs the processor's features, and loads and
//! stores through pointers.
#![expect(unsafe_code, reason = "vector instructions; each block says why it is sound")]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set1_epi32,
    _mm512_set4_epi32, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srli_epi32,
    _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::super::digest::LEAF;
use super::constants::{BLOCK, INITIAL, ROUNDS};

const LANES: usize = 16;

/// Bytes of sixteen leaves.
const PART: usize = LANES * LEAF;

/// The hashes of sixteen whole leaves, or nothing where the processor lacks the instructions.
pub(in super::super) fn hash(part: &[u8; PART]) -> Option<[[u8; 32]; LANES]> {
    if !is_x86_feature_detected!("avx512f") || !is_x86_feature_detected!("avx512bw") {
        return None;
    }
    // SAFETY: the processor has both features that the function is compiled for; it asks nothing
    // else of its caller.
    Some(unsafe { hash_with_avx512(part) })
}

#[target_feature(enable = "avx512f,avx512bw")]
fn hash_with_avx512(part: &[u8; PART]) -> [[u8; 32]; LANES] {
    let mut state = INITIAL.map(|word| _mm512_set1_epi32(word as i32));
    let (leaves, _) = part.as_chunks::<LEAF>();
    for index in 0..LEAF / BLOCK {
        let mut rows = [_mm512_set1_epi32(0); LANES];
        for (row, leaf) in rows.iter_mut().zip(leaves) {
            *row = load(&leaf.as_chunks::<BLOCK>().0[index]);
        }
        compress(&mut state, transpose(rows));
    }
    // The padding of a message as long as a leaf: a one bit, zeros, and its length in bits.
    let mut padding = [_mm512_set1_epi32(0); LANES];
    padding[0] = _mm512_set1_epi32(i32::MIN);
    padding[15] = _mm512_set1_epi32(8 * LEAF as i32);
    compress(&mut state, padding);

    let words = state.map(|lanes| store(lanes));
    std::array::from_fn(|lane| {
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(&words) {
            *bytes = word[lane].to_be_bytes();
        }
        hash
    })
}

/// The sixteen words of a block, of which the first byte is the most significant.
#[target_feature(enable = "avx512f,avx512bw")]
fn load(block: &[u8; BLOCK]) -> __m512i {
    // SAFETY: the reference is valid for reads of 64 bytes, as many as are loaded, and the
    // instruction needs no alignment.
    let words = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    let swap = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    _mm512_shuffle_epi8(words, swap)
}

#[target_feature(enable = "avx512f")]
fn store(lanes: __m512i) -> [u32; LANES] {
    let mut words = [0; LANES];
    // SAFETY: the array is 64 bytes, as many as are stored, it is borrowed by nobody else, and the
    // instruction needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), lanes) };
    words
}

/// From one row a leaf to one row a word.
#[target_feature(enable = "avx512f")]
fn transpose(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let mut out = rows;
    // Within quarters of registers: pairs of words, then of pairs.
    for at in (0..LANES).step_by(4) {
        let [a, b, c, d] = [rows[at], rows[at + 1], rows[at + 2], rows[at + 3]];
        let (low_ab, high_ab) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (low_cd, high_cd) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        out[at] = _mm512_unpacklo_epi64(low_ab, low_cd);
        out[at + 1] = _mm512_unpackhi_epi64(low_ab, low_cd);
        out[at + 2] = _mm512_unpacklo_epi64(high_ab, high_cd);
        out[at + 3] = _mm512_unpackhi_epi64(high_ab, high_cd);
    }
    // Now row 4 r + w has, in quarter q, word 4 q + w of leaves 4 r to 4 r + 3: quarters change
    // places with rows.
    let quarters = out;
    for word in 0..4 {
        let [a, b, c, d] =
            [quarters[word], quarters[4 + word], quarters[8 + word], quarters[12 + word]];
        let (even_ab, odd_ab) =
            (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (even_cd, odd_cd) =
            (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        out[word] = _mm512_shuffle_i32x4::<0x88>(even_ab, even_cd);
        out[4 + word] = _mm512_shuffle_i32x4::<0x88>(odd_ab, odd_cd);
        out[8 + word] = _mm512_shuffle_i32x4::<0xdd>(even_ab, even_cd);
        out[12 + word] = _mm512_shuffle_i32x4::<0xdd>(odd_ab, odd_cd);
    }
    out
}

/// The compression function of FIPS 180-4, 6.2.2, in every lane.
#[target_feature(enable = "avx512f")]
fn compress(state: &mut [__m512i; 8], mut words: [__m512i; LANES]) {
    const XOR: i32 = 0x96;
    const CHOOSE: i32 = 0xca;
    const MAJORITY: i32 = 0xe8;

    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for round in 0..64 {
        let at = round % LANES;
        if round >= LANES {
            let (w2, w15) = (words[(round - 2) % LANES], words[(round - 15) % LANES]);
            let s0 = _mm512_ternarylogic_epi32::<XOR>(
                _mm512_ror_epi32::<7>(w15),
                _mm512_ror_epi32::<18>(w15),
                _mm512_srli_epi32::<3>(w15),
            );
            let s1 = _mm512_ternarylogic_epi32::<XOR>(
                _mm512_ror_epi32::<17>(w2),
                _mm512_ror_epi32::<19>(w2),
                _mm512_srli_epi32::<10>(w2),
            );
            let sum = _mm512_add_epi32(words[at], words[(round - 7) % LANES]);
            words[at] = _mm512_add_epi32(sum, _mm512_add_epi32(s0, s1));
        }
        let s1 = _mm512_ternarylogic_epi32::<XOR>(
            _mm512_ror_epi32::<6>(e),
            _mm512_ror_epi32::<11>(e),
            _mm512_ror_epi32::<25>(e),
        );
        let choice = _mm512_ternarylogic_epi32::<CHOOSE>(e, f, g);
        let constant = _mm512_set1_epi32(ROUNDS[round] as i32);
        let one = _mm512_add_epi32(
            _mm512_add_epi32(h, s1),
            _mm512_add_epi32(choice, _mm512_add_epi32(constant, words[at])),
        );
        let s0 = _mm512_ternarylogic_epi32::<XOR>(
            _mm512_ror_epi32::<2>(a),
            _mm512_ror_epi32::<13>(a),
            _mm512_ror_epi32::<22>(a),
        );
        let two = _mm512_add_epi32(s0, _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c));
        (h, g, f, e) = (g, f, e, _mm512_add_epi32(d, one));
        (d, c, b, a) = (c, b, a, _mm512_add_epi32(one, two));
    }
    for (word, change) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = _mm512_add_epi32(*word, change);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    fn check(part: &[u8]) {
        // Where there are no such instructions, there is nothing that could be wrong.
        if let Some(hashes) = hash(part.try_into().expect("sixteen leaves")) {
            for (lane, (hash, leaf)) in hashes.iter().zip(part.chunks(LEAF)).enumerate() {
                assert_eq!(*hash, <[u8; 32]>::from(Sha256::digest(leaf)), "lane {lane}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn sixteen_at_once_are_sixteen_one_by_one(
            seed in any::<u64>(),
            places in prop::collection::vec((0..PART, any::<u8>()), 0..40),
        ) {
            let mut state = seed | 1;
            let mut part = vec![0; PART];
            for word in part.as_chunks_mut::<8>().0 {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                *word = (state ^ (state >> 29)).to_le_bytes();
            }
            check(&part);
            let mut sparse = vec![seed as u8; PART];
            for (place, byte) in places {
                sparse[place] = byte;
            }
            check(&sparse);
        }
    }
}
