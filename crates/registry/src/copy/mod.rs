//! Copies of images between places: within a registry, between registries, from and to layouts.
//!
//! A copy moves what belongs to an image and is not there: the manifests below an index, their blobs,
//! and the manifests that refer to any of them, with what refers to those. Bytes are never changed, so
//! that digests are the same on both sides. The destination's name is put last: whoever sees it sees
//! the whole image.

mod budget;
mod events;
mod layout_image;
mod place;
mod remote_image;
mod root;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

pub use events::{BlobCounts, CopyEvent, CopyObserver, CopyReport};
pub use layout_image::LayoutImage;
pub use place::ImagePlace;
pub use remote_image::RemoteImage;

use crate::blob::{BlobSource, BlobStream, Delivery};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::location::Location;
use crate::manifest::{Descriptor, RawManifest};
use crate::platform::Platform;
use crate::reference::Repository;
use budget::Budget;
use root::root;
use survey::{QUESTIONS, Survey};

/// How many generations of referrers are followed: signatures of documents of an image are two.
const MAX_GENERATIONS: usize = 8;

/// Most blobs that are moved at a time from or to a layout.
const LAYOUT_JOBS: usize = 16;

/// How a copy is made.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Only the image for this platform: of an index, that one, whose digest is the copy's then; a
    /// single image has to be for it.
    pub platform: Option<Platform>,
    /// Whether what refers to the image is copied too. On by default.
    pub referrers: bool,
    /// How many blobs are moved at a time; 4 by default. The client's own limits hold as well, and
    /// never more than 16 are moved from or to a layout.
    pub jobs: usize,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { platform: None, referrers: true, jobs: 4 }
    }
}

/// Copies the image that one place names to another place, under its name.
///
/// What the destination holds is not moved again: a second copy moves no blob.
///
/// # Errors
///
/// Reading or writing failed; [`ErrorKind::WrongPlatform`] if there is no image for the wanted
/// platform; [`ErrorKind::DigestMismatch`] if the destination's name is the digest of another image.
/// What was written before stays, without a name, and the next copy does not move it again.
pub async fn copy(
    from: &dyn ImagePlace,
    to: &dyn ImagePlace,
    options: &CopyOptions,
    observer: Arc<dyn CopyObserver>,
) -> Result<CopyReport, Error> {
    let root = root(from, options.platform.as_ref()).await?;
    // Known before anything is moved.
    if to.location().digest().is_some_and(|wanted| wanted != root.digest()) {
        let message = format!("{} cannot be {}", to.location(), root.digest());
        return Err(Error::new(ErrorKind::DigestMismatch, message));
    }
    let previous = to.named_digest().await?;
    let jobs = jobs(from, to, options.jobs);
    let work =
        Work { from, to, observer, jobs, budget: Budget::default(), tally: Mutex::default() };
    let image = Survey::of(from, to, vec![work.budget.hold(root.clone())?], &work.budget).await?;
    work.move_blobs(&image).await?;
    let root_is_missing = image.lacks(root.digest());
    let mut below = image.missing;
    for group in &mut below {
        group.retain(|manifest| manifest.digest() != root.digest());
    }
    work.put(&below).await?;
    if options.referrers {
        let late = root_is_missing.then_some(&root);
        work.move_referrers(image.members, late).await?;
    }
    // What was written may be what the name has lacked; and somebody may have moved it meanwhile.
    if previous.as_ref() != Some(root.digest()) || work.has_written() {
        to.put_named(&root).await?;
    }
    if root_is_missing {
        work.wrote(&root);
    }
    let tally = work.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(CopyReport {
        digest: root.digest().clone(),
        previous,
        manifests_written: tally.written.len(),
        referrers_written: tally.referrers,
        blobs: tally.blobs,
        layers_left: tally.layers_left,
    })
}

/// How many blobs are moved at a time. Each takes a thread that may block on either side that is a
/// layout, and the program has other uses for those.
fn jobs(from: &dyn ImagePlace, to: &dyn ImagePlace, wanted: usize) -> usize {
    let most = match (from.location(), to.location()) {
        (Location::Registry(_), Location::Registry(_)) => usize::MAX,
        _ => LAYOUT_JOBS,
    };
    wanted.clamp(1, most)
}

