//! `dockit copy`

use std::time::Duration;

use clap::Args;
use dockit_registry::layout::{Layout, LayoutName, LayoutReference};
use dockit_registry::{Client, ErrorKind, Location};

use super::transfer::{TransferArgs, destination, location, shown};
use super::{Format, GlobalArgs, content_tag, named};
use crate::diagnostics::{Exit, Failure};
use crate::ui::{self, copying, output};
use crate::{interrupt, session};

/// How long an interrupted copy may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Arguments of `dockit copy`.
#[derive(Args, Debug)]
pub struct CopyArgs {
    /// The image: one of the project (as the work tree is now), a reference, or
    /// oci:DIR[:NAME][@DIGEST] in an OCI layout
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Where to: a reference, or oci:DIR[:NAME]. Without a tag or a name, it gets the source's
    #[arg(value_name = "DESTINATION")]
    destination: String,
    #[command(flatten)]
    transfer: TransferArgs,
}

pub(super) async fn run(global: &GlobalArgs, args: &CopyArgs) -> Result<Exit, Failure> {
    let wanted = location(&args.destination)?;
    refuse_bare_name(&args.destination, &wanted)?;
    let (source, client) = source(global, args, &wanted)?;
    let destination = destination(&source, &wanted, args.transfer.platform.is_some())?;
    content_tag::check(&client, &source, &destination, args.transfer.platform.is_some()).await?;
    let display = copying::start(global);
    let cancel = interrupt::cancellation(GRACE);
    let copied = tokio::select! {
        copied = args.transfer.transfer(&client, &source, &destination, &display) => copied?,
        () = cancel.cancelled() => {
            display.finish();
            return Err(interrupted(&destination));
        }
    };
    if !global.quiet {
        ui::say(&copied.summary());
    }
    match global.format {
        Format::Json => output::json(&copied.with_schema("dockit.copy/1"))?,
        Format::Text => copied.print()?,
    }
    Ok(Exit::Done)
}

/// Where the image is, and a client for it and its destination. Between layouts no project counts.
fn source(
    global: &GlobalArgs,
    args: &CopyArgs,
    wanted: &Location,
) -> Result<(Location, Client), Failure> {
    let of_registry = |place: &Location| matches!(place, Location::Registry(_));
    let (source, settings) = if args.source.starts_with(LayoutReference::PREFIX) {
        (with_its_name(location(&args.source)?, wanted)?, None)
    } else {
        let texts = std::slice::from_ref(&args.source);
        let project = session::project_for(global, texts)?;
        let named = named::resolve(project.as_ref(), texts)?.remove(0);
        let of_project = named.is_of_project();
        let counts = session::settings(project.as_ref(), global, of_project).is_some();
        (Location::Registry(named.reference), project.filter(|_| counts))
    };
    if of_registry(&source) || of_registry(wanted) {
        session::require_network(global, "copy")?;
    }
    let settings = match settings {
        None if global.config.is_some() && of_registry(wanted) => Some(session::project(global)?),
        settings => settings,
    };
    let client = session::registry_for_blobs(settings.as_ref(), args.transfer.jobs)?;
    Ok((source, client))
}

/// A layout's only image has a name mostly: then that is its name also where it goes. Of several names
/// none is taken where that would name the copy.
fn with_its_name(source: Location, wanted: &Location) -> Result<Location, Failure> {
    let Location::Layout(reference) = &source else { return Ok(source) };
    if reference.name().is_some() || reference.digest().is_some() {
        return Ok(source);
    }
    let layout = Layout::open(reference.directory())?;
    let Some(only) = layout.find(None, None)? else {
        return Err(dockit_registry::Error::new(
            ErrorKind::NotFound,
            format!("{reference}: the layout holds no image"),
        )
        .into());
    };
    let names = layout.names()?.into_iter().filter(|(_, named)| named.digest == only.digest);
    let mut names: Vec<LayoutName> = names.map(|(name, _)| name).collect();
    let settled = match wanted {
        Location::Registry(wanted) => wanted.tag().is_some() || wanted.digest().is_some(),
        Location::Layout(wanted) => wanted.name().is_some() || wanted.digest().is_some(),
    };
    if names.len() > 1 && !settled {
        let names: Vec<&str> = names.iter().map(LayoutName::as_str).collect();
        let names = names.join(", ");
        let message = format!("the image in {reference} has the names {names}: write one");
        return Err(Failure::new(Exit::Usage, message).hint(format!("{reference}:NAME")));
    }
    match names.pop() {
        Some(name) if names.is_empty() => {
            let directory = reference.directory().to_owned();
            Ok(Location::Layout(LayoutReference::new(directory, Some(name), None)))
        }
        _ => Ok(source),
    }
}

/// A name alone is rather a directory, or a mistake, than one of Docker Hub's own images.
fn refuse_bare_name(text: &str, wanted: &Location) -> Result<(), Failure> {
    if matches!(wanted, Location::Layout(_)) || text.contains('/') {
        return Ok(());
    }
    let message = format!("{text} is no place to copy to: it has no registry");
    Err(Failure::new(Exit::Usage, message)
        .hint(format!("oci:{text} is the layout in that directory"))
        .hint(format!("{} is Docker Hub's image", shown_in_full(wanted))))
}

fn shown_in_full(place: &Location) -> String {
    match place {
        Location::Registry(reference) => reference.to_string(),
        Location::Layout(_) => shown(place),
    }
}

pub(super) fn interrupted(destination: &Location) -> Failure {
    let place = shown(destination);
    interrupt::failure()
        .hint("blobs that were complete stay, and the same command does not move them again")
        .hint(format!(
            "{place} is put last: it still is what it was, unless that was just being done"
        ))
}
