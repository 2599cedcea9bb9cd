//! Asking whether images with these keys exist: present, absent, or an error that is neither.

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::{Access, Digest, Reference, Registry, Tag};
use futures_util::future::join_all;

use crate::backend::{BackendError, BackendErrorKind, Engine, KEY_LABEL, LocalImage};
use crate::graph::{ImageGraph, Node};
use crate::image_name::ImageName;
use crate::key::{ImageKey, Keys};
use crate::moving_tags::{HeldTag, History, MovingTags, WantedTag};
use crate::project::Image;

/// Whether an image with a key is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// In the registry, under its content tag.
    Registry {
        /// The manifest's digest.
        digest: Digest,
        /// Wanted moving tags that are missing or elsewhere.
        stale_tags: Vec<Tag>,
    },
    /// In the engine's store, under its content tag.
    Engine(LocalImage),
    /// Nowhere: the registry, or the engine, said so.
    Absent,
}

/// Results of looking images up.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    presences: BTreeMap<ImageName, Presence>,
    held: BTreeMap<ImageName, Vec<HeldTag>>,
}

impl Lookups {
    /// The image's presence, if it was looked up.
    pub fn get(&self, name: &ImageName) -> Option<&Presence> {
        self.presences.get(name)
    }

    /// The presence of every image that was looked up.
    pub fn iter(&self) -> impl Iterator<Item = (&ImageName, &Presence)> {
        self.presences.iter()
    }

    /// Moving tags of an image that are on an image which they must not be taken from.
    pub fn held(&self, name: &ImageName) -> &[HeldTag] {
        self.held.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Images that were asked for and are not there.
    pub fn absent(&self) -> BTreeSet<ImageName> {
        let absent = self.iter().filter(|(_, presence)| **presence == Presence::Absent);
        absent.map(|(name, _)| name.clone()).collect()
    }

    /// What was looked for in vain until the time was over is absent, as far as it is not there.
    pub(crate) fn absent_otherwise(&mut self, names: &BTreeSet<ImageName>) {
        for name in names {
            self.presences.entry(name.clone()).or_insert(Presence::Absent);
        }
    }

    /// Those that are there.
    pub(crate) fn present(mut self) -> Self {
        self.presences.retain(|_, presence| *presence != Presence::Absent);
        self
    }

    /// Adds what a later look has found.
    pub fn extend(&mut self, later: Self) {
        self.presences.extend(later.presences);
        self.held.extend(later.held);
    }
}

impl FromIterator<(ImageName, Presence)> for Lookups {
    fn from_iter<T: IntoIterator<Item = (ImageName, Presence)>>(presences: T) -> Self {
        Self { presences: presences.into_iter().collect(), held: BTreeMap::new() }
    }
}

/// Where to look, and for what purpose.
pub struct LookupOptions<'a> {
    /// The registry client; asked for images that have a registry.
    pub registry: &'a dyn Registry,
    /// The engine whose store is asked for what no registry holds.
    pub engine: Option<&'a dyn Engine>,
    /// Whether what is absent may be pushed later.
    pub for_push: bool,
    /// Only what others can get counts: the engine is asked for images without a registry alone.
    pub published_only: bool,
    /// Moving tags that may be put on images which are there.
    pub moving: Option<Moving<'a>>,
}

/// Moving tags, and what keeps them from moving back.
#[derive(Clone, Copy)]
pub struct Moving<'a> {
    /// The tags by image.
    pub tags: &'a MovingTags,
    /// Tells which revisions are newer.
    pub history: History<'a>,
}

/// Lookups that failed. None of them says anything about presence.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.describe())]
pub struct LookupErrors {
    /// Each failed image. Never empty.
    pub failures: Vec<(ImageName, LookupError)>,
}

impl LookupErrors {
    fn describe(&self) -> String {
        let lines: Vec<String> =
            self.failures.iter().map(|(name, error)| format!("image {name}: {error}")).collect();
        lines.join("\n")
    }
}

