//! What a run writes where a key reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use dockit_hashing::context::{BuildContext, ContextOptions, Escaped, Selection};

use super::compute::inputs_and_config;
use super::contexts::{never_below, own_ignore, own_paths, resolved};
use super::uses::base_config;
use crate::graph::{ImageGraph, Node};
use crate::image_name::ImageName;
use crate::lockfile::Lockfile;
use crate::project::{Image, Project};

/// What a run writes besides images; all paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenPath {
    /// A file.
    File(PathBuf),
    /// A directory with [reports](crate::report::write) of each image.
    Reports(PathBuf),
}

/// Something that a run writes and a key reads: each run would change the key of the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenInput {
    /// What is written.
    pub written: WrittenPath,
    /// The image whose key reads it.
    pub image: ImageName,
    /// As what.
    pub read_as: ReadAs,
}

/// As what a key reads a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadAs {
    /// As a file of the build context.
    Context {
        /// Its path in there.
        path: String,
        /// The ignore file that counts for the image; it need not be there.
        ignore_file: PathBuf,
    },
    /// As one of the image's `inputs`, to which no ignore file applies.
    Input(String),
}

/// The first of these paths that the key of one of these images, or of what they depend on, would read.
///
/// Computes no key and reads no file of a build context. What cannot be told here, such as a build
/// context that is not there, is for [`compute_keys`](super::compute_keys) to say. An external image
/// without an entry in the lockfile counts as one that reads nothing by itself.
pub fn written_input(
    project: &Project,
    graph: &ImageGraph,
    names: &BTreeSet<ImageName>,
    lockfile: &Lockfile,
    written: &[WrittenPath],
) -> Option<WrittenInput> {
    let nodes = graph.with_dependencies(names);
    let images: Vec<&ImageName> = nodes.iter().map(|node| &node.image().name).collect();
    let files = files(written, &images);
    let mut configs = BTreeMap::new();
    for node in nodes {
        let image = node.image();
        let bases = |index| Some(base_config(node, index, &configs, lockfile).unwrap_or_default());
        let Ok((read, config)) = inputs_and_config(node, &bases) else {
            continue;
        };
        let found = in_context(project, node, &read.selection(), &files)
            .or_else(|| in_inputs(project, image, &files));
        if let Some((index, read_as)) = found {
            let written = files[index].of.clone();
            return Some(WrittenInput { written, image: image.name.clone(), read_as });
        }
        configs.insert(&image.name, config);
    }
    None
}

/// A file that is written.
struct WrittenFile<'a> {
    of: &'a WrittenPath,
    /// Where `of` leads.
    top: PathBuf,
    /// Where the file itself does.
    location: PathBuf,
}

fn files<'a>(written: &'a [WrittenPath], images: &[&ImageName]) -> Vec<WrittenFile<'a>> {
    let mut files = Vec::new();
    for of in written {
        let (WrittenPath::File(path) | WrittenPath::Reports(path)) = of;
        let Some(top) = resolved(path) else {
            continue;
        };
        match of {
            WrittenPath::File(_) => {
                files.push(WrittenFile { of, location: top.clone(), top });
            }
            WrittenPath::Reports(_) => {
                let reports = images.iter().flat_map(|name| ["json", "md"].map(|end| (name, end)));
                files.extend(reports.map(|(name, end)| {
                    let location = top.join(format!("{name}.{end}"));
                    WrittenFile { of, top: top.clone(), location }
                }));
            }
        }
    }
    files
}

fn in_context(
    project: &Project,
    node: &Node,
    selection: &Selection,
    files: &[WrittenFile<'_>],
) -> Option<(usize, ReadAs)> {
    let image = node.image();
    let root = image.context.canonicalize().ok()?;
    // What lies elsewhere is no path in there.
    let below = |path: &Path| path.strip_prefix(&root).unwrap_or(path).to_owned();
    let paths: Vec<PathBuf> = files.iter().map(|file| below(&file.location)).collect();
    if paths.iter().all(|path| path.is_absolute()) {
        return None;
    }
    let never = never_below(project, &root);
    let options = ContextOptions {
        dockerfile: Some(&image.dockerfile),
        never: &never,
        ..ContextOptions::default()
    };
    let context = BuildContext::open(&root, &options).ok()?;
    let index = context.first_listed(selection, &paths).ok()??;
    let beside = own_ignore(image);
    let ignore_file = if beside.exists() { beside } else { image.context.join(".dockerignore") };
    let top = below(&files[index].top);
    // The context itself cannot be left out of itself.
    let top = if top.as_os_str().is_empty() { &paths[index] } else { &top };
    let path = Escaped(top.as_os_str().as_encoded_bytes()).to_string();
    Some((index, ReadAs::Context { path, ignore_file }))
}

fn in_inputs(
    project: &Project,
    image: &Image,
    files: &[WrittenFile<'_>],
) -> Option<(usize, ReadAs)> {
    let own = own_paths(project);
    let is_own = |path: &Path| own.iter().any(|own| path.starts_with(own));
    image.inputs.iter().find_map(|input| {
        let location = input.location().canonicalize().ok()?;
        let counts = |path: &Path| path.starts_with(&location) && !is_own(path);
        let index = files.iter().position(|file| counts(&file.location))?;
        Some((index, ReadAs::Input(input.as_str().to_owned())))
    })
}
