//! Asking whether images with these keys exist: present, absent, or an error that is neither.

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::{Access, Digest, Reference, Registry, Tag};
use futures_util::future::join_all;

use crate::backend::{BackendError, BackendErrorKind, BuildBackend, KEY_LABEL, LocalImage};
use crate::graph::{ImageGraph, Node};
use crate::image_name::ImageName;
use crate::key::{ImageKey, Keys};
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
pub struct Lookups(BTreeMap<ImageName, Presence>);

impl Lookups {
    /// The image's presence, if it was looked up.
    pub fn get(&self, name: &ImageName) -> Option<&Presence> {
        self.0.get(name)
    }

    /// The presence of every image that was looked up.
    pub fn iter(&self) -> impl Iterator<Item = (&ImageName, &Presence)> {
        self.0.iter()
    }
}

impl FromIterator<(ImageName, Presence)> for Lookups {
    fn from_iter<T: IntoIterator<Item = (ImageName, Presence)>>(presences: T) -> Self {
        Self(presences.into_iter().collect())
    }
}

/// Where to look, and for what purpose.
pub struct LookupOptions<'a> {
    /// The registry client; asked for images that have a registry.
    pub registry: &'a dyn Registry,
    /// The engine whose store is asked for what no registry holds.
    pub engine: Option<&'a dyn BuildBackend>,
    /// Whether what is absent may be pushed later, and moving tags are wanted.
    pub for_push: bool,
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
    let nodes = names.iter().filter_map(|name| graph.node(name));
    let results = join_all(nodes.filter_map(|node| {
        let key = keys.get(&node.image().name)?.key;
        Some(async move { (node.image().name.clone(), look_up_one(node, &key, options).await) })
    }))
    .await;
    let mut lookups = Lookups::default();
    let mut failures = Vec::new();
    for (name, result) in results {
        match result {
            Ok(presence) => {
                lookups.0.insert(name, presence);
            }
            Err(error) => failures.push((name, error)),
        }
    }
    if failures.is_empty() { Ok(lookups) } else { Err(LookupErrors { failures }) }
}

async fn look_up_one(
    node: &Node,
    key: &ImageKey,
    options: &LookupOptions<'_>,
) -> Result<Presence, LookupError> {
    let image = node.image();
    let reference = content_reference(image, key);
    if image.has_registry {
        let access = if options.for_push { Access::PullPush } else { Access::Pull };
        let head = options.registry.head_manifest(&reference, access).await?;
        if let Some(head) = head {
            let stale_tags = if options.for_push {
                stale_tags(image, &head.digest, options.registry).await?
            } else {
                Vec::new()
            };
            return Ok(Presence::Registry { digest: head.digest, stale_tags });
        }
    }
    // What is to be pushed must come from the registry; an image that lies in the engine alone
    // still has to be pushed, and building it again from the layer cache does that.
    let engine = options.engine.filter(|_| !(options.for_push && image.has_registry));
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
                return Ok(Presence::Engine(local));
            }
        }
    }
    Ok(Presence::Absent)
}

async fn stale_tags(
    image: &Image,
    digest: &Digest,
    registry: &dyn Registry,
) -> Result<Vec<Tag>, LookupError> {
    let heads = join_all(image.tags.iter().map(|tag| async move {
        let reference = image.repository.with_tag(tag.clone());
        (tag, registry.head_manifest(&reference, Access::PullPush).await)
    }))
    .await;
    let mut stale = Vec::new();
    for (tag, head) in heads {
        if head?.map(|head| head.digest).as_ref() != Some(digest) {
            stale.push(tag.clone());
        }
    }
    Ok(stale)
}
