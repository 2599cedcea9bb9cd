//! What refers to what in a layout.
//!
//! The image spec has no list of referrers for layouts. They are found as all tools leave them: as
//! entries of `index.json`, or below an index that is one, such as the lists that some keep there
//! under names like `sha256-HEX`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::blobs::blob_name;
use super::{INDEX, Layout};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::{Descriptor, MAX_MANIFEST_SIZE, Manifest, media_type};

/// Most entries that are looked at, of `index.json` and of indexes below it.
const MAX_ENTRIES: usize = 100_000;

/// Most bytes of manifests that refer to others: of each, annotations are held in memory.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// All of a layout's referrers, by what they refer to.
pub(crate) type Referrers = BTreeMap<Digest, Vec<Descriptor>>;

impl Layout {
    /// The manifests that refer to `subject`, of every type, with artifact type and annotations.
    ///
    /// Every manifest that `index.json` leads to is read for that, but for those of whose entry dockit says
    /// that they refer to nothing, or to something else. Entries that lead nowhere are
    /// passed over: a layout need not hold all of what an index lists. So are those that lead to what
    /// is no manifest, or too large for one.
    ///
    /// # Errors
    ///
    /// `index.json` or a manifest is damaged or cannot be read; [`ErrorKind::Invalid`] for more than
    /// 100,000 entries.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        let mut all = self.referrers_by(Some(subject), |entry| self.content(entry))?;
        Ok(all.remove(subject).unwrap_or_default())
    }

    /// The referrers of all subjects, found in one go.
    ///
    /// # Errors
    ///
    /// As [`referrers`](Self::referrers).
    #[cfg(feature = "client")]
    pub(crate) fn all_referrers(&self) -> Result<Referrers, Error> {
        self.referrers_by(None, |entry| self.content(entry))
    }

    /// The same, but damaged manifests are passed over, as [`has_manifest`](Self::has_manifest) does,
    /// for who is about to write them anew.
    ///
    /// # Errors
    ///
    /// As [`referrers`](Self::referrers), but for damaged manifests.
    #[cfg(feature = "client")]
    pub(crate) fn all_intact_referrers(&self) -> Result<Referrers, Error> {
        self.referrers_by(None, |entry| match self.content(entry) {
            Err(error) if *error.kind() == ErrorKind::DigestMismatch => Ok(None),
            content => content,
        })
    }

    fn referrers_by(
        &self,
        of: Option<&Digest>,
        content: impl Fn(&Descriptor) -> Result<Option<(Manifest, Descriptor)>, Error>,
    ) -> Result<Referrers, Error> {
        let mut found = Referrers::new();
        let mut bytes_left = MAX_BYTES;
        let mut queue = VecDeque::new();
        let mut seen = BTreeSet::new();
        let mut enqueue = |queue: &mut VecDeque<Descriptor>, entry: Descriptor| {
            let is_manifest = media_type::ALL.contains(&entry.media_type.as_str());
            if is_manifest && seen.insert(entry.digest.clone()) {
                queue.push_back(entry);
            }
            if seen.len() > MAX_ENTRIES {
                let problem = format!("it leads to more than {MAX_ENTRIES} manifests");
                return Err(self.directory.invalid(INDEX, &problem));
            }
            Ok(())
        };
        for entry in self.index()?.entries().filter(|entry| entry.may_refer_to(of)) {
            enqueue(&mut queue, entry.descriptor)?;
        }
        while let Some(entry) = queue.pop_front() {
            let Some((content, descriptor)) = content(&entry)? else {
                continue;
            };
            for child in content.children() {
                enqueue(&mut queue, child.clone())?;
            }
            if let Some(subject) = content.subject() {
                bytes_left = bytes_left.checked_sub(descriptor.size).ok_or_else(|| {
                    let problem = format!("referrers have more than {MAX_BYTES} bytes");
                    self.directory.invalid(INDEX, &problem)
                })?;
                found.entry(subject.digest.clone()).or_default().push(Descriptor {
                    artifact_type: content.type_as_referrer().map(ToOwned::to_owned),
                    annotations: content.annotations().clone(),
                    ..descriptor
                });
            }
        }
        Ok(found)
    }

    /// What the manifest of an entry refers to, if it does.
    pub(super) fn subject(&self, entry: &Descriptor) -> Result<Option<Digest>, Error> {
        let content = self.content(entry)?;
        Ok(content.and_then(|(content, _)| content.subject().map(|subject| subject.digest.clone())))
    }

    /// What the manifest of an entry says; `None` where it is not there, is no manifest, is too large
    /// for one, or of a format that has no subjects.
    fn content(&self, entry: &Descriptor) -> Result<Option<(Manifest, Descriptor)>, Error> {
        match self.directory.file(&blob_name(&entry.digest))? {
            Some((_, size)) if size <= MAX_MANIFEST_SIZE => {}
            _ => return Ok(None),
        }
        let parsed = self
            .manifest_of(&entry.digest, Some(entry))
            .and_then(|raw| raw.map(|raw| Ok((raw.parse()?, raw.descriptor()))).transpose());
        match parsed {
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Invalid) => {
                Ok(None)
            }
            parsed => parsed,
        }
    }
}
