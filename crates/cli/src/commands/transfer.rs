//! Moving one image from one place to another: what `copy` and `pull` share.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use dockit_registry::copy::{self, CopyOptions, CopyReport, ImagePlace, LayoutImage, RemoteImage};
use dockit_registry::layout::{LayoutName, LayoutReference};
use dockit_registry::{Client, Location, Platform, Reference};
use serde::Serialize;

use crate::diagnostics::{Exit, Failure};
use crate::ui::copying::CopyDisplay;
use crate::ui::{self, output};

/// Options of commands that move images.
#[derive(Args, Debug)]
pub(super) struct TransferArgs {
    /// Of an image for several platforms, only the one for PLATFORM, such as linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<Platform>,
    /// Leave signatures, bills of materials and other things that refer to the image where they are
    #[arg(long)]
    pub(super) no_referrers: bool,
    /// How many blobs to move at the same time
    #[arg(short, long, value_name = "N", default_value = "4")]
    pub(super) jobs: NonZeroUsize,
}

/// What moving an image came to, as JSON shows it.
#[derive(Clone, Serialize)]
pub(super) struct Transferred {
    /// Where it is a document of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'static str>,
    source: String,
    destination: String,
    /// Of what is at the destination now.
    pub(super) digest: String,
    previous: Option<String>,
    manifests: Written,
    referrers: Written,
    blobs: Blobs,
    layers_left: Vec<String>,
    seconds: f64,
}

#[derive(Clone, Copy, Serialize)]
struct Written {
    written: usize,
}

#[derive(Clone, Copy, Serialize)]
struct Blobs {
    present: usize,
    mounted: usize,
    written: usize,
    bytes_written: u64,
}

impl TransferArgs {
    /// Moves an image and tells the display. The destination was [settled](destination).
    pub(super) async fn transfer(
        &self,
        client: &Client,
        source: &Location,
        destination: &Location,
        display: &Arc<dyn CopyDisplay>,
    ) -> Result<Transferred, dockit_registry::Error> {
        let from: Box<dyn ImagePlace> = match source {
            Location::Registry(reference) => {
                Box::new(RemoteImage::new(client.clone(), reference.clone()))
            }
            Location::Layout(reference) => Box::new(LayoutImage::open(reference.clone())),
        };
        let to: Box<dyn ImagePlace> = match destination {
            Location::Registry(reference) => {
                Box::new(RemoteImage::to_write(client.clone(), reference.clone()))
            }
            Location::Layout(reference) => Box::new(LayoutImage::create(reference.clone())),
        };
        let options = CopyOptions {
            platform: self.platform.clone(),
            referrers: !self.no_referrers,
            jobs: self.jobs.get(),
        };
        let (source, destination) = (shown(source), shown(destination));
        display.start(&format!("copying {source} to {destination}"));
        let begin = Instant::now();
        let observer = Arc::clone(display);
        let report = copy::copy(&*from, &*to, &options, observer).await;
        display.finish();
        let seconds = (begin.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        Ok(Transferred::new(source, destination, &report?, seconds))
    }
}

impl Transferred {
    fn new(source: String, destination: String, report: &CopyReport, seconds: f64) -> Self {
        Self {
            schema: None,
            source,
            destination,
            digest: report.digest.to_string(),
            previous: report.previous.as_ref().map(ToString::to_string),
            manifests: Written { written: report.manifests_written },
            referrers: Written { written: report.referrers_written },
            blobs: Blobs {
                present: report.blobs.present,
                mounted: report.blobs.mounted,
                written: report.blobs.written,
                bytes_written: report.blobs.bytes_written,
            },
            layers_left: report.layers_left.iter().map(|layer| layer.digest.to_string()).collect(),
            seconds,
        }
    }

    /// The same as a document of its own.
    pub(super) fn with_schema(self, schema: &'static str) -> Self {
        Self { schema: Some(schema), ..self }
    }

