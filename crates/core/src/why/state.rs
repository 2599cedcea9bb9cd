//! What an image can be compared with, as it is written on a command line.

use std::fmt;
use std::str::FromStr;

use dockit_registry::{Digest, Reference, Tag};

use crate::key::ImageKey;

/// A state of an image.
///
/// Written as `worktree`, `rev:REVISION`, `tag:TAG`, `sha256:…`, `k1:…`, `locked`, `last`, or a whole
/// reference such as `ghcr.io/team/base:1.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The work tree as it is.
    WorkTree,
    /// A revision of the git repository that the project is in.
    Revision(String),
    /// The image that a tag of its repository is on.
    Tag(Tag),
    /// The image of its repository with this digest.
    Digest(Digest),
    /// The image that the lockfile records.
    Locked,
    /// What was last built, or reused, in this work tree.
    Last,
    /// The image with this key.
    Key(ImageKey),
    /// An image in a registry, whatever project it is of.
    Image(Reference),
}

/// A text that is no [`State`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no state of an image: expected worktree, rev:REVISION, tag:TAG, a digest, a key, locked, \
     last, or a reference with its registry"
)]
pub struct InvalidState(String);

impl FromStr for State {
    type Err = InvalidState;

    fn from_str(text: &str) -> Result<Self, InvalidState> {
        let invalid = || InvalidState(text.to_owned());
        Ok(match text.split_once(':') {
            None if text == "worktree" => Self::WorkTree,
            None if text == "locked" => Self::Locked,
            None if text == "last" => Self::Last,
            Some(("rev", revision)) if !revision.is_empty() => Self::Revision(revision.to_owned()),
            Some(("tag", tag)) => Self::Tag(tag.parse().map_err(|_| invalid())?),
            Some(("sha256" | "sha512", _)) => Self::Digest(text.parse().map_err(|_| invalid())?),
            Some(("k1", _)) => Self::Key(text.parse().map_err(|_| invalid())?),
            // A name alone is rather a mistake than an image of Docker Hub.
            _ if text.contains('/') => Self::Image(text.parse().map_err(|_| invalid())?),
            _ => return Err(invalid()),
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WorkTree => formatter.write_str("worktree"),
            Self::Revision(revision) => write!(formatter, "rev:{revision}"),
            Self::Tag(tag) => write!(formatter, "tag:{tag}"),
            Self::Digest(digest) => write!(formatter, "{digest}"),
            Self::Locked => formatter.write_str("locked"),
            Self::Last => formatter.write_str("last"),
            Self::Key(key) => write!(formatter, "{key}"),
            Self::Image(reference) => write!(formatter, "{reference}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_they_are_written() {
        let hex = "a".repeat(64);
        for text in [
            "worktree",
            "rev:HEAD~2",
            "rev:a:b",
            "tag:1.0",
            &format!("sha256:{hex}"),
            &format!("k1:{hex}"),
            "locked",
            "last",
            "ghcr.io/team/base:1.0",
            &format!("127.0.0.1:5000/a@sha256:{hex}"),
        ] {
            assert_eq!(text.parse::<State>().unwrap().to_string(), text);
        }
        for text in ["", "base", "rev:", "tag:a b", "sha256:1", "k1:1", "a/B", "HEAD", "base:1"] {
            assert!(text.parse::<State>().is_err(), "{text}");
        }
    }
}
