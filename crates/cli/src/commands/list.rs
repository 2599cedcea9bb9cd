//! `dockit list`

use std::collections::BTreeMap;

use clap::Args;
use dockit_core::graph::Node;
use dockit_core::key::KeyedImage;
use dockit_core::lookup::content_reference;
use dockit_core::{Error, ImageGraph, ImageKey, Lockfile, compute_keys};
use serde::Serialize;

use super::prepare::PrepareArgs;
use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::session;
use crate::ui::{self, notes, output, shown};

/// Arguments of `dockit list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Images; all of them when none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    #[command(flatten)]
    prepare: PrepareArgs,
}

#[derive(Serialize)]
struct Entry {
    name: String,
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
}

pub(super) async fn run(global: &GlobalArgs, args: &ListArgs) -> Result<Exit, Failure> {
    let project = session::project(global)?;
    args.prepare.run(global, &project, &args.images).await?;
    let graph = ImageGraph::new(&project).map_err(Error::from)?;
    let selected = graph.select(&args.images).map_err(Error::from)?;
    let lockfile = Lockfile::load(&project.lockfile).map_err(Error::from)?;
    let options = session::key_options();
    let all = compute_keys(&project, &graph, &selected, &lockfile, &options).ok();
    if let Some(keys) = &all {
        notes::warn(keys);
    }
    let images: Vec<Entry> = graph
        .nodes()
        .filter(|node| selected.contains(&node.image().name))
        .map(|node| {
            let name = &node.image().name;
            if let Some(keys) = &all {
                return entry(node, keys.get(name), None, &lockfile);
            }
            // One image without a key must not hide the others.
            let only = std::iter::once(name.clone()).collect();
            match compute_keys(&project, &graph, &only, &lockfile, &options) {
                Ok(keys) => entry(node, keys.get(name), None, &lockfile),
                Err(error) => entry(node, None, Some(error.to_string()), &lockfile),
            }
        })
        .collect();
    match global.format {
        Format::Json => output::images("dockit.list/1", &images)?,
        Format::Text => {
            let mut header =
                ["NAME", "KEY", "STATE", "REPOSITORY", "NEEDS"].map(str::to_owned).to_vec();
            if images.iter().any(|image| image.declared.is_some()) {
                header.push("NOTE".to_owned());
            }
            let mut rows = vec![header];
            rows.extend(images.iter().map(|image| {
                let key = image.key.map_or_else(|| "-".to_owned(), |key| key.short());
                let mut row = vec![
                    image.name.clone(),
                    key,
                    image.state.to_owned(),
                    image.repository.clone(),
                    image.dependencies.join(", "),
                ];
                row.extend(notes::declared_text(image.declared.as_ref()));
                row
            }));
            output::table(rows)?;
            for image in &images {
                if let Some(problem) = &image.problem {
                    ui::say(&format!("{}: {problem}", image.name));
                }
            }
        }
    }
    Ok(Exit::Done)
}

fn entry(
    node: &Node,
    keyed: Option<&KeyedImage>,
    problem: Option<String>,
    lockfile: &Lockfile,
) -> Entry {
    let image = node.image();
    let state = match (keyed, lockfile.image(&image.name)) {
        (None, _) => "no key",
        (Some(_), None) => "not pinned",
        (Some(keyed), Some(locked)) if locked.key == keyed.key => "pinned",
        (Some(_), Some(_)) => "changed",
    };
    Entry {
        name: image.name.to_string(),
        repository: image.repository.familiar(),
        reference: keyed.map(|keyed| shown(&content_reference(image, &keyed.key))),
        dependencies: node.dependencies().into_iter().map(ToString::to_string).collect(),
        key: keyed.map(|keyed| keyed.key),
        state,
        problem,
        declared: keyed.and_then(notes::declared),
    }
}
