//! From a layout into an engine.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek as _, Write};

use dockit_assemble::layer::unpacked;
use dockit_registry::layout::Layout;
use dockit_registry::manifest::{Descriptor, ImageManifest, Manifest};
use dockit_registry::{Digest, ImageConfig, RawManifest};
use futures_util::StreamExt as _;
use serde_json::json;

use super::ArchiveBackend;
use crate::backend::{BackendError, BackendErrorKind, LocalImage, channel};

/// Largest configuration that is read, in bytes.
const CONFIG_LIMIT: u64 = 8 * 1024 * 1024;

/// Brings an image of a layout, by its manifest, into an engine, unless the engine has it. It gets no name
/// there.
///
/// # Errors
///
/// The layout lacks something of the image or it is damaged; the engine refused.
pub async fn load_from_layout(
    layout: &Layout,
    manifest: &RawManifest,
    engine: &dyn ArchiveBackend,
) -> Result<LocalImage, BackendError> {
    let image = match manifest.parse().map_err(|error| unreadable(&error))? {
        Manifest::Image(image) => image,
        Manifest::Index(_) => {
            let message = format!("{} is an index, and no image", manifest.digest());
            return Err(BackendError::new(BackendErrorKind::Engine, message));
        }
    };
    let id = image.config.digest.to_string();
    // Engines call an image by its configuration, or by its manifest.
    for id in [&id, manifest.digest().as_str()] {
        if let Some(local) = engine.find_id(id).await? {
            return Ok(local);
        }
    }
    let (mut out, stream) = channel::pipe();
    let layout = layout.clone();
    let writing = tokio::task::spawn_blocking(move || {
        let written = write_archive(&layout, &image, &mut out).and_then(|()| out.flush());
        if let Err(error) = &written {
            out.fail(io::Error::new(error.kind(), error.to_string()));
        }
        written
    });
    let loaded = engine.load(&id, stream.boxed()).await;
    match writing.await {
        // The engine's own answer says why it stopped reading.
        Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(unreadable(&error)),
        Err(error) => Err(unreadable(&error)),
        Ok(_) => loaded,
    }
}

fn unreadable(error: &dyn std::error::Error) -> BackendError {
    BackendError::new(BackendErrorKind::Engine, format!("the image cannot be loaded: {error}"))
}

/// Writes the archive of an image: its layers as they are packed, which engines unpack, except where they
/// may not know how.
fn write_archive(layout: &Layout, image: &ImageManifest, out: &mut dyn Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(out);
    let config = read_all(layout, &image.config, CONFIG_LIMIT)?;
    let name = format!("{}.json", hex(&image.config.digest));
    append(&mut archive, &name, config.len() as u64, &mut config.as_slice())?;
    let parsed = ImageConfig::parse(&config).map_err(io::Error::other)?;
    if parsed.diff_ids.len() != image.layers.len() {
        return Err(io::Error::other("its configuration does not have as many layers"));
    }
    let mut names = BTreeMap::new();
    let mut layers = Vec::new();
    for (layer, diff_id) in image.layers.iter().zip(&parsed.diff_ids) {
        let name = format!("{}.tar", hex(diff_id));
        // A layer may be there twice.
        if names.insert(name.clone(), layer).is_none() {
            append_layer(&mut archive, &name, layout, layer)?;
        }
        layers.push(name);
    }
    let manifest = json!([{ "Config": name, "RepoTags": null, "Layers": layers }]).to_string();
    append(&mut archive, "manifest.json", manifest.len() as u64, &mut manifest.as_bytes())?;
    archive.finish()
}

fn hex(digest: &Digest) -> &str {
    digest.as_str().rsplit(':').next().unwrap_or_default()
}

fn read_all(layout: &Layout, blob: &Descriptor, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(layout, blob)?.take(limit + 1).read_to_end(&mut bytes)?;
    if !blob.digest.matches(&bytes) {
        return Err(io::Error::other(format!("{} is damaged", blob.digest)));
    }
    Ok(bytes)
}

fn open(layout: &Layout, blob: &Descriptor) -> io::Result<std::fs::File> {
    layout.open_blob(blob).map_err(io::Error::other)
}

/// The engine checks the layer: it knows the digest of the unpacked bytes from the configuration.
fn append_layer(
    archive: &mut tar::Builder<&mut dyn Write>,
    name: &str,
    layout: &Layout,
    layer: &Descriptor,
) -> io::Result<()> {
    if !layer.media_type.ends_with("+zstd") {
        return append(archive, name, layer.size, &mut open(layout, layer)?);
    }
    // Engines before 23.0 know nothing of zstd. How much it unpacks to has to be said first.
    let mut plain = tempfile::tempfile_in(layout.directory())?;
    let size = io::copy(&mut unpacked(open(layout, layer)?)?, &mut plain)?;
    plain.rewind()?;
    append(archive, name, size, &mut plain)
}

fn append(
    archive: &mut tar::Builder<&mut dyn Write>,
    name: &str,
    size: u64,
    content: &mut dyn Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    let mut counted = content.take(size);
    archive.append_data(&mut header, name, &mut counted)?;
    // Otherwise the archive would be shifted, and be something else.
    match counted.limit() {
        0 => Ok(()),
        missing => Err(io::Error::other(format!("{name} lacks {missing} bytes"))),
    }
}
