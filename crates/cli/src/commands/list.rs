//! `dockit list`

use clap::Args;
use dockit_core::graph::Node;
use dockit_core::key::KeyedImage;
use dockit_core::lookup::content_reference;
use dockit_core::{Error, ImageGraph, ImageKey, KeyOptions, Lockfile, compute_keys};
use serde::Serialize;

use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::session;
use crate::ui::{self, output, shown};

/// Arguments of `dockit list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Images; all of them when none is named
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
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
}

pub(super) fn run(global: &GlobalArgs, args: &ListArgs) -> Result<Exit, Failure> {
    let project = session::project(global)?;
    let graph = ImageGraph::new(&project).map_err(Error::from)?;
    let selected = graph.select(&args.images).map_err(Error::from)?;
    let lockfile = Lockfile::load(&project.lockfile).map_err(Error::from)?;
    let options = KeyOptions::default();
    let all = compute_keys(&project, &graph, &selected, &lockfile, &options).ok();
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
            let mut rows =
                vec![["NAME", "KEY", "STATE", "REPOSITORY", "NEEDS"].map(str::to_owned).to_vec()];
            rows.extend(images.iter().map(|image| {
                let key = image.key.map_or_else(|| "-".to_owned(), |key| key.short());
                vec![
                    image.name.clone(),
                    key,
                    image.state.to_owned(),
                    image.repository.clone(),
                    image.dependencies.join(", "),
                ]
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
    }
}
