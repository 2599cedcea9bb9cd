//! Keys that were computed.

use std::collections::BTreeMap;
use std::sync::Arc;

use dockit_hashing::context::Listing;
use dockit_hashing::dockerfile::{SecretMount, WholeContext};

use super::ImageKey;
use super::index::KeyedIndex;
use super::inputs::KeyInputs;
use super::warning::KeyWarning;
use crate::image_name::ImageName;

/// An image's key and what it was computed from.
#[derive(Clone, Debug)]
pub struct KeyedImage {
    /// The key.
    pub key: ImageKey,
    /// Everything that the key is the hash of.
    pub inputs: KeyInputs,
    /// Files of the build context, relative to the image's context directory: what the build gets.
    pub context: Arc<Listing>,
    /// Why the whole build context counts, if it does; never with a declared key.
    pub whole_context: Vec<WholeContext>,
    /// Secrets and ssh agents that the build mounts. No key covers what is in them.
    pub secret_mounts: Vec<SecretMount>,
    /// The first command that the build runs, if it runs any: what decides whether it takes an engine.
    pub command: Option<FirstCommand>,
    /// Build arguments to build with: the configured ones that have an effect, and what the platform
    /// predefines about the machine that builds, so that no machine fills in its own.
    pub args: BTreeMap<String, String>,
    /// Configured arguments that no reachable stage declares: they have no effect.
    pub undeclared_args: Vec<String>,
    /// The first day (UTC) after the epoch in the key, or after that of something the image depends
    /// on, whichever ends first.
    pub expires: Option<time::Date>,
}

/// The first command of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstCommand {
    /// The 1-based line of the Dockerfile where it stands; that of the `FROM` for one of the base image.
    pub line: u32,
    /// What `RUN` runs, as it is written.
    pub text: String,
}

/// Keys of images, with those of all their dependencies.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    pub(super) images: BTreeMap<ImageName, KeyedImage>,
    pub(super) indexes: BTreeMap<ImageName, KeyedIndex>,
    pub(super) warnings: Vec<KeyWarning>,
}

impl Keys {
    /// The key of an image or an index, if it was computed.
    pub fn key(&self, name: &ImageName) -> Option<ImageKey> {
        self.get(name).map(|keyed| keyed.key).or_else(|| Some(self.index(name)?.key))
    }

    /// The first day (UTC) on which the key is another one by time alone.
    pub fn expires(&self, name: &ImageName) -> Option<time::Date> {
        match self.index(name) {
            Some(index) => index.expires,
            None => self.get(name)?.expires,
        }
    }

    /// The key of an index and those of its parts, if they were computed.
    pub fn index(&self, name: &ImageName) -> Option<&KeyedIndex> {
        self.indexes.get(name)
    }

    /// The image's key and inputs, if they were computed. An [index](Self::index) has none of its own.
    pub fn get(&self, name: &ImageName) -> Option<&KeyedImage> {
        self.images.get(name)
    }

    /// All images that are built, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ImageName, &KeyedImage)> {
        self.images.iter()
    }

    /// What somebody should look after, in the order of the graph.
    pub fn warnings(&self) -> &[KeyWarning] {
        &self.warnings
    }
}
