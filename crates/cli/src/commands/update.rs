//! `dockit update`

use clap::Args;
use dockit_core::update::{BaseStatus, Unused, Update, UpdateRequest, update};
use dockit_core::{Error, ImageGraph};
use dockit_registry::{Digest, Reference};
use serde::Serialize;

use super::affected::{AffectedEntry, affected_lines};
use super::prepare::PrepareArgs;
use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::session;
use crate::ui::{self, output};

/// Arguments of `dockit update`.
///
/// Without BASE it also moves the epochs of images with `refresh` to today's, and drops entries that
/// nothing uses any more.
#[derive(Args, Debug)]
pub struct UpdateArgs {
    /// External images as the Dockerfiles name them, or globs such as 'debian:*'; all of them when none
    /// is named
    #[arg(value_name = "BASE")]
    bases: Vec<String>,
    /// Only say what would be written
    #[arg(long)]
    dry_run: bool,
    /// As --dry-run, and exit with 5 if something would be written
    #[arg(long)]
    check: bool,
    /// Keep entries that nothing in this project uses
    #[arg(long)]
    keep_unused: bool,
    #[command(flatten)]
    prepare: PrepareArgs,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    lockfile: String,
    /// Whether the lockfile would be, or is now, another one.
    changed: bool,
    written: bool,
    bases: Vec<BaseEntry>,
    epochs: Vec<EpochEntry>,
    dropped: Vec<DroppedEntry>,
    images: Vec<AffectedEntry>,
}

#[derive(Serialize)]
struct BaseEntry {
    reference: String,
    status: &'static str,
    from: Option<String>,
    to: String,
    platforms: Vec<PlatformEntry>,
}

#[derive(Serialize)]
struct PlatformEntry {
    platform: String,
    from: Option<String>,
    to: String,
}

#[derive(Serialize)]
struct EpochEntry {
    image: String,
    from: Option<String>,
    to: String,
}

#[derive(Serialize)]
struct DroppedEntry {
    /// `base`, `platform`, `epoch` or `image`.
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
}

pub(super) async fn run(global: &GlobalArgs, args: &UpdateArgs) -> Result<Exit, Failure> {
    session::require_network(global, "update")?;
    let project = session::project(global)?;
    args.prepare.run(global, &project, &[], false).await?;
    let graph = ImageGraph::new(&project).map_err(Error::from)?;
    let registry = session::registry(Some(&project))?;
    let request = UpdateRequest { bases: &args.bases, keep_unused: args.keep_unused };
    let update = update(&project, &graph, &request, &registry, &session::key_options()).await?;
    let only_say = args.dry_run || args.check;
    let written = update.is_change() && !only_say;
    if written {
        update.write(&project).map_err(Error::from)?;
    }
    let lockfile = project.lockfile.strip_prefix(&project.root).unwrap_or(&project.lockfile);
    let lockfile = lockfile.display().to_string();
    match global.format {
        Format::Json => output::json(&document(&update, lockfile.clone(), written))?,
        Format::Text => print(&update, only_say)?,
    }
    if !global.quiet {
        ui::say(&match (update.is_change(), written) {
            (false, _) => format!("{lockfile} is up to date"),
            (true, true) => format!("{lockfile} is written: commit it"),
            (true, false) => format!("{lockfile} would be written"),
        });
    }
    Ok(if args.check && update.is_change() { Exit::Differences } else { Exit::Done })
}

fn print(update: &Update, only_say: bool) -> Result<(), Failure> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |done: &str, would: &str, name: String, from: Option<String>, to: String| {
        let word = if only_say { would } else { done };
        let way = from.map_or_else(|| to.clone(), |from| format!("{from} -> {to}"));
        rows.push(vec![word.to_owned(), name, way]);
    };
    for base in &update.bases {
        let (done, would) = match base.status() {
            BaseStatus::Moved => ("moved", "would move"),
            BaseStatus::Added => ("added", "would add"),
            BaseStatus::Completed => ("completed", "would complete"),
            BaseStatus::Unchanged => ("unchanged", "unchanged"),
        };
        let from = base.from.as_ref().filter(|from| **from != base.to).map(shown);
        row(done, would, name(&base.reference), from, shown(&base.to));
    }
    for epoch in &update.epochs {
        let from = epoch.from.map(|epoch| epoch.to_string());
        let name = format!("epoch of {}", epoch.image);
        row("moved", "would move", name, from, epoch.to.to_string());
    }
    for unused in &update.dropped {
        let DroppedEntry { kind, name, platform } = dropped(unused);
        let what = match kind {
            "base" => name,
            "platform" => format!("{name} for {}", platform.unwrap_or_default()),
            kind => format!("{kind} {name}"),
        };
        row("dropped", "would drop", what, None, "not used any more".to_owned());
    }
    output::table(rows)?;
    let title = if only_say { "would be built anew" } else { "to be built anew" };
    if !update.images.is_empty() {
        output::line(&format!("{} {title}:", ui::count(update.images.len(), "image")))?;
        output::text(&affected_lines(&update.images))?;
    }
    Ok(())
}

/// A digest that can be compared with others by eye.
fn shown(digest: &Digest) -> String {
    ui::short(digest)
}

fn name(reference: &Reference) -> String {
    reference.familiar()
}

fn dropped(unused: &Unused) -> DroppedEntry {
    let (kind, name, platform) = match unused {
        Unused::Base(reference) => ("base", name(reference), None),
        Unused::Platform(reference, platform) => {
            ("platform", name(reference), Some(platform.to_string()))
        }
        Unused::Epoch(image) => ("epoch", image.to_string(), None),
        Unused::Image(image) => ("image", image.to_string(), None),
    };
    DroppedEntry { kind, name, platform }
}

fn document(update: &Update, lockfile: String, written: bool) -> Document {
    let bases = update.bases.iter().map(|base| BaseEntry {
        reference: base.reference.to_string(),
        status: base.status().as_str(),
        from: base.from.as_ref().map(ToString::to_string),
        to: base.to.to_string(),
        platforms: base
            .platforms
            .iter()
            .map(|platform| PlatformEntry {
                platform: platform.platform.to_string(),
                from: platform.from.as_ref().map(ToString::to_string),
                to: platform.to.to_string(),
            })
            .collect(),
    });
    let epochs = update.epochs.iter().map(|epoch| EpochEntry {
        image: epoch.image.to_string(),
        from: epoch.from.map(|epoch| epoch.to_string()),
        to: epoch.to.to_string(),
    });
    Document {
        schema: "dockit.update/1",
        lockfile,
        changed: update.is_change(),
        written,
        bases: bases.collect(),
        epochs: epochs.collect(),
        dropped: update.dropped.iter().map(dropped).collect(),
        images: update.images.iter().map(AffectedEntry::new).collect(),
    }
}
