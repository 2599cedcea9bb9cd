//! `dockit pull`

mod limit;
mod wanted;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use dockit_core::backend::LayoutStore;
use dockit_core::{Project, pull};
use dockit_registry::layout::{LayoutReference, LayoutReferenceError};
use dockit_registry::{Access, Client, Digest, Location, Platform, Reference, Registry as _, Tag};
use serde::Serialize;

use self::limit::Size;

use super::named::{self, Named};
use super::transfer::{TransferArgs, Transferred, destination, location, shown};
use super::{Format, GlobalArgs, content_tag};
use crate::diagnostics::{Exit, Failure};
use crate::ui::copying::{self, CopyDisplay};
use crate::ui::{self, output};
use crate::{interrupt, session};

/// How long an interrupted pull may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Arguments of `dockit pull`.
#[derive(Args, Debug)]
pub struct PullArgs {
    /// Images of the project (as the work tree is now), globs such as 'app-*', or references; all images
    /// of the project when none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Fetch into an OCI layout, oci:DIR or for one image oci:DIR:NAME, and not into the engine
    #[arg(long, value_name = "LAYOUT")]
    to: Option<String>,
    /// Images of the project as dockit.lock records them, by digest; without names all that it records
    #[arg(long, conflicts_with = "tag")]
    locked: bool,
    /// Images of the project that TAG of their repositories is on
    #[arg(long, value_name = "TAG")]
    tag: Option<Tag>,
    /// Pull nothing if more than SIZE of compressed layers would have to be transferred, such as 2GB
    #[arg(long, value_name = "SIZE", conflicts_with = "to")]
    max_size: Option<Size>,
    #[command(flatten)]
    transfer: TransferArgs,
}

#[derive(Serialize)]
struct Entry {
    image: String,
    source: String,
    destinations: Vec<String>,
    status: &'static str,
    digest: Option<String>,
    /// What was moved into a layout.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy: Option<Transferred>,
    /// What names in the engine are on now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<NameEntry>,
    error: Option<String>,
}

/// What an image is called in the engine.
struct EngineNames {
    full: Vec<Reference>,
    /// The name of an image of the project, which may be somebody else's.
    short: Option<Reference>,
}

/// What became of a name in the engine, as JSON shows it.
#[derive(Clone, Serialize)]
struct NameEntry {
    name: String,
    /// `put` or `kept`.
    status: &'static str,
    /// The engine's identifier of the image that had it.
    previous: Option<String>,
}

/// Where one image goes.
enum Destination {
    /// Into the engine, under these names.
    Engine(EngineNames),
    /// Into a layout.
    Layout(Location),
}

pub(super) async fn run(global: &GlobalArgs, args: &PullArgs) -> Result<Exit, Failure> {
    session::require_network(global, "pull")?;
    let layout = args.to.as_deref().map(layout).transpose()?;
    let (project, wanted) = wanted(global, args)?;
    let mut images: Vec<Named> = Vec::new();
    for image in wanted {
        let same = |other: &Named| {
            other.reference == image.reference && other.is_of_project() == image.is_of_project()
        };
        if !images.iter().any(same) {
            images.push(image);
        }
    }
    let destinations = destinations(&images, layout.as_ref(), &args.transfer)?;
    let of_project = images.iter().any(Named::is_of_project);
    let settings = session::settings(project.as_ref(), global, of_project);
    let client = session::registry_for_blobs(settings, args.transfer.jobs)?;
    let store = session::store_of(project.as_ref(), &client);
    let pulling =
        Pulling { client, store, transfer: &args.transfer, display: copying::start(global) };
    let cancel = interrupt::cancellation(GRACE);
    if let Some(limit) = args.max_size {
        tokio::select! {
            checked = pulling.check(limit, &images) => checked?,
            () = cancel.cancelled() => return Err(interrupt::failure()),
        }
    }
    let (mut entries, mut failures) = (Vec::new(), Vec::new());
    for (image, destination) in images.iter().zip(&destinations) {
        let pulled = tokio::select! {
            pulled = pulling.pull(image, destination) => pulled,
            () = cancel.cancelled() => {
                pulling.display.finish();
                return Err(interrupt::failure().hint(format!(
                    "{} of {} done; the same command does not move again what was moved",
                    entries.len(),
                    ui::count(images.len(), "image")
                )));
            }
        };
        if let Ok((_, moved)) = &pulled {
            moved.tell(global.quiet);
        }
        entries.push(entry(image, destination, &pulled));
        failures.extend(pulled.err());
    }
    match global.format {
        Format::Json => output::images("dockit.pull/1", &entries)?,
        Format::Text => {
            for entry in &entries {
                entry.print()?;
            }
        }
    }
    // Where several fail, the first one decides.
    let exits: Vec<Exit> = failures.iter().map(Failure::report).collect();
    Ok(exits.first().copied().unwrap_or(Exit::Done))
}

