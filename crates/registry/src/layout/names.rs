//! What names and digests in `index.json` lead to.

use std::collections::BTreeMap;

use super::index::Index;
use super::{Layout, LayoutName};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::Descriptor;

/// Most names that an error lists.
const NAMES_LISTED: usize = 10;

/// An image, and a name that it has.
type NamedImage = (Option<LayoutName>, Descriptor);

impl Layout {
    /// What a reference's name and digest lead to; `None` if nothing has them. The digest decides, if
    /// there is one; it may also be that of a manifest which an index leads to.
    ///
    /// Without both it is the layout's only image: the only one that has a name, or else the only one
    /// at all. What refers to others does not count, unless nothing else is there, not even the others;
    /// nor do the names of lists of referrers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if several images are meant, with their names; what the digest leads to
    /// is damaged or no manifest; or `index.json` cannot be read.
    pub fn find(
        &self,
        name: Option<&LayoutName>,
        digest: Option<&Digest>,
    ) -> Result<Option<Descriptor>, Error> {
        let index = self.index()?;
        match (name, digest) {
            (_, Some(digest)) => {
                let entry = index.entry(digest);
                let raw = self.manifest_of(digest, entry.as_ref())?;
                Ok(raw.map(|raw| entry.unwrap_or_else(|| raw.descriptor())))
            }
            (Some(name), None) => self.only_named(&index, name),
            (None, None) => self.only(&index),
        }
    }

    /// The names, with what they lead to, in the order of `index.json`. Those that are no names by the
    /// image spec are left out.
    ///
    /// # Errors
    ///
    /// `index.json` is damaged or cannot be read.
    pub fn names(&self) -> Result<Vec<(LayoutName, Descriptor)>, Error> {
        let index = self.index()?;
        Ok(index.entries().filter_map(|entry| Some((entry.name()?, entry.descriptor))).collect())
    }

    /// Gives a manifest a name. What had it before stays in `index.json` without it, as other tools
    /// leave it, too. Does nothing if the manifest has the name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the manifest is not there; `index.json` is damaged, or cannot be
    /// written.
    pub fn set_name(&self, name: &LayoutName, manifest: &Descriptor) -> Result<(), Error> {
        self.change(|index| {
            self.expect_there(manifest)?;
            Ok(index.set_name(name, manifest, None))
        })
    }

    /// Makes a manifest the layout's only image without giving it a name. An image that was it before
    /// and had no name loses its entry in `index.json`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the layout holds another image that has a name, or several, or what
    /// the manifest refers to;
    /// [`ErrorKind::NotFound`] if the manifest is not there; `index.json` is damaged, or cannot be
    /// written.
    pub fn set_only(&self, manifest: &Descriptor) -> Result<(), Error> {
        self.change(|index| {
            self.expect_there(manifest)?;
            // First: with the image, its referrers are not taken for images.
            let mut changed = index.add(manifest);
            let mut others = self.images(index)?;
            others.retain(|(_, other)| other.digest != manifest.digest);
            match &others[..] {
                [] => {}
                [(None, other)] => {
                    index.remove_nameless(&other.digest);
                    changed = true;
                }
                [(Some(name), _)] => {
                    let problem = format!("holds an image named {name}: name the other one, too");
                    return Err(self.problem(&problem));
                }
                _ => return Err(self.several(index, &others)),
            }
            // One that refers to another which is here is not found without a name.
            if self.only(index)?.is_none_or(|only| only.digest != manifest.digest) {
                let problem = format!("{} needs a name here", manifest.digest);
                return Err(self.problem(&problem));
            }
            Ok(changed)
        })
    }

    /// Adds an entry without a name, unless the manifest has an entry. So tools find what refers to
    /// other manifests.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the manifest is not there; `index.json` is damaged, or cannot be
    /// written.
    pub fn add_entry(&self, manifest: &Descriptor) -> Result<(), Error> {
        self.change(|index| {
            self.expect_there(manifest)?;
            Ok(index.add(manifest))
        })
    }

