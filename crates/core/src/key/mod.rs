//! Image keys: the hash of everything that determines an image.
//!
//! A key is a pure function of the work tree, the lockfile, the arguments, the platform and the
//! [epoch](KeyOptions::today): [`compute_keys`] collects all of that as [`KeyInputs`], and
//! [`KeyInputs::key`] hashes it. The format is `docs/key-format.md`.

mod compute;
mod contexts;
mod epochs;
mod error;
mod extra;
mod index;
mod inputs;
mod keyed;
mod uses;
mod warning;
mod written;

use std::fmt;
use std::str::FromStr;

use dockit_hashing::content_hash::ContentHash;
use dockit_registry::Tag;

pub use self::compute::{KeyOptions, compute_keys};
pub use self::error::KeysError;
pub use self::index::{KeyedIndex, index_key};
pub use self::inputs::{
    ArgValue, DeclaredValue, ExtraInput, Files, ImageUseInput, KeyInputs, KeyedArg, NeedInput,
};
pub use self::keyed::{FirstCommand, KeyedImage, Keys};
pub use self::warning::KeyWarning;
pub use self::written::{ReadAs, WrittenInput, WrittenPath, written_input};

/// Version of the key format, as it stands in keys and content tags.
pub const KEY_VERSION: &str = "k1";

/// Directory beside the lockfile where dockit keeps what is no part of the project.
pub const STATE_DIRECTORY: &str = ".dockit";

/// The hash of everything that determines an image. Two images with equal keys are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageKey(ContentHash);

impl ImageKey {
    /// The content tag: the key spelled as a tag, `k1-` and 64 hex digits.
    pub fn tag(&self) -> Tag {
        format!("{KEY_VERSION}-{}", self.0)
            .parse()
            .expect("67 letters, digits and a hyphen are a valid tag")
    }

    /// Whether a tag has the form of a content tag.
    pub fn is_content_tag(tag: &Tag) -> bool {
        tag.as_str()
            .strip_prefix(KEY_VERSION)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|hash| hash.parse::<ContentHash>().is_ok())
    }

    /// The version and the first 12 digits of the hash, for people.
    pub fn short(&self) -> String {
        format!("{KEY_VERSION}:{}", &self.0.to_string()[..12])
    }
}

impl fmt::Display for ImageKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{KEY_VERSION}:{}", self.0)
    }
}

impl serde::Serialize for ImageKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is no [`ImageKey`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid image key {0:?}: it is \"{KEY_VERSION}:\" and 64 lower-case hex digits")]
pub struct InvalidImageKey(String);

impl FromStr for ImageKey {
    type Err = InvalidImageKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix(KEY_VERSION)
            .and_then(|rest| rest.strip_prefix(':'))
            .and_then(|hash| hash.parse().ok())
            .map(Self)
            .ok_or_else(|| InvalidImageKey(text.to_owned()))
    }
}