/// The project, where there is one, and the images that are meant.
fn wanted(global: &GlobalArgs, args: &PullArgs) -> Result<(Option<Project>, Vec<Named>), Failure> {
    if args.locked || args.tag.is_some() {
        let project = session::project(global)?;
        let wanted = match &args.tag {
            Some(tag) => wanted::tagged(&project, &args.images, tag)?,
            None => wanted::locked(&project, &args.images)?,
        };
        return Ok((Some(project), wanted));
    }
    let (project, names) = if args.images.is_empty() {
        let project = session::project(global)?;
        let names = project.images.keys().filter(|name| !name.is_part());
        let names = names.map(ToString::to_string).collect();
        (Some(project), names)
    } else {
        (session::project_for(global, &args.images)?, args.images.clone())
    };
    let names = named::expanded(project.as_ref(), names)?;
    let wanted = named::resolve(project.as_ref(), &names)?;
    Ok((project, wanted))
}

/// What images are pulled with.
struct Pulling<'a> {
    client: Client,
    transfer: &'a TransferArgs,
    display: Arc<dyn CopyDisplay>,
    /// Where engines that know no layouts find images of the project.
    store: LayoutStore,
}

type Pulled = Result<(Digest, Moved), Failure>;

/// What was moved.
enum Moved {
    /// Into a layout.
    Copied(Transferred),
    /// Into the engine.
    Named(Vec<NameEntry>),
}

impl Pulling<'_> {
    /// The platform that an engine gets.
    fn platform(&self, image: &Named) -> Platform {
        let platform = self.transfer.platform.as_ref().or(image.platform.as_ref());
        platform.cloned().unwrap_or_else(this_platform)
    }

    /// Fails if more than that would be transferred.
    async fn check(&self, limit: Size, images: &[Named]) -> Result<(), Failure> {
        let engine = session::engine()?.with_layouts(self.store.clone());
        let mut asked = Vec::new();
        for image in images {
            let head = self.client.head_manifest(&image.reference, Access::Pull).await?;
            let digest = head.ok_or_else(|| image.absent(None))?.digest;
            let pinned = image.reference.repository().with_digest(digest);
            asked.push((image, pinned, self.platform(image)));
        }
        limit::check(limit, &self.client, &engine, &asked).await
    }

    /// Fetches the image that the reference is on at the beginning, by its digest.
    async fn pull(&self, image: &Named, destination: &Destination) -> Pulled {
        let head = self.client.head_manifest(&image.reference, Access::Pull).await?;
        let digest = head.ok_or_else(|| image.absent(None))?.digest;
        match destination {
            Destination::Layout(to) => {
                let from = Location::Registry(image.reference.with_digest(digest.clone()));
                let client = &self.client;
                content_tag::check(client, &from, to, self.transfer.platform.is_some()).await?;
                let copied = self.transfer.transfer(client, &from, to, &self.display).await?;
                Ok((digest, Moved::Copied(copied)))
            }
            Destination::Engine(names) => {
                let source = image.reference.familiar();
                self.display.start(&format!("pulling {source} into the engine"));
                let engine = session::engine()?.with_layouts(self.store.clone());
                let display = &self.display;
                let pulled = pull::into_engine_told(
                    &self.client,
                    &engine,
                    &image.reference.repository().with_digest(digest.clone()),
                    &self.platform(image),
                    &names.full,
                    names.short.as_ref(),
                    &|bytes, of| display.arrived(bytes, of),
                )
                .await;
                self.display.finish();
                let names = pulled?.names.into_iter().map(|put| NameEntry {
                    name: put.name.familiar(),
                    status: if put.kept { "kept" } else { "put" },
                    previous: put.previous,
                });
                Ok((digest, Moved::Named(names.collect())))
            }
        }
    }
}

impl Moved {
    /// Says it on standard error; a name that was not put also where little is said.
    fn tell(&self, quiet: bool) {
        match self {
            Self::Copied(copy) if !quiet => ui::say(&copy.summary()),
            Self::Copied(_) => {}
            Self::Named(names) => {
                for NameEntry { name, status, previous } in names {
                    match (*status, previous) {
                        ("kept", Some(id)) => ui::say(&format!(
                            "warning: {name}: kept: it is on {id}, which dockit did not put there"
                        )),
                        _ if quiet => {}
                        (_, Some(id)) => ui::say(&format!("{name}: put, was {id}")),
                        (_, None) => ui::say(&format!("{name}: put")),
                    }
                }
            }
        }
    }
}

impl Entry {
    /// One line with what was pulled, as data; nothing for what failed.
    fn print(&self) -> Result<(), Failure> {
        match (&self.copy, &self.digest) {
            (Some(copy), _) => copy.print(),
            (None, Some(digest)) => output::line(&format!(
                "{}@{digest}",
                self.source.trim_end_matches(&format!("@{digest}"))
            )),
            (None, None) => Ok(()),
        }
    }
}

