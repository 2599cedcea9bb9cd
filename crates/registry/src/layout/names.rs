//! What names and digests in `index.json` lead to.

use std::collections::BTreeMap;

use super::index::Index;
use super::{Layout, LayoutName};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::Descriptor;

/// Most names that an error lists.
const NAMES_LISTED: usize = 10;

impl Layout {
    /// What a reference's name and digest lead to; `None` if nothing has them. The digest decides, if
    /// there is one; it may also be that of a manifest which an index leads to.
    ///
    /// Without both it is the layout's only image: the only one that has a name, or else the only one
    /// at all. What refers to others does not count, nor do the names of lists of referrers.
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
            (Some(name), None) => {
                let mut named = index.named(name);
                if named.len() > 1 {
                    let problem = format!("several images have the name {name}: use their digests");
                    return Err(self.problem(&problem));
                }
                Ok(named.pop())
            }
            (None, None) => Ok(self.only(&index)?.map(|(_, descriptor)| descriptor)),
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
        self.expect_there(manifest)?;
        self.change(|index| Ok(index.set_name(name, manifest)))
    }

    /// Makes a manifest the layout's only image without giving it a name. An image that was it before
    /// and had no name loses its entry in `index.json`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the layout holds another image that has a name, or several;
    /// [`ErrorKind::NotFound`] if the manifest is not there; `index.json` is damaged, or cannot be
    /// written.
    pub fn set_only(&self, manifest: &Descriptor) -> Result<(), Error> {
        self.expect_there(manifest)?;
        self.change(|index| match self.only(index)? {
            Some((_, only)) if only.digest == manifest.digest => Ok(false),
            Some((Some(name), _)) => {
                let problem = format!("holds an image named {name}: name the other one, too");
                Err(self.problem(&problem))
            }
            Some((None, only)) => {
                index.remove_nameless(&only.digest);
                index.add(manifest);
                Ok(true)
            }
            None => Ok(index.add(manifest)),
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
        self.expect_there(manifest)?;
        self.change(|index| Ok(index.add(manifest)))
    }

    /// Takes a name away, if there is such a name. The image stays, with an entry without a name.
    ///
    /// # Errors
    ///
    /// `index.json` is damaged, or cannot be written.
    pub fn remove_name(&self, name: &LayoutName) -> Result<(), Error> {
        self.change(|index| Ok(index.remove_name(name)))
    }

    /// The layout's only image, with a name that it has.
    fn only(&self, index: &Index) -> Result<Option<(Option<LayoutName>, Descriptor)>, Error> {
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
        if named.len() > 1 {
            let problem = format!("holds several images, name one: {}", list(&self.names()?));
            return Err(self.problem(&problem));
        }
        if let Some((_, only)) = named.pop_first() {
            return Ok(Some(only));
        }
        let mut images = Vec::new();
        for (_, entry) in nameless {
            if !self.is_referrer(&entry.1)? {
                images.push(entry);
            }
        }
        if images.len() > 1 {
            let digests: Vec<&str> =
                images.iter().take(NAMES_LISTED).map(|(_, image)| image.digest.as_str()).collect();
            let problem = format!(
                "holds {} images without names, use a digest: {}",
                images.len(),
                digests.join(", ")
            );
            return Err(self.problem(&problem));
        }
        Ok(images.pop())
    }

    fn expect_there(&self, manifest: &Descriptor) -> Result<(), Error> {
        if self.has_blob(manifest)? {
            return Ok(());
        }
        let path = self.directory().display();
        let message = format!("{path}: no manifest {} to name", manifest.digest);
        Err(Error::new(ErrorKind::NotFound, message))
    }

    fn problem(&self, problem: &str) -> Error {
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

fn list(names: &[(LayoutName, Descriptor)]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_LISTED).map(|(name, _)| name.as_str()).collect();
    let more = names.len() - shown.len();
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{and_more}", shown.join(", "))
}
