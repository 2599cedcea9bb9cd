//! Listings of build contexts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dockit_hashing::context::{BuildContext, ContextError, ContextOptions, Listing, Selection};

use super::STATE_DIRECTORY;
use crate::graph::Node;
use crate::project::Project;

/// Listings of build contexts, each made once however many images share it.
pub(super) struct Contexts<'a> {
    project: &'a Project,
    listings: HashMap<(PathBuf, Option<PathBuf>), Arc<Listing>>,
}

impl<'a> Contexts<'a> {
    pub(super) fn new(project: &'a Project) -> Self {
        Self { project, listings: HashMap::new() }
    }

    pub(super) fn listing(&mut self, node: &Node) -> Result<Arc<Listing>, ContextError> {
        let image = node.image();
        let mut own_ignore = image.dockerfile.clone().into_os_string();
        own_ignore.push(".dockerignore");
        let own_ignore = PathBuf::from(own_ignore);
        let own_ignore = own_ignore.exists().then_some(own_ignore);
        let memo = (image.context.clone(), own_ignore);
        if let Some(listing) = self.listings.get(&memo) {
            return Ok(listing.clone());
        }
        let never = never_below(self.project, &image.context);
        let options = ContextOptions {
            dockerfile: Some(&image.dockerfile),
            never: &never,
            ..ContextOptions::default()
        };
        let listing =
            Arc::new(BuildContext::open(&image.context, &options)?.listing(&Selection::whole())?);
        self.listings.insert(memo, listing.clone());
        Ok(listing)
    }
}

/// The lockfile and dockit's own directories, as paths below this directory: they change with every
/// build, so a key that saw them would never be found again.
pub(super) fn never_below(project: &Project, directory: &Path) -> Vec<PathBuf> {
    let Ok(directory) = directory.canonicalize() else {
        return Vec::new();
    };
    own_paths(project)
        .into_iter()
        .filter_map(|path| path.strip_prefix(&directory).map(Path::to_owned).ok())
        .collect()
}

/// Where the lockfile and dockit's own directories lie or would lie.
pub(super) fn own_paths(project: &Project) -> Vec<PathBuf> {
    let beside_lockfile = project.lockfile.parent().and_then(|path| path.canonicalize().ok());
    let root = project.root.canonicalize().ok();
    let lockfile = beside_lockfile.as_ref().zip(project.lockfile.file_name());
    let states = [root, beside_lockfile.clone()];
    [lockfile.map(|(directory, name)| directory.join(name))]
        .into_iter()
        .chain(states.map(|directory| directory.map(|directory| directory.join(STATE_DIRECTORY))))
        .flatten()
        .collect()
}
