//! The images that an assembled one is made from.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use dockit_assemble::images::BaseLayer;
use dockit_assemble::layer::LayerCache;
use dockit_assemble::{AssembleError, AssembleErrorKind, BaseImage, Images, LayerBlob};
use dockit_hashing::dockerfile::ImageUseKind;
use dockit_registry::copy::{ImagePlace, LayoutImage, RemoteImage};
use dockit_registry::layout::Layout;
use dockit_registry::manifest::{Descriptor, ImageManifest, Manifest};
use dockit_registry::{
    BlobSource, BlobStream, Digest, Error, ImageChoice, Platform, RawManifest, Reference,
    Registry as _, choose_image,
};
use futures_util::StreamExt as _;
use futures_util::stream::Fuse;
use tokio::runtime::Handle;

use crate::backend::archive::export_to_layout;
use crate::backend::layout_store::{self, ImageIn, LayoutStore, blocking, layout_name};
use crate::backend::{BackendError, BackendErrorKind, BuildRequest, Engine};

/// Largest configuration that is read, in bytes.
const CONFIG_LIMIT: u64 = 8 * 1024 * 1024;

/// Where the images of a build are looked for.
pub(super) struct Finder<'a> {
    /// Where layers are brought, and where images without a digest are if there is no engine.
    pub(super) store: &'a LayoutStore,
    /// Where they are otherwise.
    pub(super) engine: Option<&'a dyn Engine>,
}

/// The images of a build, by their position among its image uses. Layers are brought into the store when
/// somebody reads them.
pub(super) struct Found {
    images: BTreeMap<usize, Arc<BaseImage>>,
    layers: BTreeMap<Digest, Arc<Layer>>,
    /// What was read of layers, for all images of a run.
    read: Arc<LayerCache>,
}

impl Finder<'_> {
    /// Reads manifest and configuration of every image that the build uses.
    pub(super) async fn find(
        &self,
        request: &BuildRequest,
        layout: &Layout,
        read: &Arc<LayerCache>,
    ) -> Result<Found, BackendError> {
        let kinds: Vec<ImageUseKind> =
            request.recipe.resolved().image_uses().iter().map(|used| used.kind).collect();
        let here = LayoutImage::create(self.store.place(None, None)).with_opened(layout.clone());
        let here: Arc<dyn ImagePlace> = Arc::new(here);
        let mut known: BTreeMap<&Reference, Arc<BaseImage>> = BTreeMap::new();
        let (images, layers) = (BTreeMap::new(), BTreeMap::new());
        let mut found = Found { images, layers, read: Arc::clone(read) };
        for (position, (reference, kind)) in request.keyed_images.iter().zip(kinds).enumerate() {
            // What reads the Dockerfile is not part of the image, and nothing mounts here.
            if matches!(kind, ImageUseKind::Syntax | ImageUseKind::MountFrom) {
                continue;
            }
            let image = match known.get(reference) {
                Some(image) => Arc::clone(image),
                None => {
                    let image =
                        self.one(reference, &request.platform, layout, &here, &mut found).await?;
                    known.insert(reference, Arc::clone(&image));
                    image
                }
            };
            found.images.insert(position, image);
        }
        Ok(found)
    }

    async fn one(
        &self,
        reference: &Reference,
        platform: &Platform,
        layout: &Layout,
        here: &Arc<dyn ImagePlace>,
        found: &mut Found,
    ) -> Result<Arc<BaseImage>, BackendError> {
        let (manifest, config, from) = if reference.digest().is_some() {
            self.remote(reference, platform).await?
        } else {
            let (manifest, config) = self.local(reference, layout).await?;
            (manifest, config, Arc::clone(here))
        };
        let mut layers = Vec::new();
        for descriptor in manifest.layers {
            let layer = Arc::new(Layer {
                descriptor: descriptor.clone(),
                from: Arc::clone(&from),
                store: Arc::clone(here),
                handle: Handle::current(),
            });
            found.layers.insert(descriptor.digest.clone(), Arc::clone(&layer));
            layers.push(BaseLayer { descriptor, blob: layer });
        }
        Ok(Arc::new(BaseImage { config, layers }))
    }

    /// An image that has a digest, where its reference says.
    async fn remote(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<(ImageManifest, Vec<u8>, Arc<dyn ImagePlace>), BackendError> {
        let client = self.store.client();
        let repository = reference.repository();
        let read = async {
            let top = client.manifest(reference).await?;
            let ImageChoice::Image(image) =
                choose_image(client, repository, &top, platform).await?
            else {
                return Ok(None);
            };
            let config = &image.manifest.config.digest;
            let config = client.blob(repository, config, CONFIG_LIMIT).await?;
            Ok::<_, Error>(Some((image.manifest, config.to_vec())))
        };
        let read = read.await.map_err(|error| unreadable(reference, &error))?;
        let (manifest, config) = read.ok_or_else(|| {
            let message = format!("{reference} has no image for {platform}");
            BackendError::new(BackendErrorKind::Registry, message)
        })?;
        Ok((manifest, config, Arc::new(RemoteImage::new(client.clone(), reference.clone()))))
    }

    /// An image of this run's store.
    async fn local(
        &self,
        reference: &Reference,
        layout: &Layout,
    ) -> Result<(ImageManifest, Vec<u8>), BackendError> {
        let absent = || {
            let message = format!("{reference} is not in the store of this run");
            BackendError::new(BackendErrorKind::Build, message)
        };
        let held = self.store.manifest(ImageIn::Named(layout_name(reference)?)).await?;
        let held = held.map(|(_, manifest)| manifest);
        let manifest = match self.engine {
            None => held.ok_or_else(absent)?,
            Some(engine) => {
                let local = engine.find(reference).await?.ok_or_else(absent)?;
                match held.filter(|manifest| is_called(manifest, &local.id)) {
                    Some(manifest) => manifest,
                    None => {
                        let archives = engine.archives().ok_or_else(|| {
                            let message = format!("the engine does not give {reference} away");
                            BackendError::new(BackendErrorKind::Engine, message)
                        })?;
                        export_to_layout(archives, &local, layout, self.store.compression()).await?
                    }
                }
            }
        };
        let layout = layout.clone();
        blocking(move || {
            let config = layout_store::config(&layout, &manifest)?;
            match manifest.parse()? {
                Manifest::Image(image) => Ok((image, config)),
                Manifest::Index(_) => unreachable!("an index has no configuration"),
            }
        })
        .await
    }
}

