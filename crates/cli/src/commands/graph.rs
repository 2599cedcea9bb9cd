//! `dockit graph`

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use dockit_core::graph::Use;
use dockit_core::{Error, ImageGraph};
use serde::Serialize;

use super::{Format, GlobalArgs};
use crate::diagnostics::{Exit, Failure};
use crate::session;
use crate::ui::output;

/// Arguments of `dockit graph`.
#[derive(Args, Debug)]
pub struct GraphArgs {
    /// In which notation
    #[arg(long = "as", value_enum, default_value_t, value_name = "NOTATION")]
    notation: Notation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Notation {
    /// A tree for people
    #[default]
    Text,
    /// Graphviz
    Dot,
    /// Mermaid
    Mermaid,
    /// JSON
    Json,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    dependencies: Vec<EdgeEntry>,
    bases: Vec<String>,
}

#[derive(Serialize)]
struct EdgeEntry {
    image: String,
    kind: &'static str,
}

pub(super) fn run(global: &GlobalArgs, args: &GraphArgs) -> Result<Exit, Failure> {
    let project = session::project(global)?;
    let graph = ImageGraph::new(&project).map_err(Error::from)?;
    let notation = if global.format == Format::Json { Notation::Json } else { args.notation };
    match notation {
        Notation::Text => output::text(&text(&graph))?,
        Notation::Dot => output::text(&dot(&graph))?,
        Notation::Mermaid => output::text(&mermaid(&graph))?,
        Notation::Json => output::images("dockit.graph/1", &entries(&graph))?,
    }
    Ok(Exit::Done)
}

/// Each image with what it is built from, dependencies first.
fn text(graph: &ImageGraph) -> String {
    let mut text = String::new();
    for node in graph.nodes() {
        let _ = writeln!(text, "{}", node.image().name);
        let mut lines: Vec<String> = node
            .edges()
            .iter()
            .map(|edge| format!("{} ({})", edge.dependency, edge.kind.as_str()))
            .collect();
        lines.extend(bases(node.uses()).into_iter().map(|base| format!("{base} (external)")));
        let last = lines.len().saturating_sub(1);
        for (index, line) in lines.iter().enumerate() {
            let branch = if index == last { "└─" } else { "├─" };
            let _ = writeln!(text, "{branch} {line}");
        }
    }
    text
}

fn dot(graph: &ImageGraph) -> String {
    let mut text = String::from("digraph images {\n    rankdir = BT;\n");
    for node in graph.nodes() {
        let _ = writeln!(text, "    \"{}\";", node.image().name);
        for edge in node.edges() {
            let _ = writeln!(
                text,
                "    \"{}\" -> \"{}\" [label = \"{}\"];",
                node.image().name,
                edge.dependency,
                edge.kind.as_str()
            );
        }
    }
    text.push_str("}\n");
    text
}

fn mermaid(graph: &ImageGraph) -> String {
    let mut text = String::from("graph BT\n");
    let index = |name| graph.order().iter().position(|known| known == name).unwrap_or_default();
    for node in graph.nodes() {
        let name = &node.image().name;
        let _ = writeln!(text, "    n{}[\"{name}\"]", index(name));
        for edge in node.edges() {
            let dependency = index(&edge.dependency);
            let _ =
                writeln!(text, "    n{} -->|{}| n{dependency}", index(name), edge.kind.as_str());
        }
    }
    text
}

fn entries(graph: &ImageGraph) -> Vec<Entry> {
    graph
        .nodes()
        .map(|node| Entry {
            name: node.image().name.to_string(),
            dependencies: node
                .edges()
                .iter()
                .map(|edge| EdgeEntry {
                    image: edge.dependency.to_string(),
                    kind: edge.kind.as_str(),
                })
                .collect(),
            bases: bases(node.uses()),
        })
        .collect()
}

fn bases(uses: &[Use]) -> Vec<String> {
    let mut bases: Vec<String> = uses
        .iter()
        .filter_map(|used| match used {
            Use::Base(base) => Some(base.reference.familiar()),
            Use::Image(_) => None,
        })
        .collect();
    bases.sort();
    bases.dedup();
    bases
}