struct Work<'a> {
    from: &'a dyn ImagePlace,
    to: &'a dyn ImagePlace,
    observer: Arc<dyn CopyObserver>,
    jobs: usize,
    budget: Budget,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    written: BTreeSet<Digest>,
    referrers: usize,
    blobs: BlobCounts,
    layers_left: Vec<Descriptor>,
}

impl Work<'_> {
    async fn move_blobs(&self, survey: &Survey) -> Result<(), Error> {
        self.observer.event(CopyEvent::Surveyed {
            manifests: survey.missing.iter().map(Vec::len).sum(),
            blobs: survey.blobs.len(),
            bytes: survey.bytes(),
        });
        let left = survey.layers_left.values();
        for layer in left.filter(|layer| survey.new_blobs.contains(&layer.digest)) {
            self.observer.event(CopyEvent::LayerLeft { layer });
            self.tally().layers_left.push(layer.clone());
        }
        stream::iter(survey.blobs.values())
            .map(Ok)
            .try_for_each_concurrent(self.jobs, |blob| async {
                let delivery = self.move_blob(blob).await?;
                // That what a layout holds is whole is no news.
                if delivery != Delivery::Present || survey.new_blobs.contains(&blob.digest) {
                    self.tally().blobs.add(blob, delivery);
                }
                Ok(())
            })
            .await
    }

    async fn move_blob(&self, blob: &Descriptor) -> Result<Delivery, Error> {
        let source = Source { from: self.from, observer: Arc::clone(&self.observer), blob };
        let delivery = self.to.put_blob(blob, &source, self.mountable()).await?;
        self.observer.event(CopyEvent::BlobDone { blob, delivery });
        Ok(delivery)
    }

    /// The source's repository, if the destination's registry can take blobs from it.
    fn mountable(&self) -> Option<&Repository> {
        let (from, to) = (self.from.repository()?, self.to.repository()?);
        (from.host() == to.host() && from != to).then_some(from)
    }

    /// Puts groups of manifests one after the other, and several of a group at a time.
    async fn put(&self, groups: &[Vec<RawManifest>]) -> Result<(), Error> {
        for group in groups {
            let mut alone = Vec::new();
            let mut together = Vec::new();
            for manifest in group {
                let refers = manifest.parse()?.subject().is_some();
                if refers { alone.push(manifest) } else { together.push(manifest) }
            }
            stream::iter(together)
                .map(Ok)
                .try_for_each_concurrent(self.jobs, |manifest| self.put_one(manifest))
                .await?;
            // Where the clients keep the lists of referrers, each of these changes one.
            for manifest in alone {
                self.put_one(manifest).await?;
            }
        }
        Ok(())
    }

    async fn put_one(&self, manifest: &RawManifest) -> Result<(), Error> {
        self.to.put_manifest(manifest).await?;
        self.wrote(manifest);
        Ok(())
    }

    /// Copies what refers to these manifests, what refers to that, and so on. `late` is a manifest
    /// that has to be there before anything refers to it.
    async fn move_referrers(
        &self,
        members: BTreeSet<Digest>,
        late: Option<&RawManifest>,
    ) -> Result<(), Error> {
        let mut seen = members.clone();
        let mut subjects = members;
        let mut late = late;
        for _ in 0..MAX_GENERATIONS {
            let Referrers { unlisted, listed, held } = self.referrers(&subjects).await?;
            let mut next = listed;
            if !held.is_empty() {
                let survey = Survey::of(self.from, self.to, held, &self.budget).await?;
                self.move_blobs(&survey).await?;
                self.put(&survey.missing).await?;
                next.extend(survey.members);
            }
            if !unlisted.is_empty() {
                if let Some(subject) = late.take() {
                    self.to.put_manifest(subject).await?;
                }
                let roots = unlisted.values().cloned().collect();
                let survey = Survey::of(self.from, self.to, roots, &self.budget).await?;
                self.move_blobs(&survey).await?;
                self.put(&survey.missing).await?;
                for (digest, manifest) in &unlisted {
                    if survey.lacks(digest) {
                        self.tally().referrers += 1;
                    } else {
                        self.to.put_manifest(manifest).await?;
                    }
                }
                next.extend(survey.members);
            }
            subjects = next.into_iter().filter(|digest| seen.insert(digest.clone())).collect();
            if subjects.is_empty() {
                return Ok(());
            }
        }
        let message = format!(
            "{}: more than {MAX_GENERATIONS} generations of manifests refer to one another",
            self.from.location()
        );
        Err(Error::new(ErrorKind::Invalid, message))
    }

    /// What refers to these manifests at the source.
    async fn referrers(&self, subjects: &BTreeSet<Digest>) -> Result<Referrers, Error> {
        let mut asked = stream::iter(subjects)
            .map(|subject| async move { self.listed(subject).await.map(|list| (subject, list)) })
            .buffered(QUESTIONS);
        let mut entries = Vec::new();
        while let Some((subject, list)) = asked.try_next().await? {
            // Known before any of them is read.
            self.budget.count_referrers(list.len())?;
            entries.extend(list.into_iter().map(|(digest, there)| (subject, digest, there)));
        }
        let mut read = stream::iter(entries)
            .map(|(subject, digest, there)| self.referrer(subject, digest, there))
            .buffered(QUESTIONS);
        let mut referrers = Referrers::default();
        while let Some((digest, there, manifest)) = read.try_next().await? {
            match manifest {
                Some(manifest) if there => referrers.held.push(manifest),
                Some(manifest) => drop(referrers.unlisted.insert(digest.clone(), manifest)),
                None => {}
            }
            if there {
                referrers.listed.insert(digest);
            }
        }
        Ok(referrers)
    }

    /// The digests that the source lists for a subject, and whether the destination does, too.
    async fn listed(&self, subject: &Digest) -> Result<BTreeMap<Digest, bool>, Error> {
        let offered = self.from.referrers(subject).await?;
        if offered.is_empty() {
            return Ok(BTreeMap::new());
        }
        let there = self.to.referrers(subject).await?;
        let there: BTreeSet<Digest> = there.into_iter().map(|entry| entry.digest).collect();
        Ok(offered
            .into_iter()
            .map(|entry| {
                let is_there = there.contains(&entry.digest);
                (entry.digest, is_there)
            })
            .collect())
    }

    /// The manifest of a referrer, as far as the copy has something to do with it.
    async fn referrer(
        &self,
        subject: &Digest,
        digest: Digest,
        there: bool,
    ) -> Result<(Digest, bool, Option<RawManifest>), Error> {
        if there && self.to.vouches_for_blobs() {
            return Ok((digest, there, None));
        }
        let place = if there { self.to } else { self.from };
        let manifest = match place.manifest(&digest).await {
            Ok(manifest) => self.budget.hold(manifest)?,
            // Lists that clients keep outlive what they list.
            Err(error) if *error.kind() == ErrorKind::NotFound => return Ok((digest, there, None)),
            Err(error) => return Err(error),
        };
        // Whoever lists something else must not get it into another image's list.
        let content = manifest.parse()?;
        let refers = content.subject().is_some_and(|known| known.digest == *subject);
        Ok((digest, there, refers.then_some(manifest)))
    }

    fn has_written(&self) -> bool {
        let tally = self.tally();
        !tally.written.is_empty() || tally.blobs.written + tally.blobs.mounted > 0
    }

    fn wrote(&self, manifest: &RawManifest) {
        if self.tally().written.insert(manifest.digest().clone()) {
            self.observer.event(CopyEvent::ManifestWritten { digest: manifest.digest() });
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        // No code panics while it holds the lock.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What refers to some manifests at the source.
#[derive(Default)]
struct Referrers {
    /// Those that the destination lists, too.
    listed: BTreeSet<Digest>,
    /// Those among them whose blobs it may lack.
    held: Vec<RawManifest>,
    /// Those that it does not list.
    unlisted: BTreeMap<Digest, RawManifest>,
}

/// A blob of the source that tells how far it was read.
struct Source<'a> {
    from: &'a dyn ImagePlace,
    observer: Arc<dyn CopyObserver>,
    blob: &'a Descriptor,
}

#[async_trait]
impl BlobSource for Source<'_> {
    async fn open(&self) -> Result<BlobStream, Error> {
        let (observer, blob) = (Arc::clone(&self.observer), self.blob.clone());
        let mut read = 0;
        let stream = self.from.blob(&blob).await?;
        Ok(Box::pin(stream.inspect_ok(move |piece| {
            read += piece.len() as u64;
            observer.event(CopyEvent::BlobProgress { blob: &blob, bytes: read });
        })))
    }
}
