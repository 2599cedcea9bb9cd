//! From an engine into a layout.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::num::NonZeroUsize;

use dockit_assemble::assemble::Compression;
use dockit_assemble::layer::{pack_tar, unpacked};
use dockit_registry::layout::Layout;
use dockit_registry::manifest::{Descriptor, media_type};
use dockit_registry::{Digest, ImageConfig, RawManifest};
use serde::Deserialize;
use serde_json::json;

use super::ArchiveBackend;
use crate::backend::{BackendError, BackendErrorKind, LocalImage, channel};

/// Largest file of an archive that is read as JSON, in bytes.
const JSON_LIMIT: u64 = 8 * 1024 * 1024;

/// Most bytes of such files that are held.
const HELD_LIMIT: usize = 64 * 1024 * 1024;

/// Most entries that an archive may have.
const MAX_ENTRIES: usize = 100_000;

/// Puts an image of an engine into a layout, where it gets no name: with the very configuration that the
/// engine has, and its layers packed so, however the engine keeps them.
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
    /// A small one that is no tar.
    Json(Vec<u8>),
    /// Any other: as a layer, with the digest of its unpacked bytes.
    Layer(Descriptor, Digest),
    /// A link to the file with this path: the same layer is there once.
    Link(String),
}

fn read_archive(
    reader: impl Read,
    layout: &Layout,
    compression: Compression,
) -> io::Result<RawManifest> {
    let mut entries = BTreeMap::new();
    let (mut count, mut held) = (0, 0);
    let mut archive = tar::Archive::new(reader);
    for file in archive.entries()? {
        let mut file = file?;
        count += 1;
        if count > MAX_ENTRIES {
            return Err(io::Error::other("the archive has too many entries"));
        }
        let path = String::from_utf8_lossy(&file.path_bytes()).into_owned();
        let entry = match file.header().entry_type() {
            tar::EntryType::Regular => read_file(&mut file, layout, compression)?,
            kind @ (tar::EntryType::Symlink | tar::EntryType::Link) => {
                file.link_name_bytes().map(|target| {
                    let target = String::from_utf8_lossy(&target).into_owned();
                    // A hard link names a member of the archive, a symbolic one what is beside it.
                    let from = if kind.is_symlink() { path.as_str() } else { "" };
                    Entry::Link(beside(from, &target))
                })
            }
            _ => None,
        };
        if let Some(Entry::Json(bytes)) = &entry {
            held += bytes.len();
            if held > HELD_LIMIT {
                return Err(io::Error::other("the archive has too many descriptions"));
            }
        }
        if let Some(entry) = entry {
            entries.insert(path, entry);
        }
    }
    // Its other end may still have something to say, such as that the engine is gone.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    manifest(&entries, layout)
}

fn read_file(
    file: &mut dyn Read,
    layout: &Layout,
    compression: Compression,
) -> io::Result<Option<Entry>> {
    let mut head = Vec::new();
    file.take(BLOCK as u64).read_to_end(&mut head)?;
    if !may_be_a_layer(&head) {
        let mut bytes = head;
        let missing = (JSON_LIMIT + 1).saturating_sub(bytes.len() as u64);
        file.take(missing).read_to_end(&mut bytes)?;
        // No description is that large: nothing of the image means it.
        return Ok((bytes.len() as u64 <= JSON_LIMIT).then_some(Entry::Json(bytes)));
    }
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let stored = Cursor::new(&head).chain(file);
    let packed = if is_tar(&head) {
        pack_tar(&mut { stored }, compression, threads, layout)?
    } else {
        pack_tar(&mut unpacked(stored)?, compression, threads, layout)?
    };
    Ok(Some(Entry::Layer(packed.descriptor, packed.diff_id)))
}

/// Whether a file that begins so is a tar, or a packed one: engines that keep layers as they were stored
/// give them away so.
fn may_be_a_layer(head: &[u8]) -> bool {
    matches!(head, [0x1f, 0x8b, 0x08, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..])
        || matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
        || is_tar(head)
}

/// Whether this is the first block of a tar: a header, which has its sum, or the end of an empty one.
fn is_tar(head: &[u8]) -> bool {
    let Ok(block) = <&[u8; BLOCK]>::try_from(head) else {
        return false;
    };
    let header = tar::Header::from_byte_slice(block);
    if block.iter().all(|byte| *byte == 0) {
        return true;
    }
    let blank = |position: usize| (148..156).contains(&position);
    let counted = block.iter().enumerate();
    let sum: u32 =
        counted.map(|(position, byte)| if blank(position) { 32 } else { u32::from(*byte) }).sum();
    header.cksum().is_ok_and(|said| said == sum)
}

/// The unit of tars.
const BLOCK: usize = 512;

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
            Entry::Link(target) => path.clone_from(target),
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
    use std::io::Write as _;

    use dockit_registry::manifest::Manifest;
    use tempfile::TempDir;

    use super::*;

    fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, *content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(&directory.path().join("layout")).unwrap();
        let packed = pack_tar(&mut { bytes }, Compression::Zstd, NonZeroUsize::MIN, &layout);
        let mut blob = layout.open_blob(&packed.unwrap().descriptor).unwrap();
        let mut packed = Vec::new();
        blob.read_to_end(&mut packed).unwrap();
        packed
    }

    /// Reads the archive of an image with one layer, that is stored so.
    fn exported(layer: &[u8], stored: &[u8]) -> io::Result<(RawManifest, Layout, TempDir)> {
        let config = json!({
            "os": "linux",
            "architecture": "amd64",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!([{"Config": "c.json", "Layers": ["blobs/layer"]}]).to_string();
        let archive = packed(&[
            ("VERSION", b"1.0"),
            ("blobs/layer", stored),
            ("c.json", &config),
            ("manifest.json", manifest.as_bytes()),
        ]);
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(&directory.path().join("layout")).unwrap();
        let read = read_archive(archive.as_slice(), &layout, Compression::Gzip)?;
        Ok((read, layout, directory))
    }

    #[test]
    fn layers_are_what_they_are_however_they_are_stored_and_named() {
        let plain = packed(&[("{file", b"1"), ("other", &[7; 5000])]);
        let list = packed(&[("[", b"")]);
        let empty = vec![0; 1024];
        for (layer, stored) in [
            (&plain, plain.clone()),
            (&list, list.clone()),
            (&empty, empty.clone()),
            (&plain, gzip(&plain)),
            (&plain, zstd(&plain)),
        ] {
            let (manifest, layout, _directory) = exported(layer, &stored).unwrap();
            let Manifest::Image(image) = manifest.parse().unwrap() else { panic!("an image") };
            let blob = layout.open_blob(&image.layers[0]).unwrap();
            let mut bytes = Vec::new();
            unpacked(blob).unwrap().read_to_end(&mut bytes).unwrap();
            assert!(bytes == *layer, "{} bytes instead of {}", bytes.len(), layer.len());
        }
        let error = exported(&plain, &gzip(&list)).err().unwrap();
        assert!(error.to_string().contains("another layer"), "{error}");
    }

    #[test]
    fn links_are_followed_within_the_archive() {
        for (path, target, expected) in [
            ("b/layer.tar", "../a/layer.tar", "a/layer.tar"),
            ("layer.tar", "a.tar", "a.tar"),
            ("b/layer.tar", "../../../x", "x"),
            ("", "./a/layer.tar", "a/layer.tar"),
        ] {
            assert_eq!(beside(path, target), expected);
        }
        let loops = BTreeMap::from([("a".to_owned(), Entry::Link("a".to_owned()))]);
        assert!(find(&loops, "a").is_none());
    }
}
