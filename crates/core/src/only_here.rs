//! Keys that no other run can have: the work tree is not as committed, and that matters to the key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use crate::config::{self, LoadOptions};
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::inputs::{Change, Document, How, What, changes};
use crate::key::{ImageKey, KeyOptions, Keys, compute_keys};
use crate::lockfile::Lockfile;
use crate::project::Project;
use crate::revision::{Checkout, git, output, top_level};
use crate::wait::Wait;
use crate::why::is_inside;

/// Images that no other run makes.
#[derive(Debug)]
pub(crate) struct OnlyHere {
    /// The commit that is checked out.
    pub(crate) commit: String,
    /// The images, with the key that they have at the commit; none where there is no such image.
    pub(crate) images: BTreeMap<ImageName, Option<ImageKey>>,
}

/// Which of these images have a key that a checkout of the same commit does not have, because of files
/// that differ from the commit, or that git neither tracks nor ignores. None where that cannot be told.
///
/// Files that git ignores are made by something that other runs can do as well: a difference in them
/// alone proves nothing.
pub(crate) async fn only_here(
    project: &Project,
    graph: &ImageGraph,
    names: &BTreeSet<ImageName>,
    keys: &Keys,
    options: &KeyOptions,
    wait: &Wait,
    cancel: &CancellationToken,
) -> Option<OnlyHere> {
    let dirty = Dirty::of(&project.root, cancel).await?;
    if dirty.paths.is_empty() {
        return None;
    }
    let checkout = Checkout::new(&project.root, "HEAD", &wait.temporary, cancel).await.ok()?;
    let commit = checkout.commit().to_owned();
    let file = checkout.counterpart(&project.config_file)?;
    if !file.is_file() {
        let images = names.iter().map(|name| (name.clone(), None)).collect();
        return dirty.has(&project.config_file).then_some(OnlyHere { commit, images });
    }
    let environment = wait.environment;
    let variable = environment.map(|environment| move |name: &str| environment(name));
    let variables = variable.as_ref().map(|variable| variable as &config::Variables<'_>);
    let then = config::load(&file, &LoadOptions { environment: variables }).ok()?;
    let (there, gone): (BTreeSet<ImageName>, BTreeSet<ImageName>) =
        names.iter().cloned().partition(|name| then.images.contains_key(name));
    let mut images: BTreeMap<ImageName, Option<ImageKey>> =
        gone.into_iter().map(|name| (name, None)).collect();
    if there.iter().all(|name| is_inside(&checkout, &then, name)) {
        let graph_then = ImageGraph::new(&then).ok()?;
        let lockfile = Lockfile::load(&then.lockfile).ok()?;
        let options = KeyOptions { stat_cache: None, ..options.clone() };
        let keys_then = compute_keys(&then, &graph_then, &there, &lockfile, &options).ok()?;
        for name in there {
            let (now, before) = (keys.key(&name)?, keys_then.key(&name)?);
            let matters = || {
                graph.with_dependencies(&BTreeSet::from([name.clone()])).into_iter().any(|node| {
                    let image = node.image();
                    let old = then.images.get(&image.name).zip(keys_then.get(&image.name));
                    let new = keys.get(&image.name);
                    let (Some((old, old_keyed)), Some(new_keyed)) = (old, new) else {
                        // Another set of dependencies is a change of what depends on them.
                        return false;
                    };
                    let old = Document::of(&then, old, old_keyed);
                    let new = Document::of(project, image, new_keyed);
                    changes(&old, &new).iter().any(|change| dirty.explains(change, &project.root))
                })
            };
            if now != before && matters() {
                images.insert(name, Some(before));
            }
        }
    }
    (!images.is_empty()).then_some(OnlyHere { commit, images })
}

/// Files that differ from the commit, or that git neither tracks nor ignores.
struct Dirty {
    top: PathBuf,
    paths: BTreeSet<PathBuf>,
}

impl Dirty {
    async fn of(directory: &Path, cancel: &CancellationToken) -> Option<Self> {
        if !directory.ancestors().any(|directory| directory.join(".git").exists()) {
            return None;
        }
        let top = top_level(directory, cancel).await.ok()?;
        let status = git(&top).args([
            "status",
            "--porcelain",
            "-z",
            "--no-renames",
            "--ignore-submodules=none",
        ]);
        let status = output(status.arg("--untracked-files=all"), cancel).await.ok()?;
        // Two letters, a blank, and the path (git-status(1), *Porcelain Format Version 1*).
        let entries = status.split(|byte| *byte == 0).filter_map(|entry| entry.get(3..));
        let paths = entries.map(|path| String::from_utf8_lossy(path).into_owned().into()).collect();
        Some(Self { top: top.canonicalize().ok()?, paths })
    }

    /// Whether a path, or a submodule that it lies in, is among them.
    fn has(&self, path: &Path) -> bool {
        let place = path.parent().and_then(|parent| parent.canonicalize().ok());
        let Some((place, name)) = place.zip(path.file_name()) else {
            // What is removed may lie in a directory that is, too.
            return path
                .strip_prefix(&self.top)
                .is_ok_and(|path| path.ancestors().any(|path| self.paths.contains(path)));
        };
        let path = place.join(name);
        let Ok(below) = path.strip_prefix(&self.top) else {
            return false;
        };
        // Of a directory, what lies in it.
        below.ancestors().any(|path| self.paths.contains(path))
            || self.paths.iter().any(|path| path.starts_with(below))
    }

    /// Whether they are the reason for a change. What is no file stands in the configuration, the
    /// lockfile or a Dockerfile, without which there would be nothing to compare with.
    fn explains(&self, change: &Change, root: &Path) -> bool {
        match change.what {
            What::Dependency if change.how == How::Changed => false,
            // Both are named from the configuration file on.
            What::File | What::ExtraInput => {
                self.has(&root.join(change.subject.trim_end_matches('/')))
            }
            _ => true,
        }
    }
}
