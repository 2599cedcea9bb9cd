//! Moving what `dockit.lock` records of external images to what their references stand for today.
//!
//! [`update`] asks each reference once and computes the keys with the entries as they are and as they
//! would be; nothing is written before [`Update::write`]. Where one reference cannot be resolved,
//! nothing moves. What is not in the lockfile is not moved: a reference with a digest stands for the
//! same image for ever, and of it only what is missing of an entry is learnt.

mod choice;

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::{Access, Digest, Platform, Reference, Registry};
use futures_util::future::join_all;

use self::choice::chosen;
use crate::bases::{ResolveError, resolve_bases};
use crate::epoch::Epoch;
use crate::error::Error;
use crate::graph::{Base, ImageGraph};
use crate::image_name::ImageName;
use crate::key::KeyOptions;
pub use crate::key_changes::AffectedImage;
use crate::key_changes::{Criteria, KeyedState, affected};
use crate::lockfile::{LockedBase, Lockfile, LockfileError};
use crate::project::Project;

/// What to update.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpdateRequest<'a> {
    /// External images as Dockerfiles name them, or globs over such names. None means all of them, and
    /// the epochs, and what nothing uses any more.
    pub bases: &'a [String],
    /// Whether entries stay that nothing in this project uses. They always do where the lockfile does not
    /// lie beside the configuration: it is probably one of several projects.
    pub keep_unused: bool,
}

/// What an update comes to.
#[derive(Clone, Debug)]
pub struct Update {
    /// External images that were asked for, by reference.
    pub bases: Vec<BaseUpdate>,
    /// Epochs that move, by image.
    pub epochs: Vec<EpochUpdate>,
    /// Entries that go because nothing uses them.
    pub dropped: Vec<Unused>,
    /// Images whose keys are others with the new entries: what would be built. Dependencies first.
    pub images: Vec<AffectedImage>,
    moved: BTreeMap<Reference, LockedBase>,
    is_change: bool,
}

/// What becomes of an external image's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUpdate {
    /// What the Dockerfiles name.
    pub reference: Reference,
    /// The index, or single manifest, that is recorded; none where there is no entry yet.
    pub from: Option<Digest>,
    /// What the reference stands for now.
    pub to: Digest,
    /// The manifests of the platforms that the project uses.
    pub platforms: Vec<PlatformUpdate>,
}

/// What becomes of one platform of an external image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformUpdate {
    /// The platform.
    pub platform: Platform,
    /// The manifest that is recorded; none where none is yet.
    pub from: Option<Digest>,
    /// The manifest that it is now.
    pub to: Digest,
}

/// What happens to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseStatus {
    /// It is another image now.
    Moved,
    /// It was not recorded.
    Added,
    /// A platform was not recorded.
    Completed,
    /// It stays.
    Unchanged,
}

impl BaseStatus {
    /// The word for it in text and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Added => "added",
            Self::Completed => "completed",
            Self::Unchanged => "unchanged",
        }
    }
}

impl BaseUpdate {
    /// What happens to the entry.
    pub fn status(&self) -> BaseStatus {
        match &self.from {
            None => BaseStatus::Added,
            Some(from) if *from != self.to => BaseStatus::Moved,
            Some(_) if self.platforms.iter().any(|platform| platform.from.is_none()) => {
                BaseStatus::Completed
            }
            Some(_) => BaseStatus::Unchanged,
        }
    }
}

/// An epoch that moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochUpdate {
    /// The image.
    pub image: ImageName,
    /// What is recorded.
    pub from: Option<Epoch>,
    /// The epoch that today is in.
    pub to: Epoch,
}

/// An entry that nothing uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unused {
    /// An external image.
    Base(Reference),
    /// A platform of an external image.
    Platform(Reference, Platform),
    /// The epoch of an image that is not there, or not refreshed.
    Epoch(ImageName),
    /// An image that is not there.
    Image(ImageName),
}

/// Why nothing is updated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The project, its lockfile, or a registry.
    #[error(transparent)]
    Project(#[from] Error),
    /// Nothing that the project uses is called so.
    #[error("the project uses no external image {text:?}")]
    UnknownBase {
        /// What was asked for.
        text: String,
        /// The nearest name of one that it uses.
        nearest: Option<String>,
    },
}

