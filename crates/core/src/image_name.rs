//! Names of images.

use std::fmt;
use std::str::FromStr;

use dockit_registry::Platform;
use serde::Serialize;

/// The name of an image: its table in `dockit.toml`, and by default the end of its repository.
///
/// One or more components joined by `/`, each of lower-case letters and digits with one `.`, one `_`, two
/// `__` or any number of `-` between them: what the
/// [distribution specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests)
/// allows in a repository. The part of an index that is for one platform is called `NAME@PLATFORM`, as
/// `app@linux/arm64`; no table can be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ImageName(String);

/// A text that is no [`ImageName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.describe())]
pub struct InvalidImageName(pub String);

impl ImageName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the part of this index for a platform is called.
    #[must_use]
    pub fn part(&self, platform: &Platform) -> Self {
        Self(format!("{self}@{platform}"))
    }

    /// Whether it is the name of a part.
    pub fn is_part(&self) -> bool {
        self.0.contains('@')
    }
}

impl FromStr for ImageName {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid_component = |component: &str| {
            let bytes = component.as_bytes();
            let mut separators = bytes.split(alphanumeric).filter(|between| !between.is_empty());
            bytes.first().is_some_and(alphanumeric)
                && bytes.last().is_some_and(alphanumeric)
                && separators.all(is_separator)
        };
        let (name, platform) = match text.split_once('@') {
            Some((name, platform)) => (name, Some(platform)),
            None => (text, None),
        };
        // One platform has one spelling.
        let valid_platform = |platform: &str| {
            platform.parse::<Platform>().is_ok_and(|parsed| parsed.to_string() == platform)
        };
        if name.split('/').all(valid_component) && platform.is_none_or(valid_platform) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidImageName(text.to_owned()))
        }
    }
}

/// What may stand between two letters or digits.
fn is_separator(bytes: &[u8]) -> bool {
    matches!(bytes, b"." | b"_" | b"__") || bytes.iter().all(|byte| *byte == b'-')
}

impl InvalidImageName {
    fn describe(&self) -> String {
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let mut between = self.0.as_bytes().split(|byte| alphanumeric(byte) || *byte == b'/');
        let allowed = between.clone().flatten().all(|byte| b"._-".contains(byte));
        // Who wrote nothing else than a name may hold wants to know what is wrong with it.
        let more = match allowed && !between.all(is_separator) {
            true => "; between two of them stand one `.`, one `_`, `__`, or only `-`",
            false => "",
        };
        format!(
            "invalid image name {:?}: use lower-case letters, digits, `.`, `_`, `-` and `/`, \
             beginning and ending with a letter or digit{more}",
            self.0
        )
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
        for good in ["base", "a", "py3.11-cuda", "ci/base", "a_b", "a__b", "a--b", "a---b"] {
            assert_eq!(good.parse::<ImageName>().unwrap().as_str(), good);
            assert!(good.parse::<dockit_registry::Reference>().is_ok(), "{good}");
        }
        for bad in ["a..b", "a.-b", "a___b", "a_-b", "a._b", "ci/a..b"] {
            let error = bad.parse::<ImageName>().unwrap_err().to_string();
            assert!(error.ends_with("or only `-`"), "{error}");
            assert!(bad.parse::<dockit_registry::Reference>().is_err(), "{bad}");
        }
        for part in ["app@linux/arm64", "ci/app-gpu@linux/arm/v7"] {
            assert!(part.parse::<ImageName>().unwrap().is_part(), "{part}");
        }
        for bad in ["app@arm64", "app@linux/aarch64", "@linux/arm64", "app@linux/arm64@linux/arm64"]
        {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
        for bad in ["", "Base", "/a", "a/", "a//b", "-a", "a-", "a:b", "a@b", "a b", "ä"] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }
}