    /// Whether `index.json` has an entry of this digest.
    #[cfg(feature = "client")]
    pub(crate) fn has_entry(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.index()?.entry(digest).is_some())
    }

    /// Takes a name away, if there is such a name. The image stays, with an entry without a name.
    ///
    /// # Errors
    ///
    /// `index.json` is damaged, or cannot be written.
    pub fn remove_name(&self, name: &LayoutName) -> Result<(), Error> {
        self.change(|index| Ok(index.remove_name(name)))
    }

    /// What has a name.
    pub(super) fn only_named(
        &self,
        index: &Index,
        name: &LayoutName,
    ) -> Result<Option<Descriptor>, Error> {
        let mut named = index.named(name);
        if named.len() > 1 {
            let problem = format!("several images have the name {name}: use their digests");
            return Err(self.problem(&problem));
        }
        Ok(named.pop())
    }

    /// The layout's only image.
    fn only(&self, index: &Index) -> Result<Option<Descriptor>, Error> {
        let mut images = self.images(index)?;
        if images.len() > 1 {
            return Err(self.several(index, &images));
        }
        Ok(images.pop().map(|(_, image)| image))
    }

    /// The layout's images, each with a name that it has: those that have one, or else all.
    fn images(&self, index: &Index) -> Result<Vec<NamedImage>, Error> {
        let mut named = BTreeMap::new();
        let mut nameless = BTreeMap::new();
        for entry in index.entries() {
            match entry.name().filter(|name| !is_list_of_referrers(name)) {
                Some(name) => {
                    named.insert(entry.descriptor.digest.clone(), (Some(name), entry.descriptor));
                }
                None if entry.name().is_none() => {
                    nameless.insert(entry.descriptor.digest.clone(), (None, entry.descriptor));
                }
                None => {}
            }
        }
        if !named.is_empty() {
            return Ok(named.into_values().collect());
        }
        let (mut images, mut alone) = (Vec::new(), Vec::new());
        for entry in nameless.into_values() {
            match self.subject(&entry.1)? {
                None => images.push(entry),
                Some(subject) if !self.has_bytes(&subject)? => alone.push(entry),
                Some(_) => {}
            }
        }
        Ok(if images.is_empty() { alone } else { images })
    }

    /// An error about more than one image.
    fn several(&self, index: &Index, images: &[NamedImage]) -> Error {
        if images.iter().any(|(name, _)| name.is_some()) {
            let names: Vec<LayoutName> = index.entries().filter_map(|entry| entry.name()).collect();
            return self.problem(&format!("holds several images, name one: {}", list(&names)));
        }
        let digests: Vec<&str> =
            images.iter().take(NAMES_LISTED).map(|(_, image)| image.digest.as_str()).collect();
        self.problem(&format!(
            "holds {} images without names, use a digest: {}",
            images.len(),
            digests.join(", ")
        ))
    }

    fn expect_there(&self, manifest: &Descriptor) -> Result<(), Error> {
        if self.has_blob(manifest)? {
            return Ok(());
        }
        let path = self.directory().display();
        let message = format!("{path}: no manifest {} to name", manifest.digest);
        Err(Error::new(ErrorKind::NotFound, message))
    }

    pub(super) fn problem(&self, problem: &str) -> Error {
        let path = self.directory().display();
        Error::new(ErrorKind::Invalid, format!("{path}: {problem}"))
    }
}

/// Whether a name is that of a list of referrers, as some tools keep it in layouts (distribution spec,
/// *Referrers Tag Schema*).
fn is_list_of_referrers(name: &LayoutName) -> bool {
    name.as_str()
        .strip_prefix("sha256-")
        .or_else(|| name.as_str().strip_prefix("sha512-"))
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn list(names: &[LayoutName]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_LISTED).map(LayoutName::as_str).collect();
    let more = names.len() - shown.len();
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{and_more}", shown.join(", "))
}
