//! Copies of images between places: within a registry, between registries, from and to layouts.
//!
//! A copy moves what belongs to an image and is not there: the manifests below an index, their blobs,
//! and the manifests that refer to any of them, with what refers to those. Bytes are never changed, so
//! that digests are the same on both sides. The destination's name is put last: whoever sees it sees
//! the whole image.

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

use crate::blob::{BlobSource, BlobStream};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::{Descriptor, RawManifest};
use crate::platform::Platform;
use crate::reference::Repository;
use root::root;
use survey::{QUESTIONS, Survey};

/// How many generations of referrers are followed: signatures of documents of an image are two.
const MAX_GENERATIONS: usize = 8;

/// How a copy is made.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Only the image for this platform: of an index, that one, whose digest is the copy's then; a
    /// single image has to be for it.
    pub platform: Option<Platform>,
    /// Whether what refers to the image is copied too. On by default.
    pub referrers: bool,
    /// How many blobs are moved at a time; 4 by default. The client's own limits hold as well.
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
    let work = Work { from, to, observer, jobs: options.jobs.max(1), tally: Mutex::default() };
    let image = Survey::of(from, to, vec![root.clone()]).await?;
    work.move_blobs(&image).await?;
    let root_is_missing = image.lacks(root.digest());
    let mut below = image.missing;
    for group in &mut below {
        group.retain(|manifest| manifest.digest() != root.digest());
    }
    work.put(&below, work.jobs).await?;
    if options.referrers {
        let late = root_is_missing.then_some(&root);
        work.move_referrers(image.members, late).await?;
    }
    if previous.as_ref() != Some(root.digest()) {
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

struct Work<'a> {
    from: &'a dyn ImagePlace,
    to: &'a dyn ImagePlace,
    observer: Arc<dyn CopyObserver>,
    jobs: usize,
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
        for layer in survey.layers_left.values() {
            self.observer.event(CopyEvent::LayerLeft { layer });
            self.tally().layers_left.push(layer.clone());
        }
        stream::iter(survey.blobs.values())
            .map(Ok)
            .try_for_each_concurrent(self.jobs, |blob| self.move_blob(blob))
            .await
    }

    async fn move_blob(&self, blob: &Descriptor) -> Result<(), Error> {
        let source = Source { from: self.from, observer: Arc::clone(&self.observer), blob };
        let delivery = self.to.put_blob(blob, &source, self.mountable()).await?;
        self.observer.event(CopyEvent::BlobDone { blob, delivery });
        self.tally().blobs.add(blob, delivery);
        Ok(())
    }

    /// The source's repository, if the destination's registry can take blobs from it.
    fn mountable(&self) -> Option<&Repository> {
        let (from, to) = (self.from.repository()?, self.to.repository()?);
        (from.host() == to.host() && from != to).then_some(from)
    }

    /// Puts groups of manifests one after the other, and `width` of a group at a time.
    async fn put(&self, groups: &[Vec<RawManifest>], width: usize) -> Result<(), Error> {
        for group in groups {
            stream::iter(group)
                .map(Ok)
                .try_for_each_concurrent(width, |manifest| async move {
                    self.to.put_manifest(manifest).await?;
                    self.wrote(manifest);
                    Ok::<_, Error>(())
                })
                .await?;
        }
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
            let lists: Vec<Referrers> = stream::iter(&subjects)
                .map(|subject| self.referrers(subject))
                .buffered(QUESTIONS)
                .try_collect()
                .await?;
            let unlisted: BTreeMap<Digest, RawManifest> =
                lists.iter().flat_map(|list| &list.unlisted).cloned().collect();
            let mut next: BTreeSet<Digest> =
                lists.into_iter().flat_map(|list| list.listed).collect();
            if !unlisted.is_empty() {
                if let Some(subject) = late.take() {
                    self.to.put_manifest(subject).await?;
                }
                let survey =
                    Survey::of(self.from, self.to, unlisted.values().cloned().collect()).await?;
                self.move_blobs(&survey).await?;
                // One after the other: where the clients keep the lists of referrers, each changes one.
                self.put(&survey.missing, 1).await?;
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

    async fn referrers(&self, subject: &Digest) -> Result<Referrers, Error> {
        let mut referrers = Referrers::default();
        let offered = self.from.referrers(subject).await?;
        if offered.is_empty() {
            return Ok(referrers);
        }
        let there = self.to.referrers(subject).await?;
        for entry in offered {
            if there.iter().any(|known| known.digest == entry.digest) {
                referrers.listed.push(entry.digest);
                continue;
            }
            match self.from.manifest(&entry.digest).await {
                Ok(manifest) => referrers.unlisted.push((entry.digest, manifest)),
                // Lists that clients keep outlive what they list.
                Err(error) if *error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(referrers)
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

/// What refers to one manifest.
#[derive(Default)]
struct Referrers {
    /// At the destination, too.
    listed: Vec<Digest>,
    /// At the source alone.
    unlisted: Vec<(Digest, RawManifest)>,
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
