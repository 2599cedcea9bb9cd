//! Digests of stored bytes.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha512};

use crate::text::serde_as_text;

/// The digest under which a registry stores bytes: `sha256:` and 64 hex digits, or `sha512:` and
/// 128, always in lower case (image spec, *Digests*).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

/// Text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no digest: expected \"sha256:\" and 64 lowercase hex digits, or \"sha512:\" and 128"
)]
pub struct DigestError {
    text: String,
}

impl Digest {
    /// The SHA-256 digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", hex(&Sha256::digest(bytes))))
    }

    /// The digest that a SHA-256 hasher ended with.
    pub(crate) fn from_sha256(hash: &[u8]) -> Self {
        Self(format!("sha256:{}", hex(hash)))
    }

    /// The digest that a SHA-512 hasher ended with.
    pub(crate) fn from_sha512(hash: &[u8]) -> Self {
        Self(format!("sha512:{}", hex(hash)))
    }

    /// Whether these bytes have this digest.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        match self.algorithm() {
            "sha512" => self.hex() == hex(&Sha512::digest(bytes)),
            _ => self.hex() == hex(&Sha256::digest(bytes)),
        }
    }

    /// The whole digest, as `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// The hex digits.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digits = match text.split_once(':') {
            Some(("sha256", hex)) if hex.len() == 64 => hex,
            Some(("sha512", hex)) if hex.len() == 128 => hex,
            _ => {
                return Err(DigestError { text: text.to_owned() });
            }
        };
        if digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DigestError { text: text.to_owned() })
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

serde_as_text!(Digest);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_fips_180() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").as_str(), abc);
        assert!(abc.parse::<Digest>().unwrap().matches(b"abc"));
        assert!(!abc.parse::<Digest>().unwrap().matches(b"abd"));
        let long: Digest =
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                            2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
                .parse()
                .unwrap();
        assert!(long.matches(b"abc") && !long.matches(b""));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let hex = "a".repeat(64);
        for text in [
            String::new(),
            hex.clone(),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:{hex}a"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha512:{hex}"),
            format!("md5:{hex}"),
            format!(" sha256:{hex}"),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_digest_is_a_string_in_json() {
        let digest = Digest::of(b"");
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"sha256:1\"").is_err());
    }
}
