//! Prints the graph and the keys of a project, and stops there: `keys DIR`.

use std::io::Write as _;
use std::path::PathBuf;

use dockit_core::config::LoadOptions;
use dockit_core::{ImageGraph, KeyOptions, Lockfile, compute_keys, config};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args_os().nth(1).map_or_else(|| ".".into(), PathBuf::from);
    let file = config::find(&std::path::absolute(directory)?).ok_or("no dockit.toml")?;
    let project = config::load(&file, &LoadOptions::default())?;
    let graph = ImageGraph::new(&project)?;
    let lockfile = Lockfile::load(&project.lockfile)?;
    let names = graph.order().iter().cloned().collect();
    let keys = compute_keys(&project, &graph, &names, &lockfile, &KeyOptions::default())
        .map_err(|error| error.to_string())?;
    let mut out = std::io::stdout().lock();
    for node in graph.nodes() {
        let name = &node.image().name;
        if let Some(keyed) = keys.get(name) {
            let needs: Vec<&str> =
                node.dependencies().into_iter().map(|dependency| dependency.as_str()).collect();
            writeln!(out, "{name} {} needs [{}]", keyed.key, needs.join(", "))?;
        }
    }
    Ok(())
}
