//! A store of images that needs no engine: an OCI image layout on this machine.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dockit_assemble::assemble::Compression;
use dockit_registry::copy::{self, CopyOptions, CopyReport, ImagePlace, LayoutImage, RemoteImage};
use dockit_registry::layout::{Layout, LayoutName, LayoutReference};
use dockit_registry::manifest::Manifest;
use dockit_registry::{
    Client, Credential, Digest, Error, ErrorKind, ImageConfig, Platform, RawManifest, Reference,
    Registry as _, resolve_image,
};
use tokio::runtime::Handle;

use super::{BackendError, BackendErrorKind, Engine, LocalImage, Pushed};
use crate::lockfile::prepare_state;

/// Largest configuration that is read, in bytes.
const CONFIG_LIMIT: u64 = 8 * 1024 * 1024;

/// A layout as the store of what is not pushed, or not yet. Images are known by the digests of their
/// manifests, and named as an engine would name them. Nothing can be run here.
///
/// The directory is made when something is first put into it.
#[derive(Clone)]
pub struct LayoutStore {
    directory: PathBuf,
    client: Client,
    settings: StoreSettings,
    /// What was opened, for all that share the store: it knows what it has read.
    opened: Arc<Mutex<Option<Layout>>>,
}

/// How a store works.
#[derive(Clone, Debug, Default)]
pub struct StoreSettings {
    /// What the directories of layouts in references are relative to: the project's.
    pub root: PathBuf,
    /// How layers are packed that come from elsewhere unpacked.
    pub compression: Compression,
}

impl LayoutStore {
    /// The store in this directory. `client` moves images from and to registries.
    pub fn new(directory: PathBuf, client: Client, settings: StoreSettings) -> Self {
        Self { directory, client, settings, opened: Arc::default() }
    }

    /// The directory of the layout.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What moves images.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// How layers are packed.
    pub(crate) fn compression(&self) -> Compression {
        self.settings.compression
    }

    /// An image of a layout that a reference leads into, for one platform.
    pub(crate) async fn of_layout(
        &self,
        source: &Reference,
        platform: &Platform,
    ) -> Result<(Layout, RawManifest), BackendError> {
        let image = resolve_image(&self.client, source, platform).await.map_err(transferred)?;
        let directory = source.repository().host().layout().unwrap_or(Path::new(""));
        let directory = self.settings.root.join(directory);
        blocking(move || {
            let layout = Layout::open(&directory)?;
            let manifest = layout.manifest(&image.platform_digest)?;
            Ok((layout, manifest))
        })
        .await
    }

    /// The layout, which is made if it is missing.
    pub(crate) async fn created(&self) -> Result<Layout, BackendError> {
        let store = self.clone();
        blocking(move || store.create()).await
    }

    /// The layout, which is made if it is missing. Blocks.
    pub(crate) fn create(&self) -> Result<Layout, Error> {
        self.kept(|| {
            let outer = self.directory.parent().unwrap_or(&self.directory);
            prepare_state(outer).map_err(|error| {
                let message = format!("{} cannot be made: {error}", outer.display());
                Error::new(ErrorKind::Storage, message)
            })?;
            Layout::create(&self.directory).map(Some)
        })?
        .ok_or_else(|| {
            let message = format!("{} was not made", self.directory.display());
            Error::new(ErrorKind::Storage, message)
        })
    }

    /// The layout, if there is one. Blocks.
    pub(crate) fn open(&self) -> Result<Option<Layout>, Error> {
        self.kept(|| match self.directory.join("oci-layout").try_exists() {
            Ok(false) => Ok(None),
            _ => Layout::open(&self.directory).map(Some),
        })
    }

