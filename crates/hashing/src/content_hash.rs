//! Hashes of build inputs, and the framing that makes them unambiguous.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// SHA-256 over build inputs; never a registry digest.
///
/// Written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The SHA-256 of `bytes` as they are, without framing.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes a hash that was computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A text that is no [`ContentHash`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid content hash {0:?}: it is 64 lower-case hex digits")]
pub struct InvalidContentHash(String);

impl FromStr for ContentHash {
    type Err = InvalidContentHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.as_bytes()).map(Self).ok_or_else(|| InvalidContentHash(text.to_owned()))
    }
}

fn parse(text: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Builds unambiguous byte strings and hashes them as they grow: every value of variable length is
/// preceded by its length, so that no two sequences of values give the same bytes.
///
/// That holds among hashes whose values come in the same order and kinds, or whose order and kinds
/// follow from the values before. What can be one of several kinds is therefore preceded by a
/// number that says which; what may be missing is a list of none or one. Different uses have
/// different domains.
#[derive(Clone)]
pub struct Framer {
    hasher: Sha256,
    /// What is not hashed yet: the hasher is slow to take many small pieces.
    waiting: Vec<u8>,
}

/// Bytes that wait at most before they are hashed.
const WAITING: usize = 4096;

impl Framer {
    /// Starts with the name of what is hashed and its format version, framed like a string.
    pub fn new(domain: &str) -> Self {
        let mut framer = Self { hasher: Sha256::new(), waiting: Vec::with_capacity(WAITING) };
        framer.str(domain);
        framer
    }

    /// The length as [`number`](Self::number), then the bytes.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.number(value.len() as u64);
        self.add(value)
    }

    /// The UTF-8 bytes, framed like [`bytes`](Self::bytes).
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// Eight bytes, least significant first.
    pub fn number(&mut self, value: u64) -> &mut Self {
        self.add_array(value.to_le_bytes())
    }

    /// The 32 raw bytes, without a length: it is always the same.
    pub fn hash(&mut self, value: ContentHash) -> &mut Self {
        self.add_array(value.0)
    }

    /// Opens a list: the number of its items, which the caller adds next.
    pub fn list(&mut self, count: usize) -> &mut Self {
        self.number(count as u64)
    }

    /// The SHA-256 of everything added.
    pub fn finish(mut self) -> ContentHash {
        self.hasher.update(&self.waiting);
        ContentHash(self.hasher.finalize().into())
    }

    /// The same as `add`, but quicker.
    fn add_array<const N: usize>(&mut self, bytes: [u8; N]) -> &mut Self {
        if self.waiting.len() + N > WAITING {
            return self.add(&bytes);
        }
        self.waiting.extend_from_slice(&bytes);
        self
    }

    fn add(&mut self, bytes: &[u8]) -> &mut Self {
        if self.waiting.len() + bytes.len() > WAITING {
            self.hasher.update(&self.waiting);
            self.waiting.clear();
            if bytes.len() > WAITING {
                self.hasher.update(bytes);
                return self;
            }
        }
        self.waiting.extend_from_slice(bytes);
        self
    }
}

impl fmt::Debug for Framer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Framer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_reads_back_what_it_writes() {
        let hash = ContentHash::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), text);
        assert_eq!(format!("{hash:?}"), text);
        assert_eq!(text.parse(), Ok(hash));
    }

    #[test]
    fn only_64_lower_case_digits_are_a_hash() {
        let text = ContentHash::of(b"").to_string();
        let wrong = [
            String::new(),
            text[1..].to_owned(),
            format!("{text}0"),
            format!("{text}00"),
            text.to_uppercase(),
            format!("g{}", &text[1..]),
            format!(" {}", &text[1..]),
            format!("é{}", &text[2..]),
        ];
        for text in wrong {
            assert_eq!(text.parse::<ContentHash>(), Err(InvalidContentHash(text)));
        }
    }

    #[test]
    fn the_framing_is_length_then_bytes() {
        let mut framer = Framer::new("d");
        framer.str("ab").number(258).list(3).bytes(b"").hash(ContentHash::from_bytes([7; 32]));
        let mut bytes = Vec::new();
        bytes.extend(b"\x01\0\0\0\0\0\0\0d");
        bytes.extend(b"\x02\0\0\0\0\0\0\0ab");
        bytes.extend(b"\x02\x01\0\0\0\0\0\0");
        bytes.extend(b"\x03\0\0\0\0\0\0\0");
        bytes.extend(b"\0\0\0\0\0\0\0\0");
        bytes.extend([7; 32]);
        assert_eq!(framer.finish(), ContentHash::of(&bytes));
    }

    #[test]
    fn it_does_not_matter_how_much_is_added_at_once() {
        for length in [0, 1, 4087, 4088, 4089, 4096, 4097, 10_000] {
            let (mut framer, mut bytes) = (Framer::new(""), vec![0; 8]);
            for number in 0..3 {
                let value = vec![7; length];
                framer.number(number).bytes(&value);
                bytes.extend(number.to_le_bytes());
                bytes.extend((length as u64).to_le_bytes());
                bytes.extend(value);
            }
            assert_eq!(framer.finish(), ContentHash::of(&bytes), "{length}");
        }
    }

    #[test]
    fn bytes_cannot_move_from_one_value_to_the_next() {
        let of = |values: &[&str]| {
            let mut framer = Framer::new("test");
            for value in values {
                framer.str(value);
            }
            framer.finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["abc"]), of(&["abc", ""]));
    }
}