impl From<LockfileError> for UpdateError {
    fn from(error: LockfileError) -> Self {
        Self::Project(error.into())
    }
}

/// Finds out what an update of the lockfile comes to. Writes nothing.
///
/// # Errors
///
/// No such external image, the lockfile cannot be read, or a registry does not say what a reference
/// stands for; all references that cannot be resolved are named.
pub async fn update(
    project: &Project,
    graph: &ImageGraph,
    request: &UpdateRequest<'_>,
    registry: &dyn Registry,
    keys: &KeyOptions,
) -> Result<Update, UpdateError> {
    let before = Lockfile::load(&project.lockfile)?;
    let mut used: BTreeMap<&Reference, BTreeSet<&Base>> = BTreeMap::new();
    for base in graph.nodes().flat_map(|node| node.bases()) {
        used.entry(&base.reference).or_default().insert(base);
    }
    let asked = chosen(&used, request.bases)?;
    let present = resolve(&asked, &before, registry).await.map_err(Error::from)?;
    let mut bases = Vec::new();
    let mut moved = BTreeMap::new();
    for (reference, entry) in present {
        let old = before.base_entry(&reference);
        let platforms = entry.platforms.iter().map(|(platform, now)| PlatformUpdate {
            platform: platform.clone(),
            from: before.base(&reference, platform).map(|entry| entry.digest.clone()),
            to: now.digest.clone(),
        });
        let platforms = platforms.collect();
        let from = old.map(|entry| entry.digest.clone());
        let to = entry.digest.clone();
        bases.push(BaseUpdate { reference: reference.clone(), from, to, platforms });
        if old != Some(&entry) {
            moved.insert(reference, entry);
        }
    }
    let all = request.bases.is_empty();
    let epochs = if all { epochs(project, &before, keys.today) } else { Vec::new() };
    let beside = project.lockfile.parent() == Some(&*project.root);
    let dropped = match all && beside && !request.keep_unused {
        true => unused(project, &used, &before),
        false => Vec::new(),
    };
    let mut update = Update { bases, epochs, dropped, images: Vec::new(), moved, is_change: false };
    let mut after = before.clone();
    update.apply(&mut after);
    update.is_change = after != before;
    if update.is_change {
        update.images = changed_images(project, graph, &before, &after, &update, keys);
    }
    Ok(update)
}

impl Update {
    /// Whether the lockfile would be another one.
    pub fn is_change(&self) -> bool {
        self.is_change
    }

    /// Writes it to the lockfile. What others wrote meanwhile to other entries stays.
    ///
    /// # Errors
    ///
    /// As [`Lockfile::edit`].
    pub fn write(&self, project: &Project) -> Result<(), LockfileError> {
        let state = project.state_directory();
        Lockfile::edit(&project.lockfile, &state, |lockfile| self.apply(lockfile))?;
        Ok(())
    }

    fn apply(&self, lockfile: &mut Lockfile) {
        for (reference, entry) in &self.moved {
            lockfile.move_base(reference.clone(), entry.clone());
        }
        for EpochUpdate { image, to, .. } in &self.epochs {
            lockfile.set_epoch(image.clone(), *to);
        }
        for unused in &self.dropped {
            match unused {
                Unused::Base(reference) => lockfile.remove_base(reference),
                Unused::Platform(reference, platform) => {
                    lockfile.remove_base_platform(reference, platform);
                }
                Unused::Epoch(image) => lockfile.remove_epoch(image),
                Unused::Image(name) => lockfile.remove_image(name),
            }
        }
    }
}