    /// The layout that was opened before, unless its directory is another now.
    fn kept(
        &self,
        open: impl FnOnce() -> Result<Option<Layout>, Error>,
    ) -> Result<Option<Layout>, Error> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if !opened.as_ref().is_some_and(Layout::is_current) {
            *opened = open()?;
        }
        Ok(opened.clone())
    }

    /// The manifest with this name or identifier, with the layout that holds it.
    pub(crate) async fn manifest(
        &self,
        of: ImageIn,
    ) -> Result<Option<(Layout, RawManifest)>, BackendError> {
        let store = self.clone();
        blocking(move || {
            let Some(layout) = store.open()? else { return Ok(None) };
            let (name, digest) = match &of {
                ImageIn::Named(name) => (Some(name), None),
                ImageIn::Identified(digest) => (None, Some(digest)),
            };
            let Some(found) = layout.find(name, digest)? else { return Ok(None) };
            let manifest = layout.manifest(&found.digest)?;
            Ok(Some((layout, manifest)))
        })
        .await
    }

    /// What is here of a manifest, as engines say it.
    pub(crate) async fn described(
        &self,
        layout: Layout,
        manifest: RawManifest,
    ) -> Result<LocalImage, BackendError> {
        blocking(move || {
            let config = config(&layout, &manifest)?;
            let labels = ImageConfig::parse(&config)?.labels;
            Ok(LocalImage { id: manifest.digest().to_string(), labels })
        })
        .await
    }

    /// A place in the store that copies read and write.
    pub(crate) fn place(
        &self,
        name: Option<LayoutName>,
        digest: Option<Digest>,
    ) -> LayoutReference {
        LayoutReference::new(self.directory.clone(), name, digest)
    }
}

/// How an image of the store is meant.
pub(crate) enum ImageIn {
    Named(LayoutName),
    Identified(Digest),
}

/// What a reference is called in the store. Where it lies in a layout itself, the directory does not count.
pub(crate) fn layout_name(reference: &Reference) -> Result<LayoutName, BackendError> {
    let repository = reference.repository();
    let tag = reference.tag_or_latest();
    let text = match repository.host().layout() {
        Some(_) => format!("oci/{}:{tag}", repository.name().as_str()),
        None => format!("{repository}:{tag}"),
    };
    text.parse().map_err(|error: dockit_registry::layout::LayoutReferenceError| {
        BackendError::new(BackendErrorKind::Engine, error.to_string())
    })
}

/// The configuration of an image, as stored.
pub(crate) fn config(layout: &Layout, manifest: &RawManifest) -> Result<Vec<u8>, Error> {
    let Manifest::Image(image) = manifest.parse()? else {
        let message = format!("{} is an index, and no image", manifest.digest());
        return Err(Error::new(ErrorKind::Unsupported, message));
    };
    let mut bytes = Vec::new();
    let file = layout.open_blob(&image.config)?;
    file.take(CONFIG_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Storage, format!("{} cannot be read: {error}", image.config.digest))
    })?;
    if !image.config.digest.matches(&bytes) {
        let message = format!("the configuration {} is damaged", image.config.digest);
        return Err(Error::new(ErrorKind::DigestMismatch, message));
    }
    Ok(bytes)
}

/// Does something with a layout where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, BackendError> {
    match tokio::task::spawn_blocking(act).await {
        Ok(done) => done.map_err(stored),
        Err(error) => Err(BackendError::new(BackendErrorKind::Engine, error.to_string())),
    }
}

/// A failure of the store itself.
pub(crate) fn stored(error: Error) -> BackendError {
    BackendError::new(BackendErrorKind::Engine, error.to_string())
}

/// A failure of a transfer, on whichever side.
fn transferred(error: Error) -> BackendError {
    let kind = match error.kind() {
        ErrorKind::Storage | ErrorKind::DigestMismatch => BackendErrorKind::Engine,
        ErrorKind::RateLimited { .. } | ErrorKind::Transient => BackendErrorKind::RegistryPassing,
        _ => BackendErrorKind::Registry,
    };
    BackendError::new(kind, error.to_string())
}

/// Copies an image. Its futures know nothing of threads, so that it has one of its own.
async fn copied(
    from: impl ImagePlace + 'static,
    to: impl ImagePlace + 'static,
    options: CopyOptions,
) -> Result<CopyReport, BackendError> {
    let handle = Handle::current();
    let copying = tokio::task::spawn_blocking(move || {
        handle.block_on(copy::copy(&from, &to, &options, Arc::new(())))
    });
    match copying.await {
        Ok(copied) => copied.map_err(transferred),
        Err(error) => Err(BackendError::new(BackendErrorKind::Engine, error.to_string())),
    }
}

