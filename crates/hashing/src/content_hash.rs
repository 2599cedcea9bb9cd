//! Hashes of build inputs, and the framing that keeps them unambiguous.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// SHA-256 over build inputs. Never the digest of something that a registry stores.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of bytes as they are, without framing.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash's bytes.
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
        write!(formatter, "ContentHash({self})")
    }
}

/// A text that is no [`ContentHash`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a content hash is 64 lower-case hex digits")]
pub struct InvalidContentHash;

impl FromStr for ContentHash {
    type Err = InvalidContentHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: Vec<u8> = text
            .bytes()
            .map(|byte| match byte {
                b'0'..=b'9' => Ok(byte - b'0'),
                b'a'..=b'f' => Ok(byte - b'a' + 10),
                _ => Err(InvalidContentHash),
            })
            .collect::<Result<_, _>>()?;
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        match <[u8; 32]>::try_from(bytes) {
            Ok(bytes) if text.len() == 64 => Ok(Self(bytes)),
            _ => Err(InvalidContentHash),
        }
    }
}

/// Hashes a sequence of values so that no other sequence gives the same bytes: every value of
/// variable size is preceded by its length, and whoever writes a list writes its count first.
#[derive(Clone, Debug)]
pub struct Framer(Sha256);

impl Framer {
    /// Starts with the framed name of what is hashed, so that two kinds never collide.
    pub fn new(domain: &str) -> Self {
        let mut framer = Self(Sha256::new());
        framer.str(domain);
        framer
    }

    /// The length as 8 bytes little-endian, and the bytes.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.number(value.len() as u64);
        self.0.update(value);
        self
    }

    /// As [`bytes`](Self::bytes), of UTF-8 text.
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// 8 bytes little-endian.
    pub fn number(&mut self, value: u64) -> &mut Self {
        self.0.update(value.to_le_bytes());
        self
    }

    /// 32 bytes.
    pub fn hash(&mut self, value: ContentHash) -> &mut Self {
        self.0.update(value.0);
        self
    }

    /// The hash of everything so far.
    pub fn finish(self) -> ContentHash {
        ContentHash(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_read_back() {
        let hash = ContentHash::of(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.parse(), Ok(hash));
        for bad in
            ["", &text[1..], &format!("{text}0"), &text.to_uppercase(), &text.replace('e', "g")]
        {
            assert!(bad.parse::<ContentHash>().is_err(), "{bad}");
        }
    }

    #[test]
    fn moving_a_boundary_changes_the_hash() {
        let framed = |parts: &[&str]| {
            let mut framer = Framer::new("test");
            for part in parts {
                framer.str(part);
            }
            framer.finish()
        };
        assert_ne!(framed(&["ab", "c"]), framed(&["a", "bc"]));
        assert_ne!(framed(&["abc"]), framed(&["abc", ""]));
    }

    #[test]
    fn the_framing_is_as_documented() {
        let mut framer = Framer::new("d");
        framer.str("ab").number(7).hash(ContentHash::of(b""));
        let mut bytes = b"\x01\0\0\0\0\0\0\0d\x02\0\0\0\0\0\0\0ab\x07\0\0\0\0\0\0\0".to_vec();
        bytes.extend(ContentHash::of(b"").as_bytes());
        assert_eq!(framer.finish(), ContentHash::of(&bytes));
    }
}
