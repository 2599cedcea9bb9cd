//! The key of an index: the hash of the keys of its parts.

use std::collections::BTreeMap;

use dockit_hashing::content_hash::{ContentHash, Framer};
use dockit_registry::Platform;

use super::ImageKey;
use super::keyed::Keys;
use crate::image_name::ImageName;
use crate::project::Image;

/// The key of an index and what it was computed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedIndex {
    /// The key.
    pub key: ImageKey,
    /// The part for each platform, and its key.
    pub parts: BTreeMap<Platform, (ImageName, ImageKey)>,
    /// The first day (UTC) after the epoch in the key of a part, whichever ends first.
    pub expires: Option<time::Date>,
}

impl KeyedIndex {
    /// The key of an index from those of its parts; none while one of them is not known.
    pub(super) fn of(image: &Image, keys: &Keys) -> Option<Self> {
        let parts = image.platforms().iter().map(|platform| {
            let name = image.name.part(platform);
            let key = keys.get(&name)?.key;
            Some((platform.clone(), (name, key)))
        });
        let parts: BTreeMap<_, _> = parts.collect::<Option<_>>()?;
        let key = index_key(parts.values().map(|(_, key)| *key));
        let expires = parts.values().filter_map(|(name, _)| keys.get(name)?.expires).min();
        Some(Self { key, parts, expires })
    }
}

/// The key of a set of images: of its keys, sorted. Each of them says which platform it is for.
pub fn index_key(parts: impl IntoIterator<Item = ImageKey>) -> ImageKey {
    let mut parts: Vec<ContentHash> = parts.into_iter().map(|key| key.0).collect();
    parts.sort();
    let mut framer = Framer::new("dockit-index-key-1");
    framer.list(parts.len());
    for part in parts {
        framer.hash(part);
    }
    ImageKey(framer.finish())
}
