//! A layout as a registry: repositories, whose tags are names `NAME:TAG` in `index.json`.
//!
//! Blobs belong to the whole layout. A manifest belongs to a repository if it has a tag there, or an
//! entry that says so in the annotation `dev.dockit.repository`, or if an index that belongs to it leads
//! there. What other tools put without a name belongs to all repositories.

use std::collections::{BTreeSet, VecDeque};
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::blobs::blob_name;
use super::index::{Belongs, Entry, Index, SUBJECT};
use super::lock::IndexLock;
use super::{INDEX, Layout, LayoutName};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::{Descriptor, Manifest, RawManifest, media_type};
use crate::reference::{RepositoryName, Tag};

/// A tag in a repository of a layout, or a manifest there that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryEntry {
    /// The tag; `None`: the entry has none.
    pub tag: Option<Tag>,
    /// The manifest.
    pub manifest: Descriptor,
    /// What it refers to, if it does.
    pub subject: Option<Digest>,
    /// When the tag was put, or the manifest; entries of other tools do not say it.
    pub pushed: Option<SystemTime>,
}

/// Something to be deleted from a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// A tag, and nothing but the tag.
    Tag(Tag),
    /// A tag, if it is on this manifest.
    TagOn(Tag, Digest),
    /// A manifest with all its tags.
    Manifest(Digest),
}

impl Layout {
    /// The repositories, in alphabetical order: all that have a tag, or a manifest without one.
    ///
    /// # Errors
    ///
    /// `index.json` is damaged or cannot be read.
    pub fn repositories(&self) -> Result<BTreeSet<RepositoryName>, Error> {
        let index = self.index()?;
        Ok(index.entries().filter_map(|entry| repository_of(&entry)).collect())
    }

    /// What is in a repository, in the order of `index.json`; nothing if there is no such repository.
    ///
    /// # Errors
    ///
    /// `index.json` is damaged or cannot be read.
    pub fn entries(&self, repository: &RepositoryName) -> Result<Vec<RepositoryEntry>, Error> {
        let index = self.index()?;
        let entries = index.entries().filter_map(|entry| {
            let pushed = entry.pushed().and_then(time_of);
            let tag = match entry.belongs() {
                Belongs::Tag(theirs, tag) if theirs == *repository => Some(tag),
                Belongs::Untagged(theirs) if theirs == *repository => None,
                _ => return None,
            };
            let subject = entry.descriptor.annotations.get(SUBJECT);
            let subject = subject.and_then(|subject| subject.parse().ok());
            Some(RepositoryEntry { tag, manifest: entry.descriptor, subject, pushed })
        });
        Ok(entries.collect())
    }

