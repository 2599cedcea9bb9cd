//! Images that are put together here, without an engine: those whose Dockerfile runs no command.

mod images;
mod into_engine;

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use dockit_assemble::assemble::{AssemblyEvent, Compression};
use dockit_assemble::layer::LayerCache;
use dockit_assemble::{AssembleError, AssembleErrorKind, Assembly, assemble};
use dockit_registry::RawManifest;
use dockit_registry::layout::Layout;
use tokio::sync::mpsc;

pub use into_engine::AssembleInto;

use self::images::{Finder, Found};
use super::archive::load_from_layout;
use super::layout_store::{ImageIn, LayoutStore, blocking, layout_name};
use super::{
    BackendError, BackendErrorKind, BuildBackend, BuildEvent, BuildObserver, BuildRequest, Built,
    Engine, LocalImage,
};

/// Puts images together in a [`LayoutStore`], for any platform.
///
/// A base image that has a digest is read from where its reference says; one without is in the store.
pub struct Assembler {
    store: LayoutStore,
    /// The layers of bases that were read: many images share a base.
    layers: Arc<LayerCache>,
}

/// An image that was put together.
struct Made {
    layout: Layout,
    manifest: RawManifest,
}

impl Assembler {
    /// One that leaves images in this store.
    pub fn new(store: LayoutStore) -> Self {
        let layers = Arc::new(LayerCache::new(store.directory()));
        Self { store, layers }
    }

    /// Where it leaves images.
    pub fn store(&self) -> &LayoutStore {
        &self.store
    }

    /// Brings an image of its store into an engine. It gets no name there.
    ///
    /// # Errors
    ///
    /// The image is not there or damaged; the engine takes none, or refused.
    pub async fn load(
        &self,
        image: &LocalImage,
        engine: &dyn Engine,
    ) -> Result<LocalImage, BackendError> {
        let archives = engine.archives().ok_or_else(takes_none)?;
        let missing = || {
            let message =
                format!("{} is no longer in {}", image.id, self.store.directory().display());
            BackendError::new(BackendErrorKind::Engine, message)
        };
        let digest = image.id.parse().map_err(|_| missing())?;
        let found = self.store.manifest(ImageIn::Identified(digest)).await?;
        let (layout, manifest) = found.ok_or_else(missing)?;
        load_from_layout(&layout, &manifest, archives).await
    }

    /// Puts an image together, with everything that belongs to it in the store. Images without a digest are
    /// those of `engine`.
    async fn make(
        &self,
        request: &BuildRequest,
        engine: Option<&dyn Engine>,
        observer: &dyn BuildObserver,
    ) -> Result<Made, BackendError> {
        let layout = self.store.created().await?;
        let finder = Finder { store: &self.store, engine };
        let found = Arc::new(finder.find(request, &layout, &self.layers).await?);
        let (sender, mut events) = mpsc::unbounded_channel();
        let work = Work {
            request: request.clone(),
            layout: layout.clone(),
            compression: self.store.compression(),
            found: Arc::clone(&found),
            events: sender,
        };
        let working = tokio::task::spawn_blocking(move || work.assemble());
        while let Some(event) = events.recv().await {
            observer.event(event);
        }
        let assembled = working.await.map_err(|error| {
            BackendError::new(BackendErrorKind::Engine, format!("it was broken off: {error}"))
        })?;
        let assembled = assembled.map_err(|error| failed(&error))?;
        for layer in &assembled.base_layers {
            found.bring(&layer.descriptor).await?;
        }
        let name = request.named.then(|| layout_name(&request.name)).transpose()?;
        let (place, manifest) = (layout.clone(), assembled.manifest.clone());
        blocking(move || {
            place.put_manifest(&manifest)?;
            match &name {
                Some(name) => place.set_name(name, &manifest.descriptor()),
                None => Ok(()),
            }
        })
        .await?;
        Ok(Made { layout, manifest: assembled.manifest })
    }
}

/// That an engine cannot be given images.
fn takes_none() -> BackendError {
    let message = "the engine takes no images that were built elsewhere";
    BackendError::new(BackendErrorKind::Engine, message)
}

/// What is done where it may block.
struct Work {
    request: BuildRequest,
    layout: Layout,
    compression: Compression,
    found: Arc<Found>,
    events: mpsc::UnboundedSender<BuildEvent>,
}

impl Work {
    fn assemble(&self) -> Result<dockit_assemble::Assembled, AssembleError> {
        let request = &self.request;
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        assemble(&Assembly {
            dockerfile: &request.recipe.resolved(),
            context: &request.context,
            listing: &request.listing,
            platform: &request.platform,
            labels: &request.labels,
            images: &*self.found,
            output: &self.layout,
            compression: self.compression,
            threads,
            observer: &|event| {
                // Nobody listens to a build that was given up.
                drop(self.events.send(told(event)));
            },
        })
    }
}

/// An event as builds of engines tell it.
fn told(event: AssemblyEvent<'_>) -> BuildEvent {
    match event {
        AssemblyEvent::StepFinished { number, text, seconds } => BuildEvent::StepFinished {
            id: number.to_string(),
            name: text.to_owned(),
            cached: false,
            error: None,
            seconds,
        },
        AssemblyEvent::StepStarted { number, text } => {
            BuildEvent::StepStarted { id: number.to_string(), name: text.to_owned() }
        }
        // There is no other event; a new one would be told in a way of its own.
        _ => BuildEvent::StepStarted { id: String::new(), name: String::new() },
    }
}

fn failed(error: &AssembleError) -> BackendError {
    let kind = match error.kind() {
        AssembleErrorKind::NeedsCommands => BackendErrorKind::Unsupported,
        AssembleErrorKind::Context => BackendErrorKind::Context,
        AssembleErrorKind::Image => BackendErrorKind::Registry,
        AssembleErrorKind::Output => BackendErrorKind::Engine,
        _ => BackendErrorKind::Build,
    };
    BackendError::new(kind, error.to_string())
}

#[async_trait]
impl BuildBackend for Assembler {
    async fn build(
        &self,
        request: BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<Built, BackendError> {
        let Made { layout, manifest } = self.make(&request, None, observer).await?;
        self.store.described(layout, manifest).await.map(Built::InStore)
    }

    fn runs_commands(&self) -> bool {
        false
    }

    fn engine(&self) -> Option<&dyn Engine> {
        Some(&self.store)
    }

    fn assembler(&self) -> Option<&Assembler> {
        Some(self)
    }
}
