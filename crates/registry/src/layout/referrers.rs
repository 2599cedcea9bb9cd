//! What refers to what in a layout.
//!
//! The image spec has no list of referrers for layouts. They are found as all tools leave them: as
//! entries of `index.json`, or below an index that is one, such as the lists that some keep there
//! under names like `sha256-HEX`.

use std::collections::{BTreeSet, VecDeque};

use super::Layout;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::{Descriptor, Manifest, media_type};

impl Layout {
    /// The manifests that refer to `subject`, of every type, with artifact type and annotations.
    ///
    /// Every manifest that `index.json` leads to is read for that. Entries that lead nowhere are
    /// passed over: a layout need not hold all of what an index lists.
    ///
    /// # Errors
    ///
    /// `index.json` or a manifest is damaged or cannot be read.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        self.referrers_by(subject, |entry| self.content(entry))
    }

    /// The same, but damaged manifests are passed over, as [`has_manifest`](Self::has_manifest) does,
    /// for who is about to write them anew.
    ///
    /// # Errors
    ///
    /// `index.json` is damaged, or something cannot be read.
    #[cfg(feature = "client")]
    pub(crate) fn intact_referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        self.referrers_by(subject, |entry| match self.content(entry) {
            Err(error) if *error.kind() == ErrorKind::DigestMismatch => Ok(None),
            content => content,
        })
    }

    fn referrers_by(
        &self,
        subject: &Digest,
        content: impl Fn(&Descriptor) -> Result<Option<(Manifest, Descriptor)>, Error>,
    ) -> Result<Vec<Descriptor>, Error> {
        let mut found = Vec::new();
        let mut queue: VecDeque<Descriptor> =
            self.index()?.entries().map(|entry| entry.descriptor).collect();
        let mut seen = BTreeSet::new();
        while let Some(entry) = queue.pop_front() {
            let is_manifest = media_type::ALL.contains(&entry.media_type.as_str());
            if !is_manifest || !seen.insert(entry.digest.clone()) {
                continue;
            }
            let Some((content, descriptor)) = content(&entry)? else {
                continue;
            };
            queue.extend(content.children().iter().cloned());
            if content.subject().is_some_and(|known| known.digest == *subject) {
                found.push(Descriptor {
                    artifact_type: content.type_as_referrer().map(ToOwned::to_owned),
                    annotations: content.annotations().clone(),
                    ..descriptor
                });
            }
        }
        Ok(found)
    }

    /// Whether an entry is one that refers to another manifest.
    pub(super) fn is_referrer(&self, entry: &Descriptor) -> Result<bool, Error> {
        let content = self.content(entry)?;
        Ok(content.is_some_and(|(content, _)| content.subject().is_some()))
    }

    /// What the manifest of an entry says; `None` where it is not there, or of a format that has no
    /// subjects.
    fn content(&self, entry: &Descriptor) -> Result<Option<(Manifest, Descriptor)>, Error> {
        let Some(raw) = self.manifest_of(&entry.digest, Some(entry))? else {
            return Ok(None);
        };
        match raw.parse() {
            Ok(content) => Ok(Some((content, raw.descriptor()))),
            Err(error) if *error.kind() == ErrorKind::Unsupported => Ok(None),
            Err(error) => {
                let path = self.directory().display();
                Err(Error::new(error.kind().clone(), format!("{path}: {error}")))
            }
        }
    }
}
