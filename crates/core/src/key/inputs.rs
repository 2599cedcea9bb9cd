//! Everything that a key is computed from, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dockit_hashing::content_hash::{ContentHash, Framer};
use dockit_hashing::context::{Entry, Listing};
use dockit_hashing::dockerfile::Program;
use dockit_registry::{Digest, Platform, Reference};

use super::ImageKey;
use crate::build_options::BuildOptions;
use crate::image_name::ImageName;

/// Everything that determines an image. Its [`key`](Self::key) is the hash of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInputs {
    /// The platform that the image is for.
    pub platform: Platform,
    /// What the reachable stages of the Dockerfile execute.
    pub program: Program,
    /// Build arguments that can reach the build, sorted by name. A name may be there several times.
    pub args: Vec<KeyedArg>,
    /// The images that the Dockerfile uses, in the order of the program.
    pub uses: Vec<ImageUseInput>,
    /// Images that this one needs though its Dockerfile does not show it, by name.
    pub needs: Vec<NeedInput>,
    /// The files of the build context.
    pub files: Files,
    /// The SHA-256 of the Dockerfile's text, where something in the build may read it and no
    /// declared key takes the place of all files.
    pub dockerfile: Option<ContentHash>,
    /// Files that count though the build does not see them, by path.
    pub extra: Vec<ExtraInput>,
    /// The period of a `refresh`: `2026-11-21`, `2026-W47` or `2026-11`.
    pub epoch: Option<String>,
    /// Build options that differ from their defaults, by name.
    pub options: BTreeMap<String, String>,
}

/// A build argument with the value that the build sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyedArg {
    /// Its name.
    pub name: String,
    /// Its value; none where it has none, or where the environment of a base image decides it.
    pub value: Option<ArgValue>,
}

/// The value of a keyed argument, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ArgValue {
    /// What the build sees.
    Plain(String),
    /// Its [hash](KeyedArg::digest), where what was recorded does not say more.
    Hash(ContentHash),
}

/// What an image use was resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageUseInput {
    /// Another image of the project, by its key.
    Image {
        /// Its name. Not hashed.
        name: ImageName,
        /// Its key.
        key: ImageKey,
    },
    /// An image from elsewhere, by the digest of the manifest that is used.
    Base {
        /// As the Dockerfile names it. Not hashed.
        reference: Reference,
        /// The platform whose manifest it is. Not hashed.
        platform: Platform,
        /// The digest.
        digest: Digest,
    },
}

/// An image that is needed though no Dockerfile shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeedInput {
    /// Its name. Not hashed.
    pub name: ImageName,
    /// Its key.
    pub key: ImageKey,
}

/// What of the build context counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// Every file that the build can read.
    Listed(Arc<Listing>),
    /// Values that a declared key picks out of files, by name. What else is in the files is not
    /// seen.
    Declared(Vec<DeclaredValue>),
}

/// One value of a declared key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeclaredValue {
    /// The name that the configuration gives it.
    pub name: String,
    /// What stands in the file.
    pub value: String,
}

/// A file or directory outside of the build context that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraInput {
    /// The path as configured, without needless components, and with `/` at its end if it is a
    /// directory: a file is never taken for a directory that holds a file of the same name.
    pub path: String,
    /// What is there; of a single file one entry with its name.
    pub listing: Arc<Listing>,
}

impl ExtraInput {
    /// Where one of its entries lies, from the configuration file on.
    pub fn path_of(&self, entry: &Entry) -> String {
        match self.path.strip_suffix('/') {
            // A single file is its own listing.
            None => self.path.clone(),
            Some(".") => entry.path().to_string(),
            Some(_) => format!("{}{}", self.path, entry.path()),
        }
    }
}

impl KeyInputs {
    /// Whether the key can change though an engine sees nothing new: through an epoch, extra
    /// inputs, a declared key, the addresses of hosts, or what an image `needs` without its
    /// Dockerfile saying so. An engine with a layer cache would then give the old layers for the
    /// new key.
    pub fn hidden_from_engine(&self) -> bool {
        self.epoch.is_some()
            || !self.extra.is_empty()
            || !self.needs.is_empty()
            || matches!(self.files, Files::Declared(_))
            || BuildOptions::hidden_from_engine(&self.options)
    }

    /// The values of the declared key, if there is one.
    pub fn declared(&self) -> Option<&[DeclaredValue]> {
        match &self.files {
            Files::Declared(values) => Some(values),
            Files::Listed(_) => None,
        }
    }

    /// The hash of everything.
    pub fn key(&self) -> ImageKey {
        let mut framer = Framer::new("dockit-image-key-1");
        framer.str(&self.platform.to_string());
        framer.hash(self.program.hash());
        framer.list(self.args.len());
        for argument in &self.args {
            framer.str(&argument.name);
            option(&mut framer, argument.digest());
        }
        framer.list(self.uses.len());
        for used in &self.uses {
            match used {
                ImageUseInput::Image { key, .. } => framer.str("image").hash(key.0),
                ImageUseInput::Base { digest, .. } => framer.str("base").str(digest.as_str()),
            };
        }
        let needs: BTreeSet<ContentHash> = self.needs.iter().map(|need| need.key.0).collect();
        framer.list(needs.len());
        for key in needs {
            framer.hash(key);
        }
        match &self.files {
            Files::Listed(listing) => {
                framer.number(1).hash(listing.hash());
            }
            Files::Declared(values) => {
                framer.number(2).list(values.len());
                for value in values {
                    framer.str(&value.name).str(&value.value);
                }
            }
        }
        option(&mut framer, self.dockerfile);
        framer.list(self.extra.len());
        for extra in &self.extra {
            framer.str(&extra.path).hash(extra.listing.hash());
        }
        match &self.epoch {
            Some(epoch) => framer.number(1).str(epoch),
            None => framer.number(0),
        };
        framer.list(self.options.len());
        for (name, value) in &self.options {
            framer.str(name).str(value);
        }
        ImageKey(framer.finish())
    }
}

impl KeyedArg {
    /// An argument whose value is known.
    pub fn new(name: impl Into<String>, value: Option<String>) -> Self {
        Self { name: name.into(), value: value.map(ArgValue::Plain) }
    }

    /// A hash of name and value, which can be published where the value cannot. A value that can be
    /// guessed can be found out from it.
    pub fn digest(&self) -> Option<ContentHash> {
        Some(match self.value.as_ref()? {
            ArgValue::Hash(hash) => *hash,
            ArgValue::Plain(value) => {
                let mut framer = Framer::new("dockit-argument-1");
                framer.str(&self.name).str(value);
                framer.finish()
            }
        })
    }
}

fn option(framer: &mut Framer, hash: Option<ContentHash>) {
    match hash {
        Some(hash) => framer.number(1).hash(hash),
        None => framer.number(0),
    };
}
