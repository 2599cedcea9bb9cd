//! Copying images between registries.

use std::cell::RefCell;
use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use dockit_benches::peer;
use dockit_benches::random::Random;
use dockit_benches::statistics::{load, median, peak_memory, ratio};
use dockit_benches::turns::{Done, Tools};
use dockit_registry::copy::{CopyOptions, RemoteImage, copy};
use dockit_registry::manifest::media_type;
use dockit_registry::{Digest, RawManifest, Reference, Registry as _};
use dockit_testkit::{Auth, FaultProxy, RegistryProcess};

use crate::{Settings, child, client};

/// Copies an image and tells what that took.
pub(crate) const COPY: &str = "--copy";

/// Layers, and how large each is in bytes.
const IMAGES: [(usize, usize); 2] = [(40, 10_000_000), (1, 500_000_000)];

const NAME: &str = "team/app:1";

pub(crate) fn measure(settings: &Settings, out: &mut dyn Write) -> Done {
    if !peer::is_installed("skopeo") {
        return Err("skopeo is missing: run scripts/setup".into());
    }
    for (layers, size) in IMAGES {
        let size = if settings.quick { size / 10 } else { size };
        measure_image(settings, layers, size, out)?;
    }
    Ok(())
}

fn measure_image(settings: &Settings, layers: usize, size: usize, out: &mut dyn Write) -> Done {
    let source = RegistryProcess::start(Auth::None);
    let from = &format!("{}/{NAME}", source.host());
    settings.runtime.block_on(push(&from.parse()?, layers, size))?;
    // Each copy goes to an empty registry; the last one of each program is kept for the next copy to find.
    let (ours, theirs) = (Destination::default(), Destination::default());
    let mut tools = Tools::default();
    tools.add("dockit", || child(&[COPY, from, &ours.renew()]).map(drop));
    tools.add("skopeo copy", || Ok(peer::skopeo_copy(from, &theirs.renew())?));
    tools.add("dockit, again", || child(&[COPY, from, &ours.name()]).map(drop));
    tools.add("skopeo copy, again", || Ok(peer::skopeo_copy(from, &theirs.name())?));
    let turns = if settings.quick { 2 } else { 5 };
    for _ in 0..turns {
        tools.take_turn()?;
    }
    let megabytes = size as f64 / 1e6;
    writeln!(out, "copy: {layers} layers of {megabytes} MB; {turns} turns; load {}", load())?;
    for tool in &tools.0 {
        writeln!(out, "{:36} {:9.4}", tool.name, median(tool.times.iter().copied()))?;
    }
    writeln!(
        out,
        "dockit / skopeo: {:.2}; again: {:.2}",
        ratio(tools.times("dockit"), tools.times("skopeo copy")),
        ratio(tools.times("dockit, again"), tools.times("skopeo copy, again"))
    )?;
    drop(tools);
    drop(theirs);
    writeln!(out, "first copy: {}", child(&[COPY, from, &ours.renew()])?.trim())?;
    let proxy = FaultProxy::start(&ours.host());
    let behind = format!("{}/{NAME}", proxy.host());
    let again = child(&[COPY, from, &behind])?;
    writeln!(out, "second copy: {}; {} requests", again.trim(), proxy.exchanges().len())?;
    Ok(())
}

/// A registry that is empty at the start of each copy.
#[derive(Default)]
struct Destination {
    registry: RefCell<Option<RegistryProcess>>,
}

impl Destination {
    /// An image's name in a new registry. The old one is gone.
    fn renew(&self) -> String {
        self.clear();
        *self.registry.borrow_mut() = Some(RegistryProcess::start(Auth::None));
        self.name()
    }

    fn clear(&self) {
        *self.registry.borrow_mut() = None;
    }

    fn host(&self) -> String {
        let registry = self.registry.borrow();
        registry.as_ref().map_or_else(String::new, |registry| registry.host().to_owned())
    }

    fn name(&self) -> String {
        format!("{}/{NAME}", self.host())
    }
}

/// Pushes an image whose layers are noise, so that nothing compresses.
async fn push(at: &Reference, layers: usize, size: usize) -> Done {
    let client = client()?;
    let repository = at.repository();
    let mut random = Random::new(size as u64);
    let mut entries = Vec::new();
    for _ in 0..layers {
        let mut layer = vec![0; size];
        random.fill(&mut layer);
        let digest = client.put_blob(repository, layer.into()).await?;
        entries.push(serde_json::json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "size": size,
            "digest": digest.as_str(),
        }));
    }
    let diff_ids: Vec<_> = entries.iter().map(|entry| entry["digest"].clone()).collect();
    let config = serde_json::json!({
        "os": "linux",
        "architecture": "amd64",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string();
    let (length, digest) = (config.len(), Digest::of(config.as_bytes()));
    client.put_blob(repository, config.into()).await?;
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": length,
            "digest": digest.as_str(),
        },
        "layers": entries,
    });
    let manifest = RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string());
    client.put_manifest(repository, &at.tag_or_latest(), &manifest).await?;
    Ok(())
}

/// Copies in a process of its own, as the peer does.
pub(crate) fn tell_copy(
    from: &str,
    to: &str,
    runtime: &tokio::runtime::Runtime,
) -> Result<String, Box<dyn Error>> {
    let client = client()?;
    let from = RemoteImage::new(client.clone(), from.parse()?);
    let to = RemoteImage::to_write(client, to.parse()?);
    let report = runtime.block_on(copy(&from, &to, &CopyOptions::default(), Arc::new(())))?;
    Ok(format!(
        "{} blobs of {:.1} MB moved, {} manifests written; memory {}",
        report.blobs.written,
        report.blobs.bytes_written as f64 / 1e6,
        report.manifests_written,
        peak_memory()?
    ))
}