/// Whether an engine calls this image so.
fn is_called(manifest: &RawManifest, id: &str) -> bool {
    let config = match manifest.parse() {
        Ok(Manifest::Image(image)) => image.config.digest,
        _ => return false,
    };
    config.as_str() == id || manifest.digest().as_str() == id
}

fn unreadable(reference: &Reference, error: &Error) -> BackendError {
    BackendError::new(BackendErrorKind::Registry, format!("{reference}: {error}"))
}

impl Found {
    /// Sees that a layer is in the store.
    pub(super) async fn bring(&self, layer: &Descriptor) -> Result<(), BackendError> {
        let Some(layer) = self.layers.get(&layer.digest) else {
            let message = format!("the layer {} is of no base image", layer.digest);
            return Err(BackendError::new(BackendErrorKind::Engine, message));
        };
        let brought = layer.bring().await;
        brought.map_err(|error| BackendError::new(BackendErrorKind::Registry, error.to_string()))
    }
}

impl Images for Found {
    fn image(&self, position: usize) -> Result<Arc<BaseImage>, AssembleError> {
        self.images.get(&position).cloned().ok_or_else(|| {
            let message = format!("the image of use {position} was not looked for");
            AssembleError::new(AssembleErrorKind::Image, message)
        })
    }

    fn layer_cache(&self) -> Option<&LayerCache> {
        Some(&self.read)
    }
}

/// A layer of a base image.
struct Layer {
    descriptor: Descriptor,
    from: Arc<dyn ImagePlace>,
    store: Arc<dyn ImagePlace>,
    handle: Handle,
}

impl Layer {
    async fn bring(&self) -> Result<(), Error> {
        self.store.put_blob(&self.descriptor, self, None).await.map(drop)
    }
}

#[async_trait]
impl BlobSource for Layer {
    async fn open(&self) -> Result<BlobStream, Error> {
        self.from.blob(&self.descriptor).await
    }
}

impl LayerBlob for Layer {
    fn open(&self) -> Result<Box<dyn Read + Send>, AssembleError> {
        let opened = self.handle.block_on(async {
            self.bring().await?;
            self.store.blob(&self.descriptor).await
        });
        let stream = opened.map_err(|error| {
            let message = format!("the layer {}: {error}", self.descriptor.digest);
            AssembleError::new(AssembleErrorKind::Image, message)
        })?;
        let (handle, stream) = (self.handle.clone(), stream.fuse());
        Ok(Box::new(Reader { handle, stream, piece: Bytes::new() }))
    }
}

/// Reads a stream on a thread that may block.
struct Reader {
    handle: Handle,
    /// Readers ask again at the end.
    stream: Fuse<BlobStream>,
    piece: Bytes,
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.handle.block_on(self.stream.next()) {
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let taken = out.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut out[..taken]);
        Ok(taken)
    }
}
