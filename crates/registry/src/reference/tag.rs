//! Tags.

use std::fmt;
use std::str::FromStr;

use super::ReferenceError;
use crate::text::serde_as_text;

/// A tag: 1 to 128 letters, digits, `_`, `.` and `-`, not beginning with `.` or `-` (distribution
/// spec, *Pulling manifests*).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// `latest`, which Docker takes where a reference has neither tag nor digest.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let valid = text.len() <= 128
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReferenceError::new(
                "tag",
                text,
                "must be 1 to 128 letters, digits, \"_\", \".\" and \"-\", and begin with none of \
                 the last two",
            ))
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

serde_as_text!(Tag);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_follow_the_distribution_spec() {
        for valid in ["latest", "_", "1.0-rc.1", "A_b", &"a".repeat(128)] {
            assert_eq!(valid.parse::<Tag>().unwrap().as_str(), valid);
        }
        for invalid in ["", ".a", "-a", "a:b", "a/b", "a b", "ä", &"a".repeat(129)] {
            assert!(invalid.parse::<Tag>().is_err(), "{invalid}");
        }
    }
}
