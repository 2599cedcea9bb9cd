//! `dockit key`

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use dockit_core::bases::{lockfile_to_read, missing_bases};
use dockit_core::graph::Node;
use dockit_core::inputs::Document;
use dockit_core::key::{KeyedImage, KeyedIndex};
use dockit_core::lookup::content_reference;
use dockit_core::{Error, ImageGraph, ImageKey, ImageName, Keys, Lockfile, Project, compute_keys};
use serde::Serialize;

use super::one_image::OneImageArgs;
use super::platforms::{PlatformArgs, PlatformEntry};
use super::prepare::PrepareArgs;
use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::session;
use crate::ui::{self, notes, output, shown};

/// Arguments of `dockit key`.
#[derive(Args, Debug)]
pub struct KeyArgs {
    /// Images, or globs such as 'app-*'; all of them when none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    platforms: PlatformArgs,
    /// List everything that the keys are computed from
    #[arg(long)]
    explain: bool,
    /// Fail with exit code 5 unless the image's key is KEY
    #[arg(long, value_name = "KEY")]
    expect: Option<ImageKey>,
    #[command(flatten)]
    prepare: PrepareArgs,
    #[command(flatten)]
    one_image: OneImageArgs,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    #[serde(flatten)]
    platform: PlatformEntry,
    key: String,
    tag: String,
    reference: String,
    dependencies: Vec<String>,
    inputs: Inputs,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<serde_json::Value>,
    /// Values that count instead of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    declared: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct Inputs {
    files: u64,
    bytes: u64,
}

pub(super) async fn run(global: &GlobalArgs, args: &KeyArgs) -> Result<Exit, Failure> {
    let of_projects = [("--prepare", args.prepare.is_asked_for())];
    let described = args.one_image.project(global, &args.platforms, &of_projects, &[])?;
    let project = described.map_or_else(|| session::project(global), Ok)?;
    args.prepare.run(global, &project, &args.images, false).await?;
    let graph = ImageGraph::new(&project).map_err(Error::from)?;
    let platforms = args.platforms.of(&project, &args.images)?;
    let selected = graph.select_for(&args.images, &platforms).map_err(Error::from)?.images;
    let mut lockfile = Lockfile::of(&project).map_err(Error::from)?;
    if project.in_memory && !missing_bases(&graph, &selected, &lockfile).is_empty() {
        if global.offline {
            let message = "without --lockfile a registry is asked for the external images, which \
                           --offline forbids";
            return Err(Failure::new(Exit::Usage, message));
        }
        let registry = session::registry(Some(&project))?;
        lockfile = lockfile_to_read(&project, &graph, &selected, &registry).await?;
    }
    let keys = compute_keys(&project, &graph, &selected, &lockfile, &session::key_options())
        .map_err(|error| Failure::of_project(&project, error.into()))?;
    notes::warn(&keys);
    let images: Vec<Entry> = graph
        .nodes()
        .filter(|node| selected.contains(&node.image().name))
        .filter_map(|node| entry(&project, node, &keys, args.explain))
        .collect();
    match global.format {
        Format::Json => output::images("dockit.keys/1", &images)?,
        Format::Text if args.explain => {
            for node in graph.nodes().filter(|node| selected.contains(&node.image().name)) {
                let name = &node.image().name;
                if let Some(index) = keys.index(name) {
                    output::text(&index_explanation(name, index))?;
                }
                if let Some(keyed) = keys.get(name) {
                    output::text(&ui::inputs::explanation(&document(&project, node, keyed)))?;
                }
            }
        }
        Format::Text => output::table(
            images
                .iter()
                .map(|image| {
                    let mut row = vec![image.name.clone(), image.key.clone()];
                    row.extend(notes::declared_text(image.declared.as_ref()));
                    row
                })
                .collect(),
        )?,
    }
    match args.expect {
        Some(expected) => expect(&project, expected, &selected, &keys),
        None => Ok(Exit::Done),
    }
}

fn entry(project: &Project, node: &Node, keys: &Keys, explain: bool) -> Option<Entry> {
    let image = node.image();
    let key = keys.key(&image.name)?;
    // What an index is made of is its parts' keys.
    let keyed = keys.get(&image.name);
    Some(Entry {
        name: image.name.to_string(),
        platform: PlatformEntry::of(image),
        key: key.to_string(),
        tag: key.tag().to_string(),
        reference: shown(&content_reference(image, &key)),
        dependencies: node.dependencies().into_iter().map(ToString::to_string).collect(),
        inputs: keyed.map_or(Inputs { files: 0, bytes: 0 }, |keyed| Inputs {
            files: keyed.context.files(),
            bytes: keyed.context.bytes(),
        }),
        explanation: keyed
            .filter(|_| explain)
            .map(|keyed| document(project, node, keyed).to_value()),
        declared: keyed.and_then(notes::declared),
    })
}

/// What the key of an index is computed from, as text.
fn index_explanation(name: &ImageName, index: &KeyedIndex) -> String {
    let parts = index.parts.values().map(|(part, key)| format!("  {part}  {key}\n"));
    format!("{name}: {}\n{}", index.key, parts.collect::<String>())
}

fn document(project: &Project, node: &Node, keyed: &KeyedImage) -> Document {
    Document::of(project, node.image(), keyed).without_secrets(&node.image().publish_args)
}

fn expect(
    project: &Project,
    expected: ImageKey,
    selected: &BTreeSet<ImageName>,
    keys: &Keys,
) -> Result<Exit, Failure> {
    // With an index its parts are selected, and it is the index that is meant.
    let with_index = |name: &ImageName| {
        let image = project.images.get(name).filter(|image| image.is_part());
        image.is_some_and(|image| selected.contains(image.declared_name()))
    };
    let mut names = selected.iter().filter(|name| !with_index(name));
    let (Some(name), None) = (names.next(), names.next()) else {
        let message = "--expect is for one image: name it".to_owned();
        return Err(Failure::new(Exit::Usage, message));
    };
    match keys.key(name) {
        Some(key) if key == expected => Ok(Exit::Done),
        Some(key) => {
            let message = format!("{name} has the key {key}, not {expected}");
            let failure = Failure::new(Exit::Differences, message);
            // Without a file there is no name that `why` could be asked for.
            Err(match project.from_options {
                true => failure,
                false => {
                    failure.hint(format!("`dockit why {name} --key {expected}` says what differs"))
                }
            })
        }
        None => Err(Failure::new(Exit::Failed, format!("{name} has no key"))),
    }
}