fn entry(image: &Named, destination: &Destination, pulled: &Pulled) -> Entry {
    let (digest, copy, names) = match pulled {
        Ok((digest, Moved::Named(names))) => (Some(digest.to_string()), None, names.clone()),
        // Of one platform it is another than was asked for.
        Ok((_, Moved::Copied(copy))) => (Some(copy.digest.clone()), Some(copy.clone()), Vec::new()),
        Err(_) => (None, None, Vec::new()),
    };
    let kept = |name: &String| names.iter().any(|put| put.name == *name && put.status == "kept");
    Entry {
        image: image.text.clone(),
        source: image.reference.to_string(),
        destinations: match destination {
            Destination::Engine(names) => {
                let names = names.full.iter().chain(&names.short).map(Reference::familiar);
                names.filter(|name| !kept(name)).collect()
            }
            Destination::Layout(location) => vec![shown(location)],
        },
        status: if pulled.is_ok() { "pulled" } else { "failed" },
        digest,
        copy,
        names,
        error: pulled.as_ref().err().map(|failure| failure.message().to_owned()),
    }
}

/// The layout that `--to` names.
fn layout(text: &str) -> Result<LayoutReference, Failure> {
    match location(text)? {
        Location::Layout(layout) => Ok(layout),
        Location::Registry(_) => {
            let message = format!("--to {text} is no layout: expected oci:DIR[:NAME]");
            Err(Failure::new(Exit::Usage, message).hint("`dockit copy` copies to other registries"))
        }
    }
}

/// Where each image goes; in a layout, no two under the same name.
fn destinations(
    images: &[Named],
    layout: Option<&LayoutReference>,
    transfer: &TransferArgs,
) -> Result<Vec<Destination>, Failure> {
    let Some(layout) = layout else {
        return images.iter().map(engine_names).collect();
    };
    if layout.name().is_some() || layout.digest().is_some() {
        return match images {
            [_] => Ok(vec![Destination::Layout(Location::Layout(layout.clone()))]),
            _ => Err(Failure::new(Exit::Usage, "a name in --to is for one image")
                .hint("write --to oci:DIR: each image gets its own name and tag as name")),
        };
    }
    let mut taken: BTreeMap<Location, &str> = BTreeMap::new();
    images
        .iter()
        .map(|image| {
            let place = place_in_layout(image, layout, transfer)?;
            if let Some(other) = taken.insert(place.clone(), &image.text) {
                let message = format!("{other} and {} would both be {place}", image.text);
                return Err(Failure::new(Exit::Usage, message)
                    .hint("pull them one by one, each --to oci:DIR:NAME"));
            }
            Ok(Destination::Layout(place))
        })
        .collect()
}

/// `IMAGE:CONTENT-TAG` for an image of the project, under which a project whose registry is `oci:DIR`
/// has it; for a reference as `dockit copy` names it.
fn place_in_layout(
    image: &Named,
    layout: &LayoutReference,
    transfer: &TransferArgs,
) -> Result<Location, Failure> {
    let wanted = Location::Layout(layout.clone());
    if !image.is_of_project() {
        let source = Location::Registry(image.reference.clone());
        return destination(&source, &wanted, transfer.platform.is_some());
    }
    let called = image.name.as_ref().map_or(image.text.as_str(), |name| name.as_str());
    let name = format!("{called}:{}", image.reference.tag_or_latest());
    let name = name.parse().map_err(|error: LayoutReferenceError| {
        Failure::new(Exit::Usage, format!("{}: {error}", image.text))
    })?;
    Ok(Location::Layout(LayoutReference::new(layout.directory().to_owned(), Some(name), None)))
}

/// What an image is called in the engine: its tagged reference, and for one of the project its aliases
/// and its name.
fn engine_names(image: &Named) -> Result<Destination, Failure> {
    let tagged =
        image.reference.tag().map(|tag| image.reference.repository().with_tag(tag.clone()));
    let full = tagged.into_iter().chain(image.aliases.iter().cloned()).collect();
    let mut names = EngineNames { full, short: None };
    if let Some(name) = &image.name {
        let name: Reference = name.as_str().parse().map_err(|error| {
            Failure::new(Exit::Usage, format!("{name} cannot be a name in the engine: {error}"))
        })?;
        names.short = Some(name.or_latest());
    }
    Ok(Destination::Engine(names))
}

/// The platform of the machine, with the engine's operating system.
fn this_platform() -> Platform {
    format!("linux/{}", std::env::consts::ARCH)
        .parse()
        .unwrap_or_else(|_| "linux/amd64".parse().expect("a known platform"))
}
