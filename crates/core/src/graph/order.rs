//! The order in which images can be built, or the cycle that makes it impossible.

use std::collections::BTreeMap;

use petgraph::graphmap::DiGraphMap;

use super::node::Node;
use crate::config::Problem;
use crate::image_name::ImageName;
use crate::project::Project;

/// Kahn's order by depth and name, or a cycle as a path of names that begins and ends alike.
pub(super) fn topological_order(
    nodes: &BTreeMap<ImageName, Node>,
) -> Result<Vec<ImageName>, Vec<ImageName>> {
    let names: Vec<&ImageName> = nodes.keys().collect();
    let index: BTreeMap<&ImageName, usize> =
        names.iter().enumerate().map(|(index, name)| (*name, index)).collect();
    let mut graph: DiGraphMap<usize, ()> = DiGraphMap::new();
    for (name, node) in nodes {
        graph.add_node(index[name]);
        for dependency in node.dependencies() {
            if let Some(dependency) = index.get(dependency) {
                graph.add_edge(*dependency, index[name], ());
            }
        }
    }
    let sorted = match petgraph::algo::toposort(&graph, None) {
        Ok(sorted) => sorted,
        Err(cycle) => return Err(path_around(&graph, cycle.node_id(), &names)),
    };
    let mut depth = vec![0_usize; names.len()];
    for node in &sorted {
        let below = graph.neighbors_directed(*node, petgraph::Direction::Incoming);
        depth[*node] = below.map(|dependency| depth[dependency] + 1).max().unwrap_or(0);
    }
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|node| (depth[*node], *node));
    Ok(order.into_iter().map(|node| names[node].clone()).collect())
}

/// A shortest path from a node that lies on a cycle back to itself, in the direction "needs".
fn path_around(
    graph: &DiGraphMap<usize, ()>,
    start: usize,
    names: &[&ImageName],
) -> Vec<ImageName> {
    let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for dependency in graph.neighbors_directed(node, petgraph::Direction::Incoming) {
            if dependency == start {
                let mut path = vec![start, node];
                let mut at = node;
                while let Some(previous) = came_from.get(&at) {
                    path.push(*previous);
                    at = *previous;
                }
                path.reverse();
                return path.into_iter().map(|node| names[node].clone()).collect();
            }
            if let std::collections::btree_map::Entry::Vacant(entry) = came_from.entry(dependency) {
                entry.insert(node);
                queue.push_back(dependency);
            }
        }
    }
    vec![names[start].clone()]
}

/// A cycle as a person reads it.
pub(super) fn cycle_problem(
    project: &Project,
    nodes: &BTreeMap<ImageName, Node>,
    cycle: &[ImageName],
) -> Problem {
    let mut message = String::from("images depend on each other in a cycle: ");
    for (position, name) in cycle.iter().enumerate() {
        if position > 0 {
            let kind = nodes[&cycle[position - 1]]
                .edges()
                .iter()
                .find(|edge| edge.dependency == *name)
                .map_or("needs", |edge| edge.kind.as_str());
            message.push_str(&format!(" -{kind}-> "));
        }
        message.push_str(name.as_str());
    }
    let line = cycle.first().map_or(0, |name| nodes[name].image().line);
    Problem { file: project.config_file.clone(), line, message, suggestion: None }
}
