//! `dockit copy`

use std::time::Duration;

use clap::Args;
use dockit_registry::layout::{Layout, LayoutReference};
use dockit_registry::{ErrorKind, Location};

use super::transfer::{TransferArgs, destination, location, shown};
use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::ui::{self, copying, output};
use crate::{interrupt, session};

/// How long an interrupted copy may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// Arguments of `dockit copy`.
#[derive(Args, Debug)]
pub struct CopyArgs {
    /// The image: a reference, or oci:DIR[:NAME][@DIGEST] in an OCI layout
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Where to: a reference, or oci:DIR[:NAME]. Without a tag or a name, it gets the source's
    #[arg(value_name = "DESTINATION")]
    destination: String,
    #[command(flatten)]
    transfer: TransferArgs,
}

pub(super) async fn run(global: &GlobalArgs, args: &CopyArgs) -> Result<Exit, Failure> {
    let source = with_its_name(location(&args.source)?)?;
    let wanted = location(&args.destination)?;
    refuse_bare_name(&args.destination, &wanted)?;
    let destination = destination(&source, &wanted, args.transfer.platform.is_some())?;
    let of_registry = |place: &Location| matches!(place, Location::Registry(_));
    if of_registry(&source) || of_registry(&destination) {
        session::require_network(global, "copy")?;
    }
    let project = session::project_if_any(global)?;
    let client = session::registry_for_blobs(project.as_ref(), args.transfer.jobs)?;
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

/// A layout's only image has a name mostly: then that is its name also where it goes.
fn with_its_name(source: Location) -> Result<Location, Failure> {
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
    let names = layout.names()?;
    let mut names = names.into_iter().filter(|(_, named)| named.digest == only.digest);
    let (Some((name, _)), None) = (names.next(), names.next()) else { return Ok(source) };
    let directory = reference.directory().to_owned();
    Ok(Location::Layout(LayoutReference::new(directory, Some(name), None)))
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
        .hint("what was moved stays, and the same command does not move it again")
        .hint(format!(
            "{place} is put last: it still is what it was, unless that was just being done"
        ))
}
