//! One image, from its first stage to its manifest.

mod files;
mod plan;
mod work;
mod write;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use dockit_hashing::context::Listing;
use dockit_hashing::dockerfile::ResolvedDockerfile;
use dockit_registry::layout::Layout;
use dockit_registry::manifest::Descriptor;
use dockit_registry::{Platform, RawManifest};

use crate::error::AssembleError;
use crate::images::{BaseLayer, Images};

/// What is to be assembled.
pub struct Assembly<'a> {
    /// The Dockerfile.
    pub dockerfile: &'a ResolvedDockerfile<'a>,
    /// The build context's directory.
    pub context: &'a Path,
    /// Its files that the build may see.
    pub listing: &'a Listing,
    /// The platform to build for.
    pub platform: &'a Platform,
    /// Labels to put on the image, over those of the Dockerfile.
    pub labels: &'a BTreeMap<String, String>,
    /// The images that the Dockerfile names.
    pub images: &'a dyn Images,
    /// Where layers, configuration and manifest are put.
    pub output: &'a Layout,
    /// How layers are packed.
    pub compression: Compression,
    /// How many threads pack. It changes nothing in the result.
    pub threads: NonZeroUsize,
    /// Told of each step before it is done.
    pub observer: &'a (dyn Fn(AssemblyEvent<'_>) + Sync),
}

/// How layers are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// `application/vnd.oci.image.layer.v1.tar`
    None,
    /// `application/vnd.oci.image.layer.v1.tar+gzip`
    #[default]
    Gzip,
    /// `application/vnd.oci.image.layer.v1.tar+zstd`
    Zstd,
}

/// What happens while an image is assembled.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum AssemblyEvent<'a> {
    /// An instruction of the target or a stage that it needs begins.
    StepStarted {
        /// Counts the steps of the image from 0.
        number: usize,
        /// The instruction, as the history of the image words it.
        text: &'a str,
    },
    /// It ended well.
    StepFinished {
        /// As it began.
        number: usize,
        /// As it began.
        text: &'a str,
        /// How long it took.
        seconds: f64,
    },
}

/// An image that is in the output, but for the layers of its base, which need not be.
#[derive(Clone)]
pub struct Assembled {
    /// Its manifest, which has no name in the output yet.
    pub manifest: RawManifest,
    /// Its configuration.
    pub config: Descriptor,
    /// The layers of its base, the lowest first; those above are in the output.
    pub base_layers: Vec<BaseLayer>,
}

/// Assembles an image.
///
/// Layers of images are read only if an instruction looks at what is in them.
///
/// # Errors
///
/// As [`AssembleErrorKind`](crate::AssembleErrorKind) says. What was written until then stays in the
/// output without a name; nothing was if commands are needed.
pub fn assemble(assembly: &Assembly<'_>) -> Result<Assembled, AssembleError> {
    let stages = plan::plan(assembly)?;
    let image = work::Work::new(assembly, &stages).image()?;
    let mut config = image.config;
    // A base may be of another platform, if its FROM says so.
    config.set_platform(assembly.platform);
    config.set_labels(assembly.labels);
    write::write(assembly.output, &config.to_bytes(), image.base_layers, image.layers)
}
