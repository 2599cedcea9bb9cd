//! Which images a range of commits affects.
//!
//! [`changed`] computes the keys at both ends, the older one from a [`Checkout`] of the merge base, and
//! takes an image for affected if its key differs because of something that the range changed, or
//! because of an image that is affected. Where a key cannot be computed, the image counts: the answer is
//! rather too long than too short. It informs; what is built, the keys decide.
//!
//! Limits: files that git ignores count for keys and are no part of a range. What an image reads that is
//! in no repository is not compared, so such an image always counts.

mod files;
mod settings;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use self::files::ChangedFiles;
pub use self::settings::ChangedSettings;
use crate::config::{self, LoadOptions};
use crate::error::Error;
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::key::KeyOptions;
pub use crate::key_changes::AffectedImage;
use crate::key_changes::{Criteria, KeyedState, affected};
use crate::lockfile::Lockfile;
use crate::project::Project;
use crate::revision::{Checkout, RevisionError, git, output, run, top_level};
use crate::why;

/// A range of commits, and what is needed to look at it.
#[derive(Clone, Copy, Debug)]
pub struct ChangedRequest<'a> {
    /// The revision that the range is counted from: from where it and the other end parted.
    pub since: &'a str,
    /// The other end; none means the work tree, with what is not committed.
    pub until: Option<&'a str>,
    /// What keys are computed with.
    pub keys: &'a KeyOptions,
    /// What the configuration of a revision is read with.
    pub load: LoadOptions<'a>,
    /// A directory for the files of revisions while they are looked at.
    pub temporary: &'a Path,
    /// Ends what is running.
    pub cancel: &'a CancellationToken,
}

/// What a range of commits affects.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The commit that both ends have in common, in full.
    pub base: String,
    /// The commit at the other end; none is the work tree.
    pub until: Option<String>,
    /// How many files differ.
    pub files: usize,
    /// A file that differs and that affects all images, as the configuration says.
    pub all: Option<String>,
    /// The images that are affected, dependencies first.
    pub images: Vec<AffectedImage>,
    /// Images that are not there any more.
    pub removed: BTreeSet<ImageName>,
}

/// Why it is not known what a range affects.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangedError {
    /// The project as it is at the newer end.
    #[error("{}{error}", at(.revision))]
    Project {
        /// The revision, unless it is the work tree.
        revision: Option<String>,
        /// What is wrong.
        error: Box<Error>,
    },
    /// A revision cannot be looked at.
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// The two ends have no commit in common.
    #[error("{since} and {until} have no commit in common{}", if *.shallow {
        ": the clone is shallow, and lacks it"
    } else {
        ""
    })]
    NoCommonCommit {
        /// The one end.
        since: String,
        /// The other one.
        until: String,
        /// Whether older commits were left out when the repository was cloned.
        shallow: bool,
    },
    /// The newer end has no configuration, or one outside the repository.
    #[error("there is no {} at {revision}", file.display())]
    NoProject {
        /// The configuration file.
        file: PathBuf,
        /// The revision.
        revision: String,
    },
}

fn at(revision: &Option<String>) -> String {
    revision.as_ref().map(|revision| format!("at {revision}: ")).unwrap_or_default()
}

impl ChangedError {
    /// Whether the clone is shallow and lacks what was asked for.
    pub fn is_shallow(&self) -> bool {
        matches!(
            self,
            Self::NoCommonCommit { shallow: true, .. }
                | Self::Revision(RevisionError::Unknown { shallow: true, .. })
        )
    }
}

/// Finds out which images of the project a range of commits affects. Changes nothing, and fetches
/// nothing.
///
/// # Errors
///
/// git does not know a revision, the two have nothing in common, or the project at the newer end is
/// wrong. That the older end is wrong is no error: every image is affected then.
pub async fn changed(
    project: &Project,
    request: &ChangedRequest<'_>,
) -> Result<Changed, ChangedError> {
    let ChangedRequest { since, until, cancel, .. } = *request;
    let top = top_level(&project.root, cancel).await?;
    let base = merge_base(&top, since, until.unwrap_or("HEAD"), cancel).await?;
    let newer = match until {
        Some(until) => Some(Checkout::new(&project.root, until, request.temporary, cancel).await?),
        None => None,
    };
    let files = ChangedFiles::of(&top, &base, newer.as_ref().map(Checkout::commit), cancel).await?;
    // The project at the newer end, and what its files are relative to.
    let loaded;
    let (now, root) = match &newer {
        None => (project, top.clone()),
        Some(checkout) => {
            let revision = until.unwrap_or_default();
            loaded = newer_project(project, checkout, revision, request)?;
            (&loaded, checkout.root())
        }
    };
    let told = |error: Error| ChangedError::Project {
        revision: until.map(str::to_owned),
        error: Box::new(error),
    };
    let graph = ImageGraph::new(now).map_err(|problems| told(problems.into()))?;
    let ours = Lockfile::load(&project.lockfile).map_err(|error| told(error.into()))?;
    let lockfile = match &newer {
        None => ours.clone(),
        Some(checkout) => lockfile_at(checkout, now, &ours, false).map_err(told)?,
    };
    let keys = KeyOptions { stat_cache: None, ..request.keys.clone() };
    let options = if newer.is_some() { &keys } else { request.keys };
    let mut state_now = KeyedState::of(now, &graph, &lockfile, options);
    if let Some(checkout) = &newer {
        only_inside(checkout, now, &mut state_now);
    }
    let place = root.canonicalize().unwrap_or(root);
    // One that came or went in the range is not the other end's.
    let added = files.have(&now.lockfile, &place);
    let before = older_state(project, now, &lockfile, added, &base, request).await?;
    let counts =
        |change: &crate::inputs::Change| files.explains(change, &now.root, &place, &now.changed);
    let mut images =
        affected(&graph, &before, &state_now, &Criteria { counts: &counts, unknown: &|_| true });
    let all = files.first(|path| now.changed.affects_all(path));
    if all.is_some() {
        images = every_image(&graph, images);
    }
    let is_whole = |name: &&ImageName| !name.as_str().contains('@');
    let removed = before.names().iter().filter(is_whole).filter(|name| graph.node(name).is_none());
    Ok(Changed {
        base,
        until: newer.as_ref().map(|checkout| checkout.commit().to_owned()),
        files: files.len(),
        all,
        removed: removed.cloned().collect(),
        images,
    })
}