/// The entries of these references as they are to be. Of a reference whose digest has not moved only
/// what is missing is asked for.
async fn resolve(
    asked: &BTreeMap<&Reference, BTreeSet<&Base>>,
    before: &Lockfile,
    registry: &dyn Registry,
) -> Result<BTreeMap<Reference, LockedBase>, ResolveError> {
    let heads = join_all(asked.iter().map(|(reference, bases)| async move {
        let head = match reference.digest() {
            Some(digest) => Ok(Some(digest.clone())),
            None => {
                let head = registry.head_manifest(reference, Access::Pull).await;
                head.map(|head| head.map(|head| head.digest))
            }
        };
        (*reference, bases, head)
    }))
    .await;
    let mut failures = Vec::new();
    let mut present = Lockfile::default();
    let mut wanted: BTreeSet<&Base> = BTreeSet::new();
    for (reference, bases, head) in heads {
        let top = match head {
            Ok(Some(top)) => top,
            Ok(None) => {
                // The question for the manifest says in the registry's words that it is absent.
                wanted.extend(bases);
                continue;
            }
            Err(error) => {
                let base = bases.first().expect("a reference that is used has a use");
                failures.push(((*base).clone(), error));
                continue;
            }
        };
        let known = before.base_entry(reference).filter(|entry| entry.digest == top);
        let entry = known
            .cloned()
            .unwrap_or_else(|| LockedBase { digest: top, platforms: BTreeMap::new() });
        let missing = bases.iter().filter(|base| !entry.platforms.contains_key(&base.platform));
        wanted.extend(missing);
        present.move_base(reference.clone(), entry);
    }
    let resolved = match resolve_bases(&wanted, &present, registry).await {
        Ok(resolved) => resolved,
        Err(error) => {
            failures.extend(error.failures);
            return Err(ResolveError { failures });
        }
    };
    if !failures.is_empty() {
        return Err(ResolveError { failures });
    }
    present.lock_bases(&resolved);
    Ok(present.bases().map(|(reference, entry)| (reference.clone(), entry.clone())).collect())
}

/// Epochs that are over, of another kind than the configuration's, or not recorded. None goes back.
fn epochs(project: &Project, before: &Lockfile, today: time::Date) -> Vec<EpochUpdate> {
    let images = project.images.values().filter(|image| !image.is_part());
    let epochs = images.filter_map(|image| {
        let refresh = image.refresh?;
        let (from, to) = (before.epoch(&image.name), refresh.epoch(today));
        let stays = from.is_some_and(|from| from.refresh() == refresh && from >= to);
        (!stays).then(|| EpochUpdate { image: image.name.clone(), from, to })
    });
    epochs.collect()
}

fn unused(
    project: &Project,
    used: &BTreeMap<&Reference, BTreeSet<&Base>>,
    before: &Lockfile,
) -> Vec<Unused> {
    let mut unused = Vec::new();
    for (reference, entry) in before.bases() {
        let Some(bases) = used.get(reference) else {
            unused.push(Unused::Base(reference.clone()));
            continue;
        };
        let platforms = entry.platforms.keys();
        let gone =
            platforms.filter(|platform| !bases.iter().any(|base| base.platform == **platform));
        unused.extend(gone.map(|platform| Unused::Platform(reference.clone(), platform.clone())));
    }
    let image = |name: &ImageName| project.images.get(name).filter(|image| !image.is_part());
    let epochs = before.epochs().map(|(name, _)| name);
    let epochs = epochs.filter(|name| image(name).is_none_or(|image| image.refresh.is_none()));
    unused.extend(epochs.cloned().map(Unused::Epoch));
    let images = before.images().map(|(name, _)| name);
    unused.extend(images.filter(|name| image(name).is_none()).cloned().map(Unused::Image));
    unused
}

/// What would be built. An image of which no key can be computed counts if something moves that it is
/// made of.
fn changed_images(
    project: &Project,
    graph: &ImageGraph,
    before: &Lockfile,
    after: &Lockfile,
    update: &Update,
    keys: &KeyOptions,
) -> Vec<AffectedImage> {
    let then = KeyedState::of(project, graph, before, keys);
    let now = KeyedState::of(project, graph, after, keys);
    let criteria = Criteria {
        counts: &|_| true,
        unknown: &|node| {
            let name = node.image().declared_name();
            node.bases().any(|base| update.moved.contains_key(&base.reference))
                || update.epochs.iter().any(|epoch| epoch.image == *name)
        },
    };
    affected(graph, &then, &now, &criteria)
}
