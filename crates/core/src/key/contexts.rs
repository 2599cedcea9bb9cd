//! Listings of build contexts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dockit_hashing::context::{
    BuildContext, ContextError, ContextOptions, Listing, Selection, StatCache,
};

use super::STATE_DIRECTORY;
use super::compute::KeyOptions;
use crate::lockfile::LOCKFILE;
use crate::project::{Image, Project};
use crate::project_path::ProjectPath;

/// Listings of build contexts, each made once however many images share it.
pub(super) struct Contexts<'a> {
    project: &'a Project,
    stat_cache: Option<StatCache>,
    listings: HashMap<Memo, Vec<(Selection, Arc<Listing>)>>,
}

/// What decides a listing besides the selection: the context's directory, the ignore file beside the
/// Dockerfile, if there is one, and whether modes are strict.
type Memo = (PathBuf, Option<PathBuf>, bool);

impl<'a> Contexts<'a> {
    pub(super) fn new(project: &'a Project, stat_cache: Option<StatCache>) -> Self {
        Self { project, stat_cache, listings: HashMap::new() }
    }

    /// What an image's build gets of its context.
    pub(super) fn listing(
        &mut self,
        image: &Image,
        selection: Selection,
    ) -> Result<Arc<Listing>, ContextError> {
        let own_ignore = Some(own_ignore(image)).filter(|file| file.exists());
        let memo = (image.context.clone(), own_ignore, image.strict_modes);
        let known = self.listings.entry(memo).or_default();
        if let Some((_, listing)) = known.iter().find(|(other, _)| *other == selection) {
            return Ok(listing.clone());
        }
        let never = never_below(self.project, &image.context);
        let options = ContextOptions {
            dockerfile: Some(&image.dockerfile),
            never: &never,
            strict_modes: image.strict_modes,
            stat_cache: self.stat_cache.as_ref(),
            ..ContextOptions::default()
        };
        let context = BuildContext::open(&image.context, &options)?;
        let listing = Arc::new(context.listing(&selection)?);
        known.push((selection, listing.clone()));
        Ok(listing)
    }
}

/// The ignore file beside the Dockerfile, which need not be there.
pub(super) fn own_ignore(image: &Image) -> PathBuf {
    let mut file = image.dockerfile.clone().into_os_string();
    file.push(".dockerignore");
    PathBuf::from(file)
}

/// The stat cache, unless it lies where a key reads.
pub(super) fn stat_cache(project: &Project, options: &KeyOptions) -> Option<StatCache> {
    let directory = options.stat_cache.as_ref();
    directory.filter(|directory| !may_be_read(project, directory)).map(StatCache::new)
}

/// Whether a directory, which need not be there yet, lies where a key of the project may read. A stat
/// cache there would be an input of the keys that it helps to compute.
fn may_be_read(project: &Project, directory: &Path) -> bool {
    let Some(directory) = resolved(directory) else {
        return true;
    };
    let contexts = project.images.values().map(|image| image.context.as_path());
    let inputs = project.images.values().flat_map(|image| &image.inputs).map(ProjectPath::location);
    contexts
        .chain(inputs)
        .filter_map(|read| read.canonicalize().ok())
        .any(|read| directory.starts_with(read))
}

/// Where a path leads, as far as there is something.
pub(super) fn resolved(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|ancestor| {
        let below = path.strip_prefix(ancestor).ok()?;
        Some(ancestor.canonicalize().ok()?.join(below))
    })
}

/// The lockfile, dockit's own directories and the project's layouts, as paths below this directory: they change with every
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

/// Where the lockfile, dockit's own directories and the layouts that images are written to lie or would lie.
pub(super) fn own_paths(project: &Project) -> Vec<PathBuf> {
    let beside_lockfile = project.lockfile.parent().and_then(|path| path.canonicalize().ok());
    let root = project.root.canonicalize().ok();
    let lockfile = beside_lockfile.as_ref().zip(project.lockfile.file_name());
    // Of another project, whichever lockfile this one has.
    let foreign = root.as_ref().filter(|_| project.from_options).map(|root| root.join(LOCKFILE));
    let states = [root, beside_lockfile.clone()];
    [lockfile.map(|(directory, name)| directory.join(name)), foreign]
        .into_iter()
        .chain(states.map(|directory| directory.map(|directory| directory.join(STATE_DIRECTORY))))
        .chain(project.layouts().iter().map(|layout| resolved(layout)))
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::config::{LoadOptions, parse};

    use super::*;

    #[test]
    fn a_stat_cache_that_a_key_would_read_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("src/a")).unwrap();
        std::fs::create_dir(root.join("extra")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.join("src"), root.join("link")).unwrap();
        let text = "[images.a]\ncontext = \"src\"\ninputs = [\"extra\"]\n";
        let project = parse(&root.join("dockit.toml"), text, &LoadOptions::default()).unwrap();
        for (cache, read) in [
            ("src/.cache/dockit", true),
            ("src/a", true),
            ("extra/cache", true),
            #[cfg(unix)]
            ("link/new/cache", true),
            ("cache", false),
            (".cache/dockit/files", false),
            ("source", false),
        ] {
            assert_eq!(may_be_read(&project, &root.join(cache)), read, "{cache}");
        }
    }
}
