//! `dockit list`

mod pinned;
mod remote;

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use dockit_core::graph::Node;
use dockit_core::lookup::content_reference;
use dockit_core::remote::{RemoteState, look_at};
use dockit_core::{Error, ImageGraph, ImageKey, ImageName, Keys, Lockfile, Project, compute_keys};
use serde::Serialize;

use self::remote::RemoteEntry;
use super::platforms::{PlatformArgs, PlatformEntry};
use super::prepare::PrepareArgs;
use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::session;
use crate::ui::{self, notes, output, shown};

/// Arguments of `dockit list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Images, or globs such as 'app-*'; all of them when none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    platforms: PlatformArgs,
    /// Ask the registry what it holds: the image with this key, its moving tags, and what dockit.lock
    /// records
    #[arg(long)]
    remote: bool,
    /// Print the references that dockit.lock records; of one image the reference alone
    #[arg(long, conflicts_with_all = ["remote", "prepare", "platforms"])]
    pinned: bool,
    #[command(flatten)]
    prepare: PrepareArgs,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    #[serde(flatten)]
    platform: PlatformEntry,
    repository: String,
    reference: Option<String>,
    dependencies: Vec<String>,
    key: Option<ImageKey>,
    state: &'static str,
    /// Why there is no key.
    problem: Option<String>,
    /// Values that count instead of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    declared: Option<BTreeMap<String, String>>,
    /// What the registry holds, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<RemoteEntry>,
}

pub(super) async fn run(global: &GlobalArgs, args: &ListArgs) -> Result<Exit, Failure> {
    if args.remote {
        session::require_network(global, "list --remote")?;
    }
    let project = session::project(global)?;
    if args.pinned {
        return pinned::run(global, &project, &args.images);
    }
    args.prepare.run(global, &project, &args.images, false).await?;
    let graph = ImageGraph::new(&project).map_err(Error::from)?;
    let platforms = args.platforms.of(&project, &args.images)?;
    let selected = graph.select_for(&args.images, &platforms).map_err(Error::from)?.images;
    let lockfile = Lockfile::load(&project.lockfile).map_err(Error::from)?;
    let options = session::key_options();
    let all = compute_keys(&project, &graph, &selected, &lockfile, &options).ok();
    if let Some(keys) = &all {
        notes::warn(keys);
    }
    let mut images: Vec<Entry> = graph
        .nodes()
        .filter(|node| selected.contains(&node.image().name))
        .map(|node| {
            let name = &node.image().name;
            if let Some(keys) = &all {
                return entry(node, Some(keys), None, &lockfile);
            }
            // One image without a key must not hide the others.
            let only = std::iter::once(name.clone()).collect();
            match compute_keys(&project, &graph, &only, &lockfile, &options) {
                Ok(keys) => entry(node, Some(&keys), None, &lockfile),
                Err(error) => entry(node, None, Some(error.to_string()), &lockfile),
            }
        })
        .collect();
    let failure = if args.remote {
        ask(&project, &graph, &selected, &lockfile, &mut images).await?
    } else {
        None
    };
    match global.format {
        Format::Json => output::images("dockit.list/1", &images)?,
        Format::Text => {
            output::table(table(&images))?;
            for image in &images {
                if let Some(problem) = &image.problem {
                    ui::say(&format!("{}: {problem}", image.name));
                }
            }
        }
    }
    Ok(failure.map_or(Exit::Done, |failure| failure.report()))
}

/// Asks the registry about the images, and returns what it did not say.
async fn ask(
    project: &Project,
    graph: &ImageGraph,
    selected: &BTreeSet<ImageName>,
    lockfile: &Lockfile,
    images: &mut [Entry],
) -> Result<Option<Failure>, Failure> {
    let client = session::registry(Some(project))?;
    let name = |entry: &Entry| selected.iter().find(|name| name.as_str() == entry.name).cloned();
    let keys = images.iter().filter_map(|entry| Some((name(entry)?, entry.key?))).collect();
    let found = look_at(graph, selected, &keys, lockfile, &client, &client).await;
    for entry in images {
        let remote = name(entry).and_then(|name| found.get(&name));
        entry.remote = Some(remote.map_or_else(RemoteEntry::without_registry, RemoteEntry::new));
    }
    let mut lines: Vec<String> = Vec::new();
    let mut uncounted: Vec<String> = Vec::new();
    for (name, remote) in &found {
        if let Err(error) = &remote.tag_count {
            uncounted.push(format!("warning: the tags of image {name} are not counted: {error}"));
        }
        for error in remote.errors() {
            let line = format!("image {name}: {error}");
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    for line in uncounted {
        ui::say(&line);
    }
    let errors = found.values().flat_map(RemoteState::errors);
    Ok((!lines.is_empty()).then(|| Failure::of_registry(lines.join("\n"), errors)))
}

fn table(images: &[Entry]) -> Vec<Vec<String>> {
    let mut header = vec!["NAME", "KEY"];
    if images.iter().any(|image| image.remote.is_some()) {
        header.extend(RemoteEntry::HEADER);
        header.push("REPOSITORY");
    } else {
        header.extend(["STATE", "REPOSITORY", "NEEDS"]);
    }
    if images.iter().any(|image| image.declared.is_some()) {
        header.push("NOTE");
    }
    let mut rows = vec![header.into_iter().map(str::to_owned).collect()];
    rows.extend(images.iter().map(|image| {
        let key = image.key.map_or_else(|| "-".to_owned(), |key| key.short());
        let mut row = vec![image.name.clone(), key];
        if let Some(remote) = &image.remote {
            row.extend(remote.cells());
            row.push(image.repository.clone());
        } else {
            let needs = image.dependencies.join(", ");
            row.extend([image.state.to_owned(), image.repository.clone(), needs]);
        }
        row.extend(notes::declared_text(image.declared.as_ref()));
        row
    }));
    rows
}

fn entry(node: &Node, keys: Option<&Keys>, problem: Option<String>, lockfile: &Lockfile) -> Entry {
    let image = node.image();
    let key = keys.and_then(|keys| keys.key(&image.name));
    let state = match (key, lockfile.image(&image.name)) {
        (None, _) => "no key",
        // The index is what is recorded.
        (Some(_), None) if image.is_part() => "part",
        (Some(_), None) => "not pinned",
        (Some(key), Some(locked)) if locked.key == key => "pinned",
        (Some(_), Some(_)) => "changed",
    };
    Entry {
        name: image.name.to_string(),
        platform: PlatformEntry::of(image),
        repository: image.repository.familiar(),
        reference: key.map(|key| shown(&content_reference(image, &key))),
        dependencies: node.dependencies().into_iter().map(ToString::to_string).collect(),
        key,
        state,
        problem,
        declared: keys.and_then(|keys| keys.get(&image.name)).and_then(notes::declared),
        remote: None,
    }
}
