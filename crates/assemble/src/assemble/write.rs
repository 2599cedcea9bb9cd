//! The configuration and the manifest.

use std::io::Write as _;

use dockit_registry::RawManifest;
use dockit_registry::layout::Layout;
use dockit_registry::manifest::{Descriptor, media_type};
use serde_json::Value;

use super::Assembled;
use crate::error::{AssembleError, AssembleErrorKind};
use crate::images::BaseLayer;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// Docker's names of layers, and the image spec's for the same bytes.
const LAYERS: [(&str, &str); 5] = [
    ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar"),
    (
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "application/vnd.oci.image.layer.v1.tar+zstd",
    ),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
];

/// Writes what names the layers of an image.
///
/// # Errors
///
/// The output cannot be written.
pub(super) fn write(
    output: &Layout,
    config: &[u8],
    base_layers: Vec<BaseLayer>,
    layers: Vec<Descriptor>,
) -> Result<Assembled, AssembleError> {
    let mut blob = output.new_blob().map_err(unwritable)?;
    blob.write_all(config).map_err(unwritable)?;
    let config = blob.finish(CONFIG).map_err(unwritable)?;
    let below = base_layers.iter().map(|layer| &layer.descriptor);
    let layers: Vec<String> = below.chain(&layers).map(entry).collect();
    // The order of members is that of the spec's own types, as other tools write them.
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}}"#,
        media_type::OCI_MANIFEST,
        entry(&config),
        layers.join(",")
    );
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, text);
    output.put_manifest(&manifest).map_err(unwritable)?;
    Ok(Assembled { manifest, config, base_layers })
}

/// What points to a blob, without what others say of it.
fn entry(blob: &Descriptor) -> String {
    let known = LAYERS.iter().find(|(docker, _)| *docker == blob.media_type);
    let media_type = known.map_or(blob.media_type.as_str(), |(_, oci)| oci);
    let Descriptor { digest, size, .. } = blob;
    format!(r#"{{"mediaType":{},"digest":"{digest}","size":{size}}}"#, Value::from(media_type))
}

fn unwritable(error: impl std::fmt::Display) -> AssembleError {
    AssembleError::new(AssembleErrorKind::Output, error.to_string())
}
