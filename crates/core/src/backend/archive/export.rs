//! From an engine into a layout.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::num::NonZeroUsize;

use dockit_assemble::assemble::Compression;
use dockit_assemble::layer::pack_tar;
use dockit_registry::layout::Layout;
use dockit_registry::manifest::{Descriptor, media_type};
use dockit_registry::{Digest, ImageConfig, RawManifest};
use serde::Deserialize;
use serde_json::json;

use super::channel::ChunkReader;
use super::{ArchiveBackend, channel};
use crate::backend::{BackendError, BackendErrorKind, LocalImage};

/// Largest file of an archive that is read as JSON, in bytes.
const JSON_LIMIT: u64 = 8 * 1024 * 1024;

/// Most entries that an archive may have.
const MAX_ENTRIES: usize = 100_000;

/// Puts an image of an engine into a layout, where it gets no name: with the very configuration that the
/// engine has, and its layers packed so.
///
/// # Errors
///
/// The engine cannot be asked, or gave something else; the layout cannot be written.
pub async fn export_to_layout(
    engine: &dyn ArchiveBackend,
    image: &LocalImage,
    layout: &Layout,
    compression: Compression,
) -> Result<RawManifest, BackendError> {
    let (reader, feeding) = channel::reader(engine.export(image).await?);
    let layout = layout.clone();
    let reading = tokio::task::spawn_blocking(move || read_archive(reader, &layout, compression));
    let ((), read) = tokio::join!(feeding, reading);
    let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
    read.map_err(|error| {
        let message = format!("{} cannot be exported: {error}", image.id);
        BackendError::new(BackendErrorKind::Engine, message)
    })
}

/// One image of an archive's `manifest.json`.
#[derive(Deserialize)]
struct ArchivedImage {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

/// A file of an archive.
enum Entry {
    /// A small one that looks like JSON.
    Json(Vec<u8>),
    /// Any other: as a layer, with the digest of its unpacked bytes.
    Layer(Descriptor, Digest),
    /// A link to another: the same layer is there once.
    Link(String),
}

fn read_archive(
    reader: ChunkReader,
    layout: &Layout,
    compression: Compression,
) -> io::Result<RawManifest> {
    let mut entries = BTreeMap::new();
    let mut archive = tar::Archive::new(reader);
    for file in archive.entries()? {
        let mut file = file?;
        if entries.len() == MAX_ENTRIES {
            return Err(io::Error::other("the archive has too many entries"));
        }
        let path = String::from_utf8_lossy(&file.path_bytes()).into_owned();
        let entry = match file.header().entry_type() {
            tar::EntryType::Regular => read_file(&mut file, layout, compression)?,
            tar::EntryType::Symlink | tar::EntryType::Link => match file.link_name_bytes() {
                Some(target) => Entry::Link(String::from_utf8_lossy(&target).into_owned()),
                None => continue,
            },
            _ => continue,
        };
        entries.insert(path, entry);
    }
    // Its other end may still have something to say, such as that the engine is gone.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    manifest(&entries, layout)
}

fn read_file(file: &mut dyn Read, layout: &Layout, compression: Compression) -> io::Result<Entry> {
    let mut start = [0];
    let started = file.read(&mut start)?;
    let mut whole = start[..started].chain(file);
    if start[..started] == *b"{" || start[..started] == *b"[" {
        let mut bytes = Vec::new();
        whole.by_ref().take(JSON_LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > JSON_LIMIT {
            return Err(io::Error::other("a description in the archive is too large"));
        }
        return Ok(Entry::Json(bytes));
    }
    // `VERSION` is such a file, and no layer is that short.
    let mut head = Vec::new();
    whole.by_ref().take(SHORTEST_LAYER).read_to_end(&mut head)?;
    if (head.len() as u64) < SHORTEST_LAYER {
        return Ok(Entry::Json(head));
    }
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let packed = pack_tar(&mut head.as_slice().chain(whole), compression, threads, layout)?;
    Ok(Entry::Layer(packed.descriptor, packed.diff_id))
}

/// Two empty blocks end every archive.
const SHORTEST_LAYER: u64 = 1024;

fn manifest(entries: &BTreeMap<String, Entry>, layout: &Layout) -> io::Result<RawManifest> {
    let invalid = |what: &str| io::Error::other(format!("the archive {what}"));
    let Some(Entry::Json(images)) = entries.get("manifest.json") else {
        return Err(invalid("has no manifest.json"));
    };
    let images: Vec<ArchivedImage> = serde_json::from_slice(images)?;
    let [image] = images.as_slice() else {
        return Err(invalid("does not hold one image"));
    };
    let Some(Entry::Json(config)) = find(entries, &image.config) else {
        return Err(invalid("lacks the image's configuration"));
    };
    let diff_ids = ImageConfig::parse(config).map_err(io::Error::other)?.diff_ids;
    if diff_ids.len() != image.layers.len() {
        return Err(invalid("does not have the layers that its configuration names"));
    }
    let mut layers = Vec::new();
    for (path, wanted) in image.layers.iter().zip(&diff_ids) {
        match find(entries, path) {
            Some(Entry::Layer(layer, diff_id)) if diff_id == wanted => layers.push(layer),
            Some(Entry::Layer(..)) => return Err(invalid("has another layer than it says")),
            _ => return Err(invalid("lacks a layer")),
        }
    }
    let described = |descriptor: &Descriptor| {
        json!({
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest,
            "size": descriptor.size,
        })
    };
    let config_media_type = "application/vnd.oci.image.config.v1+json";
    let config_descriptor =
        Descriptor::new(config_media_type, Digest::of(config), config.len() as u64);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": described(&config_descriptor),
        "layers": layers.into_iter().map(described).collect::<Vec<_>>(),
    });
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string());
    let put = || {
        let mut writer = layout.blob_writer(&config_descriptor)?;
        writer.write(config)?;
        writer.commit()?;
        layout.put_manifest(&manifest)
    };
    put().map_err(io::Error::other)?;
    Ok(manifest)
}

/// The file that a path means, over links within the archive.
fn find<'a>(entries: &'a BTreeMap<String, Entry>, path: &str) -> Option<&'a Entry> {
    let mut path = path.to_owned();
    for _ in 0..8 {
        match entries.get(&path)? {
            Entry::Link(target) => path = beside(&path, target),
            entry => return Some(entry),
        }
    }
    None
}

/// What a relative target means that stands at a path.
fn beside(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_within_the_archive() {
        for (path, target, expected) in [
            ("b/layer.tar", "../a/layer.tar", "a/layer.tar"),
            ("layer.tar", "a.tar", "a.tar"),
            ("b/layer.tar", "../../../x", "x"),
        ] {
            assert_eq!(beside(path, target), expected);
        }
        let loops = BTreeMap::from([("a".to_owned(), Entry::Link("a".to_owned()))]);
        assert!(find(&loops, "a").is_none());
    }
}