/// All images, those that are affected anyway with what is known of them.
fn every_image(graph: &ImageGraph, mut known: Vec<AffectedImage>) -> Vec<AffectedImage> {
    let declared = graph.nodes().map(|node| node.image()).filter(|image| !image.is_part());
    declared
        .map(|image| match known.iter().position(|affected| affected.image == image.name) {
            Some(position) => known.swap_remove(position),
            None => AffectedImage::new(image.name.clone()),
        })
        .collect()
}

async fn merge_base(
    top: &Path,
    since: &str,
    until: &str,
    cancel: &CancellationToken,
) -> Result<String, ChangedError> {
    let old = crate::revision::resolve(top, since, cancel).await?;
    let new = crate::revision::resolve(top, until, cancel).await?;
    let ran = run(git(top).args(["merge-base", &old, &new]), cancel).await?;
    if ran.succeeded() {
        return Ok(ran.stdout.text().trim().to_owned());
    }
    let shallow = output(git(top).args(["rev-parse", "--is-shallow-repository"]), cancel).await?;
    let (since, until) = (since.to_owned(), until.to_owned());
    Err(ChangedError::NoCommonCommit { since, until, shallow: shallow == b"true\n" })
}

/// The project as it is in a checkout of the newer end.
fn newer_project(
    project: &Project,
    checkout: &Checkout,
    revision: &str,
    request: &ChangedRequest<'_>,
) -> Result<Project, ChangedError> {
    let file = checkout.counterpart(&project.config_file).filter(|file| file.is_file());
    let Some(file) = file else {
        let name = project.config_file.file_name().unwrap_or_default();
        return Err(ChangedError::NoProject { file: name.into(), revision: revision.to_owned() });
    };
    config::load(&file, &request.load).map_err(|problems| ChangedError::Project {
        revision: Some(revision.to_owned()),
        error: Box::new(problems.into()),
    })
}

/// The lockfile at a revision. Where git never has it, it is the work tree's at every revision.
fn lockfile_at(
    checkout: &Checkout,
    then: &Project,
    ours: &Lockfile,
    tracked: bool,
) -> Result<Lockfile, Error> {
    if tracked || (checkout.has(&then.lockfile) && then.lockfile.is_file()) {
        return Ok(Lockfile::load(&then.lockfile)?);
    }
    Ok(ours.clone())
}

/// Keys of what a revision does not have all files of are computed from something else.
fn only_inside(checkout: &Checkout, project: &Project, state: &mut KeyedState) {
    for name in project.images.keys() {
        if !why::is_inside(checkout, project, name) {
            state.disbelieve(name, "it reads files that are not part of the repository".to_owned());
        }
    }
}

/// The keys at the older end; why they are not known where something is wrong with it.
async fn older_state(
    project: &Project,
    now: &Project,
    lockfile: &Lockfile,
    tracked: bool,
    base: &str,
    request: &ChangedRequest<'_>,
) -> Result<KeyedState, ChangedError> {
    let checkout = Checkout::new(&project.root, base, request.temporary, request.cancel).await?;
    let file = checkout.counterpart(&project.config_file).filter(|file| file.is_file());
    let Some(file) = file else {
        return Ok(KeyedState::nothing());
    };
    let short = base.get(..12).unwrap_or(base);
    let root = format!("{}/", checkout.root().display());
    let unknown = |error: Error| {
        let text = error.to_string().replace(&root, "");
        KeyedState::unknown(now, &format!("at {short}: {}", text.replace('\n', "; ")))
    };
    let then = match config::load(&file, &request.load) {
        Ok(then) => then,
        Err(problems) => return Ok(unknown(problems.into())),
    };
    let graph = match ImageGraph::new(&then) {
        Ok(graph) => graph,
        Err(problems) => return Ok(unknown(problems.into())),
    };
    let lockfile = match lockfile_at(&checkout, &then, lockfile, tracked) {
        Ok(lockfile) => lockfile,
        Err(error) => return Ok(unknown(error)),
    };
    let keys = KeyOptions { stat_cache: None, ..request.keys.clone() };
    let mut state = KeyedState::of(&then, &graph, &lockfile, &keys);
    only_inside(&checkout, &then, &mut state);
    Ok(state)
}
