//! Listings of build contexts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dockit_hashing::context::{BuildContext, ContextError, ContextOptions, Listing, Selection};

use super::STATE_DIRECTORY;
use crate::project::{Image, Project};

/// Listings of build contexts, each made once however many images share it.
pub(super) struct Contexts<'a> {
    project: &'a Project,
    listings: HashMap<Memo, Vec<(Selection, Arc<Listing>)>>,
}

/// What decides a listing besides the selection: the context's directory, and the ignore file beside
/// the Dockerfile, if there is one.
type Memo = (PathBuf, Option<PathBuf>);

impl<'a> Contexts<'a> {
    pub(super) fn new(project: &'a Project) -> Self {
        Self { project, listings: HashMap::new() }
    }

    /// What an image's build gets of its context.
    pub(super) fn listing(
        &mut self,
        image: &Image,
        selection: Selection,
    ) -> Result<Arc<Listing>, ContextError> {
        let mut own_ignore = image.dockerfile.clone().into_os_string();
        own_ignore.push(".dockerignore");
        let own_ignore = PathBuf::from(own_ignore);
        let own_ignore = own_ignore.exists().then_some(own_ignore);
        let known = self.listings.entry((image.context.clone(), own_ignore)).or_default();
        if let Some((_, listing)) = known.iter().find(|(other, _)| *other == selection) {
            return Ok(listing.clone());
        }
        let never = never_in_context(self.project, &image.context);
        let options = ContextOptions {
            dockerfile: Some(&image.dockerfile),
            never: &never,
            ..ContextOptions::default()
        };
        let context = BuildContext::open(&image.context, &options)?;
        let listing = Arc::new(context.listing(&selection)?);
        known.push((selection, listing.clone()));
        Ok(listing)
    }
}

/// The lockfile and dockit's own directories, as paths in this build context: they change with every
/// build, so a key that saw them would never be found again.
fn never_in_context(project: &Project, context: &Path) -> Vec<PathBuf> {
    let Ok(context) = context.canonicalize() else {
        return Vec::new();
    };
    let beside_lockfile = project.lockfile.parent().and_then(|path| path.canonicalize().ok());
    let root = project.root.canonicalize().ok();
    let lockfile = beside_lockfile.as_ref().zip(project.lockfile.file_name());
    let states = [root, beside_lockfile.clone()];
    [lockfile.map(|(directory, name)| directory.join(name))]
        .into_iter()
        .chain(states.map(|directory| directory.map(|directory| directory.join(STATE_DIRECTORY))))
        .flatten()
        .filter_map(|path| path.strip_prefix(&context).map(Path::to_owned).ok())
        .collect()
}