#[async_trait]
impl Engine for LayoutStore {
    async fn find(&self, name: &Reference) -> Result<Option<LocalImage>, BackendError> {
        let wanted = match name.digest() {
            Some(digest) => ImageIn::Identified(digest.clone()),
            None => ImageIn::Named(layout_name(name)?),
        };
        match self.manifest(wanted).await? {
            Some((layout, manifest)) => self.described(layout, manifest).await.map(Some),
            None => Ok(None),
        }
    }

    async fn push_unless_taken(
        &self,
        name: &Reference,
        expected: Option<&Digest>,
        credential: &Credential,
    ) -> Result<Pushed, BackendError> {
        if name.repository().host().layout().is_none() {
            return self.push(name, credential).await.map(Pushed::Ours);
        }
        let held = self.manifest(ImageIn::Named(layout_name(name)?)).await?;
        let (layout, manifest) = held.ok_or_else(|| {
            let message = format!("{name} is not in {}", self.directory.display());
            BackendError::new(BackendErrorKind::Engine, message)
        })?;
        let (digest, repository) = (manifest.digest().clone(), name.repository());
        let from = LayoutImage::open(self.place(None, Some(digest.clone()))).with_opened(layout);
        let to = repository.with_digest(digest.clone());
        let to = RemoteImage::to_write(self.client.clone(), to);
        let options = CopyOptions { referrers: false, ..CopyOptions::default() };
        copied(from, to, options).await?;
        // All of it is there before it has a name.
        let tag = name.tag_or_latest();
        let put = self.client.put_manifest_if(repository, &tag, &manifest, expected).await;
        let there = put.map_err(transferred)?;
        Ok(if there == digest { Pushed::Ours(digest) } else { Pushed::Theirs(there) })
    }

    async fn push(&self, name: &Reference, _: &Credential) -> Result<Digest, BackendError> {
        let layout = self.created().await?;
        let from =
            LayoutImage::open(self.place(Some(layout_name(name)?), None)).with_opened(layout);
        let to = RemoteImage::to_write(self.client.clone(), name.clone());
        // What refers to it here is of other runs.
        let options = CopyOptions { referrers: false, ..CopyOptions::default() };
        copied(from, to, options).await.map(|report| report.digest)
    }

    async fn pull(
        &self,
        source: &Reference,
        platform: &Platform,
        _: &Credential,
    ) -> Result<LocalImage, BackendError> {
        let layout = self.created().await?;
        let image = resolve_image(&self.client, source, platform).await.map_err(transferred)?;
        let digest = image.platform_digest;
        let from = source.repository().with_digest(digest.clone());
        let from = RemoteImage::new(self.client.clone(), from);
        let to = LayoutImage::create(self.place(None, Some(digest.clone()))).with_opened(layout);
        let options = CopyOptions { referrers: false, ..CopyOptions::default() };
        copied(from, to, options).await?;
        let found = self.manifest(ImageIn::Identified(digest)).await?;
        let (layout, manifest) = found.ok_or_else(|| {
            let message = format!("{source} is not in the store, though it was just put there");
            BackendError::new(BackendErrorKind::Engine, message)
        })?;
        self.described(layout, manifest).await
    }

    async fn tag(&self, image: &LocalImage, name: &Reference) -> Result<(), BackendError> {
        let name = layout_name(name)?;
        let digest = image.id.parse::<Digest>().map_err(|error| {
            BackendError::new(BackendErrorKind::Engine, format!("{}: {error}", image.id))
        })?;
        let store = self.clone();
        blocking(move || {
            let layout = store.create()?;
            let manifest = layout.manifest(&digest)?;
            layout.set_name(&name, &manifest.descriptor())
        })
        .await
    }

    fn only_keeps(&self) -> bool {
        true
    }
}
