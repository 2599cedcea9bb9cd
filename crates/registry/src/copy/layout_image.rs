//! An image in an OCI layout, as a place of copies.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, OnceCell};
use tokio::task::spawn_blocking;

use super::place::ImagePlace;
use crate::blob::{BlobSource, BlobStream, Delivery};
use crate::client::layouts::{ended, read_blob, write_blob};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::layout::{Layout, LayoutReference, Referrers};
use crate::location::Location;
use crate::manifest::{Descriptor, RawManifest};
use crate::reference::Repository;

/// An image in an OCI layout directory. Its name is the reference's name, or else its digest, or else
/// that of the layout's only image.
///
/// The disk is read and written on threads of tokio's that may block; each blob that is on its way
/// takes one to be read and one to be written. What refers to what is found out once, and again after
/// the image has put a manifest; meanwhile it takes no notice of what other processes put.
pub struct LayoutImage {
    reference: LayoutReference,
    location: Location,
    writing: bool,
    layout: OnceCell<Layout>,
    /// What refers to what, as long as that holds.
    referrers: Mutex<Option<Arc<Referrers>>>,
}

impl LayoutImage {
    /// An image to read. The directory is opened when it is first asked for something.
    pub fn open(reference: LayoutReference) -> Self {
        Self::new(reference, false)
    }

    /// An image to write. When it is first asked for something, the directory is opened as by
    /// [`Layout::create`]: it is made if it is missing.
    pub fn create(reference: LayoutReference) -> Self {
        Self::new(reference, true)
    }

    /// The same, where its directory is open already.
    pub fn with_opened(mut self, layout: Layout) -> Self {
        self.layout = OnceCell::from(layout);
        self
    }

    fn new(reference: LayoutReference, writing: bool) -> Self {
        let location = Location::Layout(reference.clone());
        let (layout, referrers) = (OnceCell::new(), Mutex::default());
        Self { reference, location, writing, layout, referrers }
    }

    /// Does something with the layout where it may block.
    async fn with_layout<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Layout) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let opened = self.layout.get_or_try_init(|| async {
            let (path, writing) = (self.reference.directory().to_owned(), self.writing);
            let open = move || if writing { Layout::create(&path) } else { Layout::open(&path) };
            ended(spawn_blocking(open)).await
        });
        let layout = opened.await?.clone();
        ended(spawn_blocking(move || act(&layout))).await
    }
}

#[async_trait]
impl ImagePlace for LayoutImage {
    fn location(&self) -> &Location {
        &self.location
    }

    /// As [`ImagePlace`] says. A name whose manifest is missing or damaged has none, so that a copy
    /// puts it there again. Of a reference with name and digest, the digest decides what is read and
    /// the name where it is written; without a name, what has no entry in `index.json` has yet to get one.
    async fn named_digest(&self) -> Result<Option<Digest>, Error> {
        let (reference, writing) = (self.reference.clone(), self.writing);
        self.with_layout(move |layout| {
            let digest = reference.digest().filter(|_| !writing || reference.name().is_none());
            let found = if let Some(digest) = digest {
                let known = !writing || layout.has_entry(digest)?;
                known.then(|| digest.clone())
            } else {
                layout.find(reference.name(), None)?.map(|found| found.digest)
            };
            match found {
                Some(digest) if layout.has_manifest(&digest)? => Ok(Some(digest)),
                _ => Ok(None),
            }
        })
        .await
    }

    async fn named(&self) -> Result<RawManifest, Error> {
        let reference = self.reference.clone();
        self.with_layout(move |layout| {
            if let Some(digest) = reference.digest() {
                return layout.manifest(digest);
            }
            let found = layout.find(reference.name(), None)?.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("{reference}: no such image"))
            })?;
            layout.manifest(&found.digest)
        })
        .await
    }

    async fn manifest(&self, digest: &Digest) -> Result<RawManifest, Error> {
        let digest = digest.clone();
        self.with_layout(move |layout| layout.manifest(&digest)).await
    }

    async fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        let digest = digest.clone();
        self.with_layout(move |layout| layout.has_manifest(&digest)).await
    }

    async fn blob(&self, blob: &Descriptor) -> Result<BlobStream, Error> {
        read_blob(&self.with_layout(|layout| Ok(layout.clone())).await?, blob).await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        let writing = self.writing;
        // Whoever asks meanwhile waits, and need not look again.
        let mut known = self.referrers.lock().await;
        let all = match &*known {
            Some(all) => Arc::clone(all),
            None => {
                let look = move |layout: &Layout| {
                    if writing { layout.all_intact_referrers() } else { layout.all_referrers() }
                };
                Arc::clone(known.insert(Arc::new(self.with_layout(look).await?)))
            }
        };
        drop(known);
        Ok(all.get(subject).cloned().unwrap_or_default())
    }

    async fn put_blob(
        &self,
        blob: &Descriptor,
        source: &dyn BlobSource,
        _: Option<&Repository>,
    ) -> Result<Delivery, Error> {
        write_blob(&self.with_layout(|layout| Ok(layout.clone())).await?, blob, source).await
    }

    async fn put_manifest(&self, manifest: &RawManifest) -> Result<(), Error> {
        let manifest = manifest.clone();
        let put = self.with_layout(move |layout| put(layout, &manifest).map(drop)).await;
        *self.referrers.lock().await = None;
        put
    }

    async fn put_named(&self, manifest: &RawManifest) -> Result<(), Error> {
        let (reference, manifest) = (self.reference.clone(), manifest.clone());
        if reference.digest().is_some_and(|wanted| wanted != manifest.digest()) {
            let message = format!("{reference} is to be {}", manifest.digest());
            return Err(Error::new(ErrorKind::DigestMismatch, message));
        }
        let put = self
            .with_layout(move |layout| {
                let descriptor = put(layout, &manifest)?;
                match (reference.name(), reference.digest()) {
                    (Some(name), _) => layout.set_name(name, &descriptor),
                    (None, Some(_)) => layout.add_entry(&descriptor),
                    (None, None) => layout.set_only(&descriptor),
                }
            })
            .await;
        *self.referrers.lock().await = None;
        put
    }
}

/// Writes a manifest and, if it refers to another one, its entry.
fn put(layout: &Layout, manifest: &RawManifest) -> Result<Descriptor, Error> {
    let content = manifest.parse()?;
    let mut descriptor = manifest.descriptor();
    layout.put_manifest(manifest)?;
    if content.subject().is_some() {
        descriptor.artifact_type = content.type_as_referrer().map(ToOwned::to_owned);
        layout.add_entry(&descriptor)?;
    }
    Ok(descriptor)
}