/// Why one image could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The registry did not give an answer that proves presence or absence.
    #[error(transparent)]
    Registry(#[from] dockit_registry::Error),
    /// The engine did not.
    #[error(transparent)]
    Engine(#[from] BackendError),
}

/// The reference under which an image with this key is found.
pub fn content_reference(image: &Image, key: &ImageKey) -> Reference {
    image.repository.with_tag(key.tag())
}

/// Looks up these images, each key once, all at the same time.
///
/// # Errors
///
/// [`LookupErrors`] if a lookup is neither "present" nor a proven "absent".
pub async fn look_up(
    graph: &ImageGraph,
    names: &BTreeSet<ImageName>,
    keys: &Keys,
    options: &LookupOptions<'_>,
) -> Result<Lookups, LookupErrors> {
    let (lookups, failures) = look_up_all(graph, names, keys, options).await;
    if failures.is_empty() { Ok(lookups) } else { Err(LookupErrors { failures }) }
}

/// The same, with what was found beside what failed.
pub(crate) async fn look_up_all(
    graph: &ImageGraph,
    names: &BTreeSet<ImageName>,
    keys: &Keys,
    options: &LookupOptions<'_>,
) -> (Lookups, Vec<(ImageName, LookupError)>) {
    // Variants may have one key in one repository, which is then asked for once.
    let mut by_reference: BTreeMap<(bool, Reference), Vec<(&Node, ImageKey)>> = BTreeMap::new();
    for node in names.iter().filter_map(|name| graph.node(name)) {
        let image = node.image();
        let Some(key) = keys.key(&image.name) else {
            continue;
        };
        let place = (image.has_registry, content_reference(image, &key));
        by_reference.entry(place).or_default().push((node, key));
    }
    let results = join_all(by_reference.values().map(|same| look_up_same(same, options))).await;
    let results = results.into_iter().flatten();
    let mut lookups = Lookups::default();
    let mut failures = Vec::new();
    for (name, result) in results {
        match result {
            Ok((presence, held)) => {
                if !held.is_empty() {
                    lookups.held.insert(name.clone(), held);
                }
                lookups.presences.insert(name, presence);
            }
            Err(error) => failures.push((name, error)),
        }
    }
    (lookups, failures)
}

/// Whether an image is there, and which of its moving tags must stay where they are.
type Found = (Presence, Vec<HeldTag>);

/// Looks up images with one key in one repository. What goes wrong with that is told for the first.
async fn look_up_same(
    same: &[(&Node, ImageKey)],
    options: &LookupOptions<'_>,
) -> Vec<(ImageName, Result<Found, LookupError>)> {
    let mut results: Vec<(ImageName, Result<Found, LookupError>)> = Vec::new();
    for (node, key) in same {
        let image = node.image();
        let result = match results.first() {
            None => look_up_one(node, key, options).await,
            Some((_, Err(_))) => break,
            Some((_, Ok((Presence::Registry { digest, .. }, _)))) => {
                in_registry(image, digest.clone(), options).await
            }
            Some((_, Ok(found))) => Ok(found.clone()),
        };
        results.push((image.name.clone(), result));
    }
    results
}

async fn look_up_one(
    node: &Node,
    key: &ImageKey,
    options: &LookupOptions<'_>,
) -> Result<Found, LookupError> {
    let image = node.image();
    let reference = content_reference(image, key);
    if image.has_registry {
        let access =
            if image.is_pushed(options.for_push) { Access::PullPush } else { Access::Pull };
        let head = options.registry.head_manifest(&reference, access).await?;
        if let Some(head) = head {
            return in_registry(image, head.digest, options).await;
        }
    }
    // What is to be pushed must come from the registry; an image that lies in the engine alone
    // still has to be pushed, and building it again from the layer cache does that.
    let published = image.is_pushed(options.for_push) || options.published_only;
    // An engine holds no index.
    let engine = options.engine.filter(|_| !(published && image.has_registry || image.is_index()));
    if let Some(engine) = engine {
        let found = match engine.find(&reference).await {
            // Where a registry has said "absent", an engine is only a second place to look.
            Err(error) if image.has_registry && error.kind == BackendErrorKind::Unavailable => None,
            found => found?,
        };
        if let Some(local) = found {
            // A content tag in an engine can be put on anything by hand; the label cannot lie by
            // accident.
            if local.labels.get(KEY_LABEL) == Some(&key.to_string()) {
                return Ok((Presence::Engine(local), Vec::new()));
            }
        }
    }
    Ok((Presence::Absent, Vec::new()))
}

async fn in_registry(
    image: &Image,
    digest: Digest,
    options: &LookupOptions<'_>,
) -> Result<Found, LookupError> {
    let (stale_tags, held) = match &options.moving {
        Some(moving) => stale_tags(image, &digest, moving, options.registry).await?,
        None => Default::default(),
    };
    Ok((Presence::Registry { digest, stale_tags }, held))
}

/// The tags that are missing or elsewhere: those to be moved, and those that must not be.
async fn stale_tags(
    image: &Image,
    digest: &Digest,
    moving: &Moving<'_>,
    registry: &dyn Registry,
) -> Result<(Vec<Tag>, Vec<HeldTag>), LookupError> {
    let wanted = moving.tags.get(&image.name).map(|tags| tags.wanted.as_slice());
    let wanted = wanted.unwrap_or_default();
    let asked = join_all(wanted.iter().map(|wanted| async move {
        let reference = image.repository.with_tag(wanted.tag.clone());
        let head = registry.head_manifest(&reference, Access::PullPush).await?;
        let reason = match head.map(|head| head.digest) {
            Some(there) if there == *digest => return Ok(None),
            Some(there) if wanted.guarded => {
                let tag = &wanted.tag;
                moving.history.keeps(registry, &image.repository, &there, tag).await?
            }
            _ => None,
        };
        Ok::<_, LookupError>(Some((wanted, reason)))
    }))
    .await;
    let (mut stale, mut held) = (Vec::new(), Vec::new());
    for answer in asked {
        let answer: Option<(&WantedTag, _)> = answer?;
        match answer {
            None => {}
            Some((wanted, None)) => stale.push(wanted.tag.clone()),
            Some((wanted, Some(reason))) => held.push(wanted.held(reason)),
        }
    }
    Ok((stale, held))
}
