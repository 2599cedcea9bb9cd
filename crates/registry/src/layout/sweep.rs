//! Removing the blobs that nothing leads to.
//!
//! All of it happens under the lock, which everybody holds who names a manifest, puts a blob in its
//! place, or relies on one that is there. A writer puts blobs before it names what needs them, so blobs
//! that were written or relied upon lately stay; and whoever names a manifest sees under the same lock
//! that all it needs is there. The index is written before the first blob goes: a process that ends in
//! between leaves blobs that the next sweep removes.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use super::Layout;
use super::blobs::blob_name;
use super::index::{Belongs, Index};
use super::lock::IndexLock;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::{Descriptor, Manifest, media_type};

/// How long a blob that nothing leads to stays unless somebody says otherwise: 24 hours.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sweep {
    /// How many blobs it removed, manifests included.
    pub blobs: usize,
    /// Their size, in bytes.
    pub bytes: u64,
    /// How many entries of `index.json` it removed: of referrers whose subject is gone.
    pub referrers: usize,
    /// Why nothing was removed, where that is so: what the layout holds that is not understood, and may
    /// need any blob.
    pub held_by: Vec<String>,
}

/// What leads on from manifests.
#[derive(Default)]
struct Reached {
    /// Manifests that were looked at. A blob may have the digest of one.
    manifests: BTreeSet<Digest>,
    digests: BTreeSet<Digest>,
    held_by: BTreeSet<String>,
}

/// A referrer that goes with its subject.
struct Referrer {
    entry: Descriptor,
    subject: Digest,
}

impl Layout {
    /// Removes the blobs that no entry of `index.json` leads to and that nobody has written or relied
    /// upon for this long, [`DEFAULT_GRACE`] if there is no reason for another time. An entry leads to its
    /// manifest, config, layers and children; what dockit put as a referrer stays as long as its subject.
    ///
    /// If there is anything whose meaning is not known, nothing is removed, and the result says why.
    ///
    /// # Errors
    ///
    /// `index.json` is damaged, or the directory cannot be read or written.
    pub fn sweep(&self, grace: Duration) -> Result<Sweep, Error> {
        let lock = IndexLock::take(&self.directory)?;
        let now = SystemTime::now();
        let index = self.index()?;
        let mut reached = Reached::default();
        let orphans = self.reach(&index, &mut reached, |entry| {
            self.is_old(&blob_name(&entry.digest), now, grace)
        })?;
        let mut sweep = Sweep::default();
        if !reached.held_by.is_empty() {
            sweep.held_by = reached.held_by.into_iter().collect();
            return Ok(sweep);
        }
        if !orphans.is_empty() {
            self.change_locked(&lock, |index| {
                Ok(index.remove(|entry| {
                    let goes = matches!(entry.belongs(), Belongs::Untagged(_))
                        && orphans.contains(&entry.descriptor.digest);
                    sweep.referrers += usize::from(goes);
                    goes
                }))
            })?;
        }
        self.remove_unreached(&reached.digests, now, grace, &mut sweep)?;
        Ok(sweep)
    }

    /// Collects all that the index leads to; says which referrers are old and have lost their subject.
    fn reach(
        &self,
        index: &Index,
        reached: &mut Reached,
        is_old: impl Fn(&Descriptor) -> Result<bool, Error>,
    ) -> Result<BTreeSet<Digest>, Error> {
        let mut referrers = Vec::new();
        for (value, entry) in index.all() {
            let Some(entry) = entry else {
                reached.held_by.insert(format!("an entry that is not understood: {value}"));
                continue;
            };
            let ours = matches!(entry.belongs(), Belongs::Untagged(_));
            let subject = if ours { self.subject(&entry.descriptor).ok().flatten() } else { None };
            match subject {
                Some(subject) => referrers.push(Referrer { entry: entry.descriptor, subject }),
                None => self.follow(entry.descriptor, true, reached)?,
            }
        }
        // Referrers may refer to referrers.
        loop {
            let before = referrers.len();
            let mut rest = Vec::new();
            for referrer in referrers {
                if reached.digests.contains(&referrer.subject) || !is_old(&referrer.entry)? {
                    self.follow(referrer.entry, true, reached)?;
                } else {
                    rest.push(referrer);
                }
            }
            referrers = rest;
            if referrers.len() == before {
                break;
            }
        }
        let orphans = referrers.into_iter().map(|referrer| referrer.entry.digest);
        // One that an index leads to stays as well.
        Ok(orphans.filter(|digest| !reached.digests.contains(digest)).collect())
    }

    /// Adds a manifest and all below it.
    fn follow(
        &self,
        first: Descriptor,
        is_entry: bool,
        reached: &mut Reached,
    ) -> Result<(), Error> {
        let mut queue = VecDeque::from([(first, is_entry)]);
        while let Some((next, is_entry)) = queue.pop_front() {
            if !reached.manifests.insert(next.digest.clone()) {
                continue;
            }
            reached.digests.insert(next.digest.clone());
            let known = media_type::ALL.contains(&next.media_type.as_str());
            if !self.has_bytes(&next.digest)? {
                // An index may list what was never brought here; an entry that leads nowhere has lost it.
                if is_entry {
                    reached.held_by.insert(format!("{} is missing", next.digest));
                }
                continue;
            }
            if !known {
                let problem = format!("{} is of the type {:?}", next.digest, next.media_type);
                reached.held_by.insert(problem);
                continue;
            }
            let content = self
                .manifest_of(&next.digest, Some(&next))
                .and_then(|raw| raw.map(|raw| raw.parse()).transpose());
            match content {
                Ok(Some(content)) => add_below(&content, reached, &mut queue),
                Ok(None) => {}
                Err(error) if *error.kind() == ErrorKind::Storage => return Err(error),
                Err(error) => {
                    reached.held_by.insert(error.to_string());
                }
            }
        }
        Ok(())
    }

    /// Removes what is under `blobs` and was not reached.
    fn remove_unreached(
        &self,
        reached: &BTreeSet<Digest>,
        now: SystemTime,
        grace: Duration,
        sweep: &mut Sweep,
    ) -> Result<(), Error> {
        for algorithm in ["sha256", "sha512"] {
            let parent = format!("blobs/{algorithm}");
            for hex in self.directory.names(&parent)? {
                let Ok(digest) = format!("{algorithm}:{hex}").parse::<Digest>() else {
                    continue;
                };
                let name = blob_name(&digest);
                if reached.contains(&digest) || !self.is_old(&name, now, grace)? {
                    continue;
                }
                let size = self.directory.look_at(&name)?.map_or(0, |metadata| metadata.len());
                self.directory.remove(&name)?;
                sweep.blobs += 1;
                sweep.bytes += size;
            }
        }
        Ok(())
    }

    /// Whether a regular file was last written or relied upon longer ago than this.
    fn is_old(&self, name: &str, now: SystemTime, grace: Duration) -> Result<bool, Error> {
        let Some(metadata) = self.directory.look_at(name)? else {
            return Ok(true);
        };
        let written = metadata.modified().ok().map(cap_std::time::SystemTime::into_std);
        let age = written.and_then(|written| now.duration_since(written).ok());
        Ok(metadata.is_file() && age.is_some_and(|age| age >= grace))
    }
}

/// What a manifest leads to.
fn add_below(content: &Manifest, reached: &mut Reached, queue: &mut VecDeque<(Descriptor, bool)>) {
    reached.digests.extend(content.blobs().map(|blob| blob.digest.clone()));
    queue.extend(content.children().iter().map(|child| (child.clone(), false)));
}
