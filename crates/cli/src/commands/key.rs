//! `dockit key`

use std::collections::BTreeMap;

use clap::Args;
use dockit_core::lookup::content_reference;
use dockit_core::{Error, ImageGraph, KeyOptions, Lockfile, compute_keys};
use serde::Serialize;

use super::prepare::PrepareArgs;
use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::session;
use crate::ui::{notes, output, shown};

/// Arguments of `dockit key`.
#[derive(Args, Debug)]
pub struct KeyArgs {
    /// Images; all of them when none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    prepare: PrepareArgs,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    key: String,
    tag: String,
    reference: String,
    dependencies: Vec<String>,
    inputs: Inputs,
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
    let project = session::project(global)?;
    args.prepare.run(global, &project, &args.images).await?;
    let graph = ImageGraph::new(&project).map_err(Error::from)?;
    let selected = graph.select(&args.images).map_err(Error::from)?;
    let lockfile = Lockfile::load(&project.lockfile).map_err(Error::from)?;
    let keys = compute_keys(&project, &graph, &selected, &lockfile, &KeyOptions::default())
        .map_err(Error::from)?;
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
            declared: notes::declared(keyed),
        })
        .collect();
    match global.format {
        Format::Json => output::images("dockit.keys/1", &images)?,
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
    Ok(Exit::Done)
}
