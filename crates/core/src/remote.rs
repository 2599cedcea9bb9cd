//! What registries hold of a project's images: content tags, moving tags, and what the lockfile
//! records.

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::{
    Access, Digest, Error, ErrorKind, Reference, Registry, Repository, Tag, TagLists,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::graph::{ImageGraph, Node};
use crate::image_name::ImageName;
use crate::key::ImageKey;
use crate::lockfile::Lockfile;
use crate::lookup::content_reference;

/// How many questions are asked at a time; a client has limits of its own.
const QUESTIONS: usize = 16;

/// What a registry says about a reference: the digest there, a proven "absent", or neither.
pub type Answer = Result<Option<Digest>, Error>;

/// What the registry holds of one image.
#[derive(Clone, Debug)]
pub struct RemoteState {
    /// What is under the content tag; `None` without a key.
    pub content: Option<Answer>,
    /// What the image's moving tags are on, in the order of the configuration; those that are the same
    /// in every run.
    pub tags: Vec<(Tag, Answer)>,
    /// What the lockfile records, and whether it is still there.
    pub locked: Option<LockedRemote>,
    /// How many tags the repository has; none if there is no such repository. Credentials that may pull
    /// need not be allowed to list.
    pub tag_count: Result<usize, Error>,
}

/// An image that the lockfile records.
#[derive(Clone, Debug)]
pub struct LockedRemote {
    /// The key that is recorded.
    pub key: ImageKey,
    /// The reference that is recorded, with tag and digest.
    pub reference: Reference,
    /// What is there: the recorded digest, or nothing.
    pub held: Answer,
}

impl RemoteState {
    /// The digest under the content tag, if an image is there.
    pub fn digest(&self) -> Option<&Digest> {
        self.content.as_ref()?.as_ref().ok()?.as_ref()
    }

    /// Everything that the registry did not say about the image, with the reference that was asked for.
    /// That tags could not be counted is not among it.
    pub fn errors(&self) -> impl Iterator<Item = &Error> {
        let content = self.content.iter();
        let tags = self.tags.iter().map(|(_, answer)| answer);
        let locked = self.locked.iter().map(|locked| &locked.held);
        let answers = content.chain(tags).chain(locked);
        answers.filter_map(|answer| answer.as_ref().err())
    }
}

/// Asks registries what they hold of these images. Each reference is asked for once, and each
/// repository's tags are counted once; all at the same time. Writes nothing.
///
/// Images whose repository lies in no registry are left out. One without a key is only asked for by its
/// moving tags and by what the lockfile records.
pub async fn look_at(
    graph: &ImageGraph,
    names: &BTreeSet<ImageName>,
    keys: &BTreeMap<ImageName, ImageKey>,
    lockfile: &Lockfile,
    registry: &dyn Registry,
    lists: &dyn TagLists,
) -> BTreeMap<ImageName, RemoteState> {
    let nodes: Vec<&Node> = names
        .iter()
        .filter_map(|name| graph.node(name))
        .filter(|node| node.image().has_registry)
        .collect();
    let key = |node: &Node| keys.get(&node.image().name).copied();
    let references: BTreeSet<Reference> =
        nodes.iter().flat_map(|node| references(node, key(node), lockfile)).collect();
    let repositories: BTreeSet<&Repository> =
        nodes.iter().map(|node| &node.image().repository).collect();
    let heads = stream::iter(&references)
        .map(|reference| async move {
            let head = registry.head_manifest(reference, Access::Pull).await;
            (reference, head.map(|head| head.map(|head| head.digest)))
        })
        .buffer_unordered(QUESTIONS)
        .collect::<BTreeMap<&Reference, Answer>>();
    let counts = stream::iter(repositories)
        .map(|repository| async move { (repository, tag_count(lists, repository).await) })
        .buffer_unordered(QUESTIONS)
        .collect::<BTreeMap<&Repository, Result<usize, Error>>>();
    let (heads, counts) = futures_util::join!(heads, counts);
    let answer = |reference: &Reference| heads[reference].clone();
    nodes
        .into_iter()
        .map(|node| {
            let image = node.image();
            let remote = RemoteState {
                content: key(node).map(|key| answer(&content_reference(image, &key))),
                tags: image
                    .fixed_tags()
                    .map(|tag| {
                        let reference = image.repository.with_tag(tag.clone());
                        (tag, answer(&reference))
                    })
                    .collect(),
                locked: lockfile.image(&image.name).map(|locked| LockedRemote {
                    key: locked.key,
                    reference: locked.reference.clone(),
                    held: answer(&by_digest(&locked.reference)),
                }),
                tag_count: counts[&image.repository].clone(),
            };
            (image.name.clone(), remote)
        })
        .collect()
}

/// Everything that is asked about one image.
fn references(node: &Node, key: Option<ImageKey>, lockfile: &Lockfile) -> Vec<Reference> {
    let image = node.image();
    let tags = image.fixed_tags().map(|tag| image.repository.with_tag(tag));
    let content = key.map(|key| content_reference(image, &key));
    let locked = lockfile.image(&image.name).map(|locked| by_digest(&locked.reference));
    tags.chain(content).chain(locked).collect()
}

/// What the lockfile records is meant whatever its tag is on now.
fn by_digest(reference: &Reference) -> Reference {
    Reference::new(reference.repository().clone(), None, reference.digest().cloned()).or_latest()
}

async fn tag_count(lists: &dyn TagLists, repository: &Repository) -> Result<usize, Error> {
    let count = lists.tags(repository).try_fold(0, |count, _| async move { Ok(count + 1) }).await;
    match count {
        // `NotFound` is a proven absence, whatever words the registry has for it.
        Err(error) if *error.kind() == ErrorKind::NotFound => Ok(0),
        count => count,
    }
}
