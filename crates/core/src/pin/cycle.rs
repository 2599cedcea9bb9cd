//! Pins that can never be right: they change what the pinned image is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::graph::{ImageGraph, Node};
use crate::image_name::ImageName;
use crate::key::{Files, KeyOptions, KeyedImage, compute_keys};
use crate::lockfile::Lockfile;
use crate::project::Project;

/// An image that is made of a file with its own pin, or with that of something that depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Whose input the file is: the pinned image, or one that it depends on.
    pub input_of: ImageName,
    /// The file as a line for that image's `.dockerignore`; none where it is named as input by the
    /// configuration.
    pub ignore: Option<String>,
}

/// Of files with a pin, those whose text is an input of the pinned image or of anything that it depends
/// on. Keys are computed only of images that may read such a file.
pub(crate) fn cycles(
    project: &Project,
    graph: &ImageGraph,
    lockfile: &Lockfile,
    options: &KeyOptions,
    pins: &BTreeSet<(PathBuf, ImageName)>,
) -> Result<BTreeMap<(PathBuf, ImageName), Cycle>, Error> {
    let needed: BTreeMap<&ImageName, Vec<&Node>> = pins
        .iter()
        .map(|(_, image)| (image, graph.with_dependencies(&BTreeSet::from([image.clone()]))))
        .collect();
    let mut candidates: Vec<(&(PathBuf, ImageName), &Node)> = Vec::new();
    for pin in pins {
        let nodes = needed[&pin.1].iter().copied();
        candidates.extend(nodes.filter(|node| may_read(project, node, &pin.0)).map(|it| (pin, it)));
    }
    if candidates.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names = candidates.iter().map(|(_, node)| node.image().name.clone()).collect();
    let keys = compute_keys(project, graph, &names, lockfile, options)?;
    let mut cycles = BTreeMap::new();
    for (pin, node) in candidates {
        if let Some(keyed) = keys.get(&node.image().name)
            && let Some(cycle) = reads(project, node, keyed, &pin.0)
        {
            cycles.entry(pin.clone()).or_insert(cycle);
        }
    }
    Ok(cycles)
}

/// The file's path in a directory, where it is in there; links on the way to the directory are followed.
fn inside(directory: &Path, file: &Path) -> Option<PathBuf> {
    let directory = directory.canonicalize().ok()?;
    file.strip_prefix(directory).ok().map(Path::to_owned)
}

fn may_read(project: &Project, node: &Node, file: &Path) -> bool {
    let image = node.image();
    let named = || image.inputs.iter().any(|input| is_below(project, input.as_str(), file));
    !image.is_index() && (inside(&image.context, file).is_some() || named())
}

fn is_below(project: &Project, input: &str, file: &Path) -> bool {
    let input = project.root.join(input).canonicalize();
    input.is_ok_and(|input| file.starts_with(input))
}

fn reads(project: &Project, node: &Node, keyed: &KeyedImage, file: &Path) -> Option<Cycle> {
    let image = node.image();
    let input_of = image.name.clone();
    if keyed.inputs.extra.iter().any(|extra| is_below(project, extra.path.as_ref(), file)) {
        return Some(Cycle { input_of, ignore: None });
    }
    if let Files::Listed(listing) = &keyed.inputs.files
        && let Some(path) = inside(&image.context, file)
        && listing
            .entries()
            .binary_search_by(|entry| {
                entry.path().as_bytes().cmp(path.as_os_str().as_encoded_bytes())
            })
            .is_ok()
    {
        return Some(Cycle { input_of, ignore: Some(path.to_string_lossy().into_owned()) });
    }
    // Where something in the build may read the Dockerfile, its text counts with the names in it.
    let dockerfile = || image.dockerfile.canonicalize().is_ok_and(|dockerfile| dockerfile == file);
    (keyed.inputs.dockerfile.is_some() && dockerfile()).then(|| {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        Cycle { input_of, ignore: name }
    })
}
