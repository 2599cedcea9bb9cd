//! Copies an image from a registry into an OCI layout, and tells what it does:
//! `copy_image REFERENCE DIR`.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use dockit_registry::copy::{CopyEvent, CopyObserver, CopyOptions, LayoutImage, RemoteImage, copy};
use dockit_registry::layout::{LayoutName, LayoutReference};
use dockit_registry::{Client, Reference};

/// Writes a line for each blob that is there.
struct Lines;

impl CopyObserver for Lines {
    // Called while the copy goes on: nothing here waits for long.
    fn event(&self, event: CopyEvent<'_>) {
        let line = match event {
            CopyEvent::Surveyed { manifests, blobs, bytes } => {
                format!("{manifests} manifests and {blobs} blobs of {bytes} bytes to copy")
            }
            CopyEvent::BlobDone { blob, delivery } => format!("{} {delivery:?}", blob.digest),
            _ => return,
        };
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(reference), Some(directory)) = (arguments.next(), arguments.next()) else {
        return Err("usage: copy_image REFERENCE DIR".into());
    };
    let reference = reference.parse::<Reference>()?.or_latest();
    let name: LayoutName = reference.tag_or_latest().as_str().parse()?;
    let destination = LayoutReference::new(PathBuf::from(directory), Some(name), None);

    // Which TLS library is used is the program's choice, not the crate's.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "a provider is installed already")?;
    let from = RemoteImage::new(Client::builder().build()?, reference);
    let to = LayoutImage::create(destination.clone());
    let report = copy(&from, &to, &CopyOptions::default(), Arc::new(Lines)).await?;

    let bytes = report.blobs.bytes_written;
    writeln!(std::io::stdout(), "{destination}@{} ({bytes} bytes moved)", report.digest)?;
    Ok(())
}