    /// What a tag is on; `None` if there is no such tag.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if several manifests have it; `index.json` is damaged or cannot be read.
    pub fn tagged(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Descriptor>, Error> {
        self.only_named(&*self.index()?, &LayoutName::of_tag(repository, tag))
    }

    /// The manifest of a tag; `None` if there is no such tag.
    ///
    /// # Errors
    ///
    /// As [`tagged`](Self::tagged); the manifest is missing, damaged, or cannot be read.
    pub fn tagged_manifest(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<RawManifest>, Error> {
        let Some(entry) = self.tagged(repository, tag)? else {
            return Ok(None);
        };
        let missing = || {
            let problem = format!("{repository}:{tag} is on {}, which is missing", entry.digest);
            self.directory.invalid(INDEX, &problem)
        };
        self.of_size(&entry)?.ok_or_else(missing).map(Some)
    }

    /// The manifest of a digest, if it belongs to a repository; `None` if none does.
    ///
    /// # Errors
    ///
    /// It is damaged, or it or `index.json` cannot be read.
    pub fn manifest_in(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<RawManifest>, Error> {
        if !self.has_bytes(digest)? {
            return Ok(None);
        }
        let index = self.index()?;
        let entry = index.entries_of(digest).find(|entry| is_readable(entry, repository));
        if let Some(entry) = entry {
            return self.of_size(&entry.descriptor);
        }
        // Found out once for each state of `index.json`.
        let below =
            index.below(repository, || self.below_indexes(&index, repository, |_| false))?;
        match below.get(digest) {
            Some(child) => self.of_size(child),
            None => Ok(None),
        }
    }

    /// What refers to a manifest and belongs to this repository or to none.
    ///
    /// # Errors
    ///
    /// As [`referrers`](Self::referrers).
    pub fn referrers_in(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, Error> {
        let mut found = self.referrers(subject)?;
        let index = self.index()?;
        found.retain(|referrer| {
            let mut entries = index.entries_of(&referrer.digest).peekable();
            // What has no entry is below an index that lists referrers.
            entries.peek().is_none() || entries.any(|entry| is_readable(&entry, repository))
        });
        Ok(found)
    }

    /// Puts a tag on a manifest, which is written if it is not there. Everything that the manifest needs
    /// has to be there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`]: something is missing that the manifest needs;
    /// [`ErrorKind::DigestMismatch`]: it is damaged. `index.json` is damaged, or the directory cannot be
    /// written. Then the tag is where it was.
    pub fn put_tag(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        manifest: &RawManifest,
    ) -> Result<(), Error> {
        let name = LayoutName::of_tag(repository, tag);
        self.put(manifest, |index, descriptor, now| {
            Ok(index.set_name(&name, descriptor, Some(now)))
        })
    }

    /// Puts a tag on a manifest as [`put_tag`](Self::put_tag) does, unless somebody else has put it on a
    /// third one meanwhile, and says what it is on then: this manifest, or theirs. The tag is put if it is
    /// on `expected`, or if there is none: whoever deleted it wants nothing in its place. A tag whose
    /// manifest is missing or damaged keeps nobody from it.
    ///
    /// Of several who do this at the same time, in any process, one puts the tag, and the others learn
    /// what it is on.
    ///
    /// # Errors
    ///
    /// As [`put_tag`](Self::put_tag); [`ErrorKind::Invalid`] if several manifests have the tag.
    pub fn put_tag_if(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        manifest: &RawManifest,
        expected: Option<&Digest>,
    ) -> Result<Digest, Error> {
        let name = LayoutName::of_tag(repository, tag);
        let mut on = manifest.digest().clone();
        self.put(manifest, |index, descriptor, now| {
            if let Some(found) = self.only_named(index, &name)?
                && found.digest != descriptor.digest
                && Some(&found.digest) != expected
                && self.has_manifest(&found.digest)?
            {
                on = found.digest;
                return Ok(false);
            }
            Ok(index.set_name(&name, descriptor, Some(now)))
        })?;
        Ok(on)
    }

    /// Puts a manifest into a repository without a tag, so that it is found by its digest, and among the
    /// referrers of its subject.
    ///
    /// # Errors
    ///
    /// As [`put_tag`](Self::put_tag).
    pub fn put_untagged(
        &self,
        repository: &RepositoryName,
        manifest: &RawManifest,
    ) -> Result<(), Error> {
        self.put(manifest, |index, descriptor, now| {
            Ok(index.add_untagged(repository, descriptor, now))
        })
    }

    fn put(
        &self,
        manifest: &RawManifest,
        name: impl FnOnce(&mut Index, &Descriptor, &str) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let content = manifest.parse()?;
        let mut descriptor = manifest.descriptor();
        if let Some(subject) = content.subject() {
            descriptor.artifact_type = content.type_as_referrer().map(ToOwned::to_owned);
            let subject = subject.digest.to_string();
            descriptor.annotations.insert(SUBJECT.to_owned(), subject);
        }
        // Before anything is written to a layout that is damaged.
        self.index()?;
        // Large blobs are hashed here, so that nobody waits for the lock meanwhile.
        self.check_whole(&descriptor.digest, &content, 0)?;
        self.put_manifest(manifest)?;
        self.change(|index| {
            // Under the lock no sweep takes away what was there a moment ago.
            let there = self.has_blob(&descriptor)?;
            if !there {
                return Err(self.lacks(&descriptor.digest, &descriptor.digest));
            }
            self.check_whole(&descriptor.digest, &content, 0)?;
            name(index, &descriptor, &now())
        })
    }

    /// Sees that everything is there, undamaged, that a manifest needs.
    fn check_whole(&self, digest: &Digest, content: &Manifest, depth: usize) -> Result<(), Error> {
        for blob in content.blobs() {
            if blob.is_non_distributable() {
                continue;
            }
            if !self.has_blob(blob)? {
                return Err(self.lacks(digest, &blob.digest));
            }
            if !self.is_intact(blob)? {
                let problem = format!("{digest} needs {}, which is damaged", blob.digest);
                return Err(self.problem(&problem).as_kind(ErrorKind::DigestMismatch));
            }
        }
        for child in content.children() {
            if !self.has_blob(child)? {
                return Err(self.lacks(digest, &child.digest));
            }
            let is_manifest = media_type::ALL.contains(&child.media_type.as_str());
            if is_manifest && depth < MAX_DEPTH {
                let raw = self.manifest_of(&child.digest, Some(child))?;
                let raw = raw.ok_or_else(|| self.lacks(digest, &child.digest))?;
                self.check_whole(&child.digest, &raw.parse()?, depth + 1)?;
            }
        }
        Ok(())
    }

    fn lacks(&self, manifest: &Digest, missing: &Digest) -> Error {
        self.problem(&format!("{manifest} needs {missing}, which is not there"))
    }

    /// Deletes from a repository, tags first, and says of each item whether it was there. A manifest that
    /// an index of the repository leads to stays as long as the index does; all that are given are tried
    /// again when others are gone. What other tools put without a name belongs to all repositories, and is
    /// deleted only if there is no other one. Removes no blob: that is [`sweep`](Self::sweep)'s.
    ///
    /// # Errors
    ///
    /// `index.json` is damaged, or cannot be written: nothing was deleted. In the results:
    /// [`ErrorKind::StillReferenced`]; [`ErrorKind::DigestMismatch`]: the tag is on another manifest.
    pub fn delete(
        &self,
        repository: &RepositoryName,
        items: &[Unwanted],
    ) -> Result<Vec<Result<bool, Error>>, Error> {
        let lock = IndexLock::take(&self.directory)?;
        let mut results: Vec<Option<Result<bool, Error>>> = items.iter().map(|_| None).collect();
        self.change_locked(&lock, |index| {
            let mut changed = false;
            for (item, result) in items.iter().zip(&mut results) {
                let done = match item {
                    Unwanted::Tag(tag) => {
                        Ok(index.remove_name(&LayoutName::of_tag(repository, tag)))
                    }
                    Unwanted::TagOn(tag, digest) => {
                        self.delete_tag_on(index, &LayoutName::of_tag(repository, tag), digest)
                    }
                    Unwanted::Manifest(_) => continue,
                };
                changed |= matches!(done, Ok(true));
                *result = Some(done);
            }
            changed |= self.delete_manifests(index, repository, items, &mut results)?;
            Ok(changed)
        })?;
        Ok(results.into_iter().map(|result| result.unwrap_or(Ok(false))).collect())
    }

    fn delete_tag_on(
        &self,
        index: &mut Index,
        name: &LayoutName,
        digest: &Digest,
    ) -> Result<bool, Error> {
        match self.only_named(index, name)? {
            Some(found) if found.digest != *digest => {
                let problem = format!("{name} is {} and not {digest}", found.digest);
                Err(self.problem(&problem).as_kind(ErrorKind::DigestMismatch))
            }
            _ => Ok(index.remove_name(name)),
        }
    }

    /// Deletes manifests until the rest is held by indexes that stay.
    fn delete_manifests(
        &self,
        index: &mut Index,
        repository: &RepositoryName,
        items: &[Unwanted],
        results: &mut [Option<Result<bool, Error>>],
    ) -> Result<bool, Error> {
        let mut left: Vec<(usize, &Digest)> = items
            .iter()
            .enumerate()
            .filter_map(|(position, item)| match item {
                Unwanted::Manifest(digest) => Some((position, digest)),
                _ => None,
            })
            .collect();
        let mut changed = false;
        while !left.is_empty() {
            // One that is to go itself holds nothing if nothing holds it.
            let goes = |one: &Digest| left.iter().any(|(_, digest)| *digest == one);
            let held: BTreeSet<Digest> = self
                .below_indexes(index, repository, goes)?
                .into_iter()
                .map(|child| child.digest)
                .collect();
            let before = left.len();
            left.retain(|(position, digest)| {
                if held.contains(*digest) {
                    let message = format!("an index in {repository} leads to {digest}");
                    let error = self.problem(&message).as_kind(ErrorKind::StillReferenced);
                    results[*position] = Some(Err(error));
                    return true;
                }
                let removed = self.remove_from(index, repository, digest);
                changed |= matches!(removed, Ok(true));
                results[*position] = Some(removed);
                false
            });
            if left.len() == before {
                break;
            }
        }
        Ok(changed)
    }

    /// Removes the entries by which a repository has a manifest. Those that belong to all repositories go
    /// only if there is no other one, which may mean them as well.
    fn remove_from(
        &self,
        index: &mut Index,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, Error> {
        let others = || {
            let mut repositories = index.entries().filter_map(|entry| repository_of(&entry));
            repositories.any(|theirs| theirs != *repository)
        };
        let shared = index.entries_of(digest).any(|entry| is_everybodys(&entry)) && others();
        let removed = index.remove(|entry| {
            let is_ours = repository_of(entry).is_some_and(|theirs| theirs == *repository);
            let goes = is_ours || (is_everybodys(entry) && !shared);
            entry.descriptor.digest == *digest && goes
        });
        if shared && !removed {
            let message =
                format!("{digest} belongs to other repositories as well as to {repository}");
            return Err(self.problem(&message).as_kind(ErrorKind::StillReferenced));
        }
        Ok(removed)
    }

    /// What the indexes that belong to a repository lead to, at any depth. Of those for which `may_fail`
    /// says so it does not matter if they are damaged.
    fn below_indexes(
        &self,
        index: &Index,
        repository: &RepositoryName,
        may_fail: impl Fn(&Digest) -> bool,
    ) -> Result<Vec<Descriptor>, Error> {
        let is_index = |found: &Descriptor| {
            [media_type::OCI_INDEX, media_type::DOCKER_LIST].contains(&found.media_type.as_str())
        };
        let mut queue: VecDeque<Descriptor> = index
            .entries()
            .filter(|entry| is_index(&entry.descriptor) && is_readable(entry, repository))
            .map(|entry| entry.descriptor)
            .collect();
        let mut seen = BTreeSet::new();
        let mut below = Vec::new();
        while let Some(next) = queue.pop_front() {
            if !seen.insert(next.digest.clone()) {
                continue;
            }
            let raw = self.manifest_of(&next.digest, Some(&next));
            let content = match raw.and_then(|raw| raw.map(|raw| raw.parse()).transpose()) {
                Ok(Some(content)) => content,
                Ok(None) => continue,
                Err(_) if may_fail(&next.digest) => continue,
                Err(error) => return Err(error),
            };
            for child in content.children() {
                below.push(child.clone());
                if is_index(child) {
                    queue.push_back(child.clone());
                }
            }
        }
        Ok(below)
    }

    /// The manifest of an entry, which has the size that the entry says.
    fn of_size(&self, entry: &Descriptor) -> Result<Option<RawManifest>, Error> {
        let found = self.manifest_of(&entry.digest, Some(entry))?;
        match &found {
            Some(raw) if raw.bytes().len() as u64 != entry.size => {
                let path = self.directory.path_of(&blob_name(&entry.digest));
                let message = format!("{} should have {} bytes", path.display(), entry.size);
                Err(Error::new(ErrorKind::DigestMismatch, message))
            }
            _ => Ok(found),
        }
    }
}

/// How deep indexes in indexes are looked at.
const MAX_DEPTH: usize = 8;

fn repository_of(entry: &Entry) -> Option<RepositoryName> {
    match entry.belongs() {
        Belongs::Tag(repository, _) | Belongs::Untagged(repository) => Some(repository),
        Belongs::Nowhere => None,
    }
}

/// Whether an entry belongs to a repository, or to all of them.
fn is_readable(entry: &Entry, repository: &RepositoryName) -> bool {
    is_everybodys(entry) || repository_of(entry).is_some_and(|theirs| theirs == *repository)
}

/// Whether an entry belongs to all repositories.
fn is_everybodys(entry: &Entry) -> bool {
    repository_of(entry).is_none() && !entry.is_named()
}

/// This moment, to the second, as in `2026-01-31T12:00:00Z`.
fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    now.format(&Rfc3339).unwrap_or_default()
}

fn time_of(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}
