//! The images that a Dockerfile names.

use std::io::Read;
use std::sync::Arc;

use dockit_registry::manifest::Descriptor;

use crate::error::{AssembleError, AssembleErrorKind};
use crate::layer::LayerCache;

/// Where images come from. Everything blocks.
pub trait Images: Send + Sync {
    /// The image of a use, by its position in
    /// [`ResolvedDockerfile::image_uses`](dockit_hashing::dockerfile::ResolvedDockerfile::image_uses), for
    /// the platform that is built or that the `FROM` names.
    ///
    /// # Errors
    ///
    /// It cannot be had.
    fn image(&self, position: usize) -> Result<Arc<BaseImage>, AssembleError>;

    /// Where layers that were read are kept for other images as well, if they are.
    fn layer_cache(&self) -> Option<&LayerCache> {
        None
    }
}

/// One platform's image.
pub struct BaseImage {
    /// Its configuration, as stored.
    pub config: Vec<u8>,
    /// Its layers, the lowest first.
    pub layers: Vec<BaseLayer>,
}

impl BaseImage {
    /// Sees that the configuration tells of as many layers as there are: else nobody knows which is which.
    pub(crate) fn check(&self, told: usize) -> Result<(), AssembleError> {
        let there = self.layers.len();
        if told == there {
            return Ok(());
        }
        let message = format!("it has {there} layers, but its configuration tells of {told}");
        Err(AssembleError::new(AssembleErrorKind::Image, message))
    }
}

/// A layer of an image.
#[derive(Clone)]
pub struct BaseLayer {
    /// The packed bytes, by digest.
    pub descriptor: Descriptor,
    /// How to get them.
    pub blob: Arc<dyn LayerBlob>,
}

/// The packed bytes of a layer.
pub trait LayerBlob: Send + Sync {
    /// Opens them, from the beginning. Whoever reads to the end gets an error unless they are what the
    /// descriptor says.
    ///
    /// # Errors
    ///
    /// They cannot be had.
    fn open(&self) -> Result<Box<dyn Read + Send>, AssembleError>;
}
