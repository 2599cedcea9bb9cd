//! What the tags of an image begin with.

use std::fmt;
use std::str::FromStr;

use dockit_registry::Tag;

use crate::key::KEY_VERSION;

/// `tag-prefix`: a text that a tag may begin with, so that images of one repository have different
/// tags.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagPrefix(String);

/// A text that is no [`TagPrefix`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid tag-prefix {0:?}: no moving tag begins so; use up to 128 letters, digits, `_`, `.` and \
     `-`, beginning with none of the last two, nor with {version}-", version = KEY_VERSION
)]
pub struct InvalidTagPrefix(pub String);

impl TagPrefix {
    /// The prefix's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TagPrefix {
    type Err = InvalidTagPrefix;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Whatever a tag begins with is a tag itself.
        match text.parse::<Tag>() {
            Ok(tag) if !begins_as_content_tags(text) => Ok(Self(tag.to_string())),
            _ => Err(InvalidTagPrefix(text.to_owned())),
        }
    }
}

fn begins_as_content_tags(text: &str) -> bool {
    text.strip_prefix(KEY_VERSION).is_some_and(|rest| rest.starts_with('-'))
}

impl fmt::Display for TagPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_what_a_tag_may_begin_with() {
        for good in ["cuda12", "py3.11-", "_x", "V1"] {
            assert_eq!(good.parse::<TagPrefix>().unwrap().as_str(), good);
        }
        for bad in ["", "k1-x", "-a", ".a", "a/b", "a:b", "{branch}", &"a".repeat(129)] {
            assert!(bad.parse::<TagPrefix>().is_err(), "{bad}");
        }
    }
}
