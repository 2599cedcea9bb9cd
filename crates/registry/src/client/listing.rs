//! What is in a repository, as far as its registry tells.

use std::time::SystemTime;

use crate::digest::Digest;
use crate::reference::Tag;

/// A tag in a repository, or a manifest there that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListEntry {
    /// The tag; `None`: no tag is on the manifest.
    pub tag: Option<Tag>,
    /// The manifest.
    pub digest: Digest,
    /// Its media type, where the listing says it.
    pub media_type: Option<String>,
    /// Bytes of the image as the registry counts them, mostly compressed layers and config; those of an
    /// index may count its images or nothing but itself.
    pub size: Option<u64>,
    /// When it came there.
    pub time: Option<ListedTime>,
    /// When it was last pulled, as far as the registry keeps that.
    pub last_pulled: Option<SystemTime>,
    /// It cannot be deleted as long as it is locked or protected.
    pub locked: bool,
}

/// A time, and what happened then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedTime {
    /// The time.
    pub at: SystemTime,
    /// What happened then.
    pub source: TimeSource,
}

/// What a listed time is the time of. Only the first three say how long something has been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeSource {
    /// The tag was put on this manifest.
    TagPushed,
    /// The manifest was pushed; the tag may be younger.
    ManifestPushed,
    /// The tag, or the manifest, was changed in some way.
    Updated,
    /// What the image's config says, which whoever built it may have set to any time.
    ConfigCreated,
}

impl ListEntry {
    /// An entry of which nothing more is known.
    pub fn new(tag: Option<Tag>, digest: Digest) -> Self {
        Self {
            tag,
            digest,
            media_type: None,
            size: None,
            time: None,
            last_pulled: None,
            locked: false,
        }
    }

    /// When the registry got it; nothing where only its builder says a time.
    pub fn pushed(&self) -> Option<SystemTime> {
        self.time.filter(|time| time.source != TimeSource::ConfigCreated).map(|time| time.at)
    }
}

impl TimeSource {
    /// The name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::TagPushed => "tag-pushed",
            Self::ManifestPushed => "manifest-pushed",
            Self::Updated => "updated",
            Self::ConfigCreated => "config-created",
        }
    }
}
