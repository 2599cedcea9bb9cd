//! The same images, assembled.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::Arc;

use dockit_assemble::assemble::Compression;
use dockit_assemble::images::BaseLayer;
use dockit_assemble::{AssembleError, Assembly, BaseImage, Images, LayerBlob, assemble};
use dockit_hashing::dockerfile::{Dockerfile, ResolveOptions};
use dockit_registry::layout::Layout;
use dockit_registry::manifest::{Descriptor, Manifest};
use dockit_registry::{Digest, Platform};

use crate::engine::{self, Request, SavedImage};

/// Assembles an image for linux/amd64. Every image that the Dockerfile names is `base`. An error is in our
/// own words.
pub(crate) fn build(request: &Request<'_>, base: &SavedImage) -> Result<SavedImage, String> {
    let dockerfile = Dockerfile::parse(request.dockerfile.as_bytes()).map_err(words)?;
    let none = BTreeMap::new();
    let options =
        ResolveOptions { target: request.target, args: &request.args, platform_args: &none };
    let resolved = dockerfile.resolve(&options).map_err(words)?;
    let nothing = tempfile::tempdir().unwrap();
    let context = request.context.unwrap_or(nothing.path());
    let output = tempfile::tempdir().unwrap();
    let layout = Layout::create(output.path()).unwrap();
    let assembled = assemble(&Assembly {
        dockerfile: &resolved,
        context,
        listing: &engine::listing(context),
        platform: &Platform::linux_amd64(),
        labels: &request.labels,
        images: &OneImage(base),
        output: &layout,
        compression: Compression::None,
        threads: NonZeroUsize::MIN,
        observer: &|_| {},
    });
    let assembled = assembled.map_err(words)?;
    let Ok(Manifest::Image(manifest)) = assembled.manifest.parse() else {
        panic!("an image is assembled");
    };
    let stored = |blob: &Descriptor| {
        let mut bytes = Vec::new();
        layout.open_blob(blob).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let of_base = assembled.base_layers.len();
    assert!(of_base == 0 || of_base == base.layers.len(), "bases have all their layers");
    let own = manifest.layers[of_base..].iter().map(stored);
    Ok(SavedImage {
        config: stored(&assembled.config),
        layers: base.layers[..of_base].iter().cloned().chain(own).collect(),
    })
}

fn words(error: impl ToString) -> String {
    error.to_string()
}

struct OneImage<'a>(&'a SavedImage);

impl Images for OneImage<'_> {
    fn image(&self, _: usize) -> Result<Arc<BaseImage>, AssembleError> {
        let layers = self.0.layers.iter().map(|bytes| BaseLayer {
            descriptor: Descriptor::new(
                "application/vnd.oci.image.layer.v1.tar",
                Digest::of(bytes),
                bytes.len() as u64,
            ),
            blob: Arc::new(Blob(bytes.clone())),
        });
        let layers = layers.collect();
        Ok(Arc::new(BaseImage { config: self.0.config.clone(), layers }))
    }
}

struct Blob(Vec<u8>);

impl LayerBlob for Blob {
    fn open(&self) -> Result<Box<dyn Read + Send>, AssembleError> {
        Ok(Box::new(io::Cursor::new(self.0.clone())))
    }
}
