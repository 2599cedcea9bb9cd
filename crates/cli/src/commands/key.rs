//! `dockit key`

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use dockit_core::bases::{lockfile_to_read, missing_bases};
use dockit_core::graph::Node;
use dockit_core::inputs::Document;
use dockit_core::key::KeyedImage;
use dockit_core::lookup::content_reference;
use dockit_core::{Error, ImageGraph, ImageKey, ImageName, Keys, Lockfile, Project, compute_keys};
use serde::Serialize;

use super::one_image::OneImageArgs;
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
    let described = args.one_image.project(global, &of_projects, &[])?;
    let project = described.map_or_else(|| session::project(global), Ok)?;
    args.prepare.run(global, &project, &args.images, false).await?;
    let graph = ImageGraph::new(&project).map_err(Error::from)?;
    let selected = graph.select(&args.images).map_err(Error::from)?;
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
        .filter_map(|node| Some((node, keys.get(&node.image().name)?)))
        .map(|(node, keyed)| Entry {
            name: node.image().name.to_string(),
            key: keyed.key.to_string(),
            tag: keyed.key.tag().to_string(),
            reference: shown(&content_reference(node.image(), &keyed.key)),
            dependencies: node.dependencies().into_iter().map(ToString::to_string).collect(),
            inputs: Inputs { files: keyed.context.files(), bytes: keyed.context.bytes() },
            explanation: args.explain.then(|| document(&project, node, keyed).to_value()),
            declared: notes::declared(keyed),
        })
        .collect();
    match global.format {
        Format::Json => output::images("dockit.keys/1", &images)?,
        Format::Text if args.explain => {
            for node in graph.nodes().filter(|node| selected.contains(&node.image().name)) {
                if let Some(keyed) = keys.get(&node.image().name) {
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

fn document(project: &Project, node: &Node, keyed: &KeyedImage) -> Document {
    Document::of(project, node.image(), keyed).without_secrets(&node.image().publish_args)
}

fn expect(
    project: &Project,
    expected: ImageKey,
    selected: &BTreeSet<ImageName>,
    keys: &Keys,
) -> Result<Exit, Failure> {
    let mut names = selected.iter();
    let (Some(name), None) = (names.next(), names.next()) else {
        let message = "--expect is for one image: name it".to_owned();
        return Err(Failure::new(Exit::Usage, message));
    };
    match keys.get(name) {
        Some(keyed) if keyed.key == expected => Ok(Exit::Done),
        Some(keyed) => {
            let message = format!("{name} has the key {}, not {expected}", keyed.key);
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