    /// Prints the destination with its digest, as data.
    pub(super) fn print(&self) -> Result<(), Failure> {
        if self.destination.ends_with(&self.digest) {
            return output::line(&self.destination);
        }
        output::line(&format!("{}@{}", self.destination, self.digest))
    }

    /// What was moved, as talk.
    pub(super) fn summary(&self) -> String {
        let before = match &self.previous {
            None => "new".to_owned(),
            Some(previous) if *previous == self.digest => "there already".to_owned(),
            Some(previous) => format!("was {previous}"),
        };
        let Blobs { present, mounted, written, bytes_written } = self.blobs;
        let place = &self.destination;
        if self.manifests.written == 0 && present + mounted + written == 0 {
            return format!("{place}: {before}; nothing had to be moved; {:.1} s", self.seconds);
        }
        let manifests = ui::count(self.manifests.written, "manifest");
        let referrers = match self.referrers.written {
            0 => String::new(),
            some => format!(" ({some} of them referring to others)"),
        };
        let blobs = ui::count(written, "blob");
        let bytes = ui::size(bytes_written);
        format!(
            "{place}: {before}; wrote {manifests}{referrers} and {blobs} ({bytes}); {mounted} \
             mounted, {present} present; {:.1} s",
            self.seconds
        )
    }
}

/// Reads where an image is, or is to be.
pub(super) fn location(text: &str) -> Result<Location, Failure> {
    text.parse().map_err(|error| {
        let failure = Failure::new(Exit::Usage, format!("{text}: {error}"));
        if let Some((_, rest)) = text.split_once("://") {
            return failure.hint(format!("a reference has no scheme: {rest}"));
        }
        if text.starts_with(['.', '/']) {
            return failure.hint(format!("oci:{text} is the layout in that directory"));
        }
        failure.hint(
            "an image is HOST/REPOSITORY[:TAG][@DIGEST], or oci:DIR[:NAME][@DIGEST] in a layout",
        )
    })
}

/// Where an image goes that is to go to `wanted`.
///
/// What `wanted` leaves open comes from the source. A repository without tag and digest takes the
/// source's tag, or else its digest; a layout without name and digest names the image by the last part
/// of its repository and its tag, `app:1.0`, or keeps the name that it has in another layout.
pub(super) fn destination(
    source: &Location,
    wanted: &Location,
    only_a_platform: bool,
) -> Result<Location, Failure> {
    match wanted {
        Location::Registry(reference) if reference.tag().is_some() => Ok(wanted.clone()),
        Location::Registry(reference) if reference.digest().is_some() => Ok(wanted.clone()),
        Location::Registry(reference) => {
            registry_destination(source, reference, only_a_platform).map(Location::Registry)
        }
        Location::Layout(layout) if layout.name().is_some() || layout.digest().is_some() => {
            Ok(wanted.clone())
        }
        Location::Layout(layout) => {
            let (name, digest) = match source {
                Location::Registry(reference) => match layout_name(reference, layout)? {
                    Some(name) => (Some(name), None),
                    None => (None, reference.digest().cloned()),
                },
                Location::Layout(source) => (source.name().cloned(), source.digest().cloned()),
            };
            // With a name, a digest would only be checked; of one platform it is another.
            let digest = digest.filter(|_| name.is_none() && !only_a_platform);
            let directory = layout.directory().to_owned();
            Ok(Location::Layout(LayoutReference::new(directory, name, digest)))
        }
    }
}

fn registry_destination(
    source: &Location,
    wanted: &Reference,
    only_a_platform: bool,
) -> Result<Reference, Failure> {
    let (tag, digest) = match source {
        Location::Registry(source) => {
            let source = source.clone().or_latest();
            (source.tag().cloned(), source.digest().cloned())
        }
        Location::Layout(source) => {
            let name = source.name().and_then(|name| name.as_str().rsplit_once(':'));
            (name.and_then(|(_, tag)| tag.parse().ok()), source.digest().cloned())
        }
    };
    match (tag, digest) {
        (Some(tag), _) => Ok(wanted.with_tag(tag)),
        (None, Some(digest)) if !only_a_platform => Ok(wanted.with_digest(digest)),
        _ => {
            let message = format!("{} needs a tag: the source has none to take", wanted.familiar());
            Err(Failure::new(Exit::Usage, message).hint(format!("write {}:TAG", wanted.familiar())))
        }
    }
}

/// What an image of a registry is called in a layout: the last part of its repository, and its tag.
/// One that is known by its digest alone has no name.
fn layout_name(
    reference: &Reference,
    layout: &LayoutReference,
) -> Result<Option<LayoutName>, Failure> {
    if reference.tag().is_none() && reference.digest().is_some() {
        return Ok(None);
    }
    let path = reference.repository().name().as_str();
    let last = path.rsplit('/').next().unwrap_or(path);
    // A repository's last part is letters and digits with separators, but a tag may end with one.
    let name = format!("{last}:{}", reference.tag_or_latest());
    name.parse().map(Some).map_err(|error| {
        Failure::new(Exit::Usage, format!("{error}")).hint(format!("write {layout}:NAME"))
    })
}

/// A location as people write it.
pub(super) fn shown(location: &Location) -> String {
    match location {
        Location::Registry(reference) => ui::shown(&reference.clone().or_latest()),
        Location::Layout(reference) => reference.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn settled(source: &str, wanted: &str, only_a_platform: bool) -> Option<String> {
        let place = |text: &str| text.replace("DIGEST", DIGEST).parse::<Location>().unwrap();
        let settled = destination(&place(source), &place(wanted), only_a_platform).ok()?;
        Some(settled.to_string().replace(DIGEST, "DIGEST"))
    }

    #[test]
    fn what_a_destination_leaves_open_comes_from_the_source() {
        for (source, wanted, expected) in [
            ("r.io/a/b:1", "s.io/c", "s.io/c:1"),
            ("r.io/a/b:1", "s.io/c:2", "s.io/c:2"),
            ("r.io/a/b", "s.io/c", "s.io/c:latest"),
            ("r.io/a/b@DIGEST", "s.io/c", "s.io/c@DIGEST"),
            ("r.io/a/b:1@DIGEST", "s.io/c", "s.io/c:1"),
            ("oci:d:app:1", "s.io/c", "s.io/c:1"),
            ("oci:d@DIGEST", "s.io/c", "s.io/c@DIGEST"),
            ("r.io/a/b:1", "oci:d", "oci:d:b:1"),
            ("debian", "oci:d", "oci:d:debian:latest"),
            ("r.io/a/b:1", "oci:d:x", "oci:d:x"),
            ("r.io/a/b@DIGEST", "oci:d", "oci:d@DIGEST"),
            ("oci:e:app", "oci:d", "oci:d:app"),
            ("oci:e", "oci:d", "oci:d"),
        ] {
            assert_eq!(settled(source, wanted, false).as_deref(), Some(expected), "{source}");
        }
    }

    #[test]
    fn a_digest_is_not_kept_for_what_has_another_one() {
        assert_eq!(settled("r.io/a@DIGEST", "s.io/c", true), None);
        assert_eq!(settled("r.io/a@DIGEST", "oci:d", true).as_deref(), Some("oci:d"));
        assert_eq!(settled("oci:d:app", "s.io/c", false), None);
        assert_eq!(settled("oci:d", "s.io/c", false), None);
    }

    #[test]
    fn a_tag_may_end_a_name_with_anything() {
        assert_eq!(settled("r.io/a:1-", "oci:d", false).as_deref(), Some("oci:d:a:1-"));
        assert_eq!(settled("r.io/a:1-", "oci:d:x", false).as_deref(), Some("oci:d:x"));
    }
}
