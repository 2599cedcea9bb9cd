//! Names of images.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The name of an image: its table in `dockit.toml`, and by default the end of its repository.
///
/// One or more components of lower-case letters, digits, `.`, `_` and `-` that begin and end with
/// a letter or digit, joined by `/`: what the distribution specification allows in a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ImageName(String);

/// A text that is no [`ImageName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid image name {0:?}: use lower-case letters, digits, `.`, `_`, `-` and `/`, \
     beginning and ending with a letter or digit"
)]
pub struct InvalidImageName(pub String);

impl ImageName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageName {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid_component = |component: &str| {
            let bytes = component.as_bytes();
            bytes.first().is_some_and(alphanumeric)
                && bytes.last().is_some_and(alphanumeric)
                && bytes.iter().all(|byte| alphanumeric(byte) || b"._-".contains(byte))
        };
        if text.split('/').all(valid_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidImageName(text.to_owned()))
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_repository_may_be_called() {
        for good in ["base", "a", "py3.11-cuda", "ci/base", "a_b"] {
            assert_eq!(good.parse::<ImageName>().unwrap().as_str(), good);
        }
        for bad in ["", "Base", "/a", "a/", "a//b", "-a", "a-", "a:b", "a@b", "a b", "ä"] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }
}
