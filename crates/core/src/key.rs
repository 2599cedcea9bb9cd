//! Image keys: the hash of everything that determines an image.
//!
//! A key is a pure function of the work tree, the lockfile, the arguments and the platform. Its
//! format is `docs/key-format.md`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use dockit_hashing::content_hash::{ContentHash, Framer};
use dockit_hashing::context::{
    Archive, BuildContext, ContextError, ContextOptions, Listing, Node as ContextNode, Selection,
};
use dockit_hashing::dockerfile::{Dockerfile, ResolveOptions};
use dockit_registry::{Digest, Tag};

use crate::graph::{Base, ImageGraph, Node, Use};
use crate::image_name::ImageName;
use crate::lockfile::Lockfile;
use crate::project::Project;

/// Version of the key format, as it stands in keys and content tags.
pub const KEY_VERSION: &str = "k1";

/// Directory beside the lockfile where dockit keeps what is no part of the project.
pub const STATE_DIRECTORY: &str = ".dockit";

/// The hash of everything that determines an image. Two images with equal keys are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageKey(ContentHash);

impl ImageKey {
    /// The content tag: the key spelled as a tag, `k1-` and 64 hex digits.
    pub fn tag(&self) -> Tag {
        format!("{KEY_VERSION}-{}", self.0)
            .parse()
            .expect("67 letters, digits and a hyphen are a valid tag")
    }

    /// Whether a tag has the form of a content tag.
    pub fn is_content_tag(tag: &Tag) -> bool {
        tag.as_str()
            .strip_prefix(KEY_VERSION)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|hash| hash.parse::<ContentHash>().is_ok())
    }

    /// The version and the first 12 digits of the hash, for people.
    pub fn short(&self) -> String {
        format!("{KEY_VERSION}:{}", &self.0.to_string()[..12])
    }
}

impl fmt::Display for ImageKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{KEY_VERSION}:{}", self.0)
    }
}

impl serde::Serialize for ImageKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is no [`ImageKey`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid image key {0:?}: it is \"{KEY_VERSION}:\" and 64 lower-case hex digits")]
pub struct InvalidImageKey(String);

impl FromStr for ImageKey {
    type Err = InvalidImageKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix(KEY_VERSION)
            .and_then(|rest| rest.strip_prefix(':'))
            .and_then(|hash| hash.parse().ok())
            .map(Self)
            .ok_or_else(|| InvalidImageKey(text.to_owned()))
    }
}

/// An image's key and what it was computed from.
#[derive(Clone, Debug)]
pub struct KeyedImage {
    /// The key.
    pub key: ImageKey,
    /// Files of the build context, relative to the image's context directory.
    pub context: Arc<Listing>,
    /// For each image use of the Dockerfile, in order, what the key was computed from.
    pub uses: Vec<PinnedUse>,
    /// Build arguments to build with: the configured ones that have an effect, and what the platform
    /// predefines about the machine that builds, so that no machine fills in its own.
    pub args: BTreeMap<String, String>,
    /// Configured arguments that no reachable stage declares: they have no effect.
    pub undeclared_args: Vec<String>,
}

/// What an image use was resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinnedUse {
    /// Another image of the project, by its key.
    Image(ImageName, ImageKey),
    /// An image from elsewhere, by the digest of the manifest that is used.
    Base(Base, Digest),
}

/// Keys of images, with those of all their dependencies.
#[derive(Clone, Debug, Default)]
pub struct Keys(BTreeMap<ImageName, KeyedImage>);

impl Keys {
    /// The image's key and inputs, if they were computed.
    pub fn get(&self, name: &ImageName) -> Option<&KeyedImage> {
        self.0.get(name)
    }

    /// All of them by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ImageName, &KeyedImage)> {
        self.0.iter()
    }
}

/// Why keys could not be computed. Holds everything that stands in the way, not just the first.
#[derive(Debug, Default)]
pub struct KeysError {
    /// Images from elsewhere without an entry in the lockfile, with who reads them.
    pub unlocked: BTreeMap<Base, BTreeSet<ImageName>>,
    /// Build contexts that cannot be read as they are.
    pub contexts: Vec<(ImageName, ContextError)>,
    /// Images from elsewhere with an `ONBUILD` that uses yet another image, which nothing pins.
    pub triggers: Vec<(Base, String)>,
}

impl std::error::Error for KeysError {}

impl fmt::Display for KeysError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (image, error) in &self.contexts {
            write!(formatter, "{separator}image {image}: {error}")?;
            separator = "\n";
        }
        for (base, trigger) in &self.triggers {
            write!(
                formatter,
                "{separator}{} has the trigger `ONBUILD {trigger}`, which uses an image or a \
                 download that no key covers: not supported",
                base.reference
            )?;
            separator = "\n";
        }
        for (base, images) in &self.unlocked {
            let images: Vec<&str> = images.iter().map(ImageName::as_str).collect();
            write!(
                formatter,
                "{separator}no entry in the lockfile for {} ({}), read by {}",
                base.reference,
                base.platform,
                images.join(", ")
            )?;
            separator = "\n";
        }
        Ok(())
    }
}

/// Computes the keys of `names` and of everything they depend on.
///
/// Reads the build contexts and nothing else.
///
/// # Errors
///
/// See [`KeysError`].
pub fn compute_keys(
    project: &Project,
    graph: &ImageGraph,
    names: &BTreeSet<ImageName>,
    lockfile: &Lockfile,
) -> Result<Keys, KeysError> {
    let mut keys = Keys::default();
    let mut contexts = Contexts::new(project);
    let mut failed = KeysError::default();
    let mut unknown: BTreeSet<&ImageName> = BTreeSet::new();
    for node in graph.with_dependencies(names) {
        let name = &node.image().name;
        let uses = pin_uses(node, &keys, lockfile, &mut failed);
        let listing = match contexts.listing(node) {
            Ok(listing) => Some(listing),
            Err(error) => {
                failed.contexts.push((name.clone(), error));
                None
            }
        };
        let complete = !node.dependencies().iter().any(|dependency| unknown.contains(*dependency));
        match (uses, listing) {
            (Some(uses), Some(listing)) if complete => {
                let triggers = has_triggers(graph, node, lockfile);
                let keyed = key_image(node, &keys, uses, listing, triggers);
                keys.0.insert(name.clone(), keyed);
            }
            _ => {
                unknown.insert(name);
            }
        }
    }
    if unknown.is_empty() { Ok(keys) } else { Err(failed) }
}

/// Whether something that the image is built on has `ONBUILD` instructions, which run in its build.
fn has_triggers(graph: &ImageGraph, node: &Node, lockfile: &Lockfile) -> bool {
    node.uses().iter().any(|used| match used {
        Use::Image(dependency) => {
            graph.node(dependency).is_some_and(|node| node.resolved().has_triggers())
        }
        Use::Base(base) => lockfile
            .base(&base.reference, &base.platform)
            .is_some_and(|entry| !entry.onbuild.is_empty()),
    })
}

/// Whether an `ONBUILD` of a base image uses another image, fetches from elsewhere, or is nothing that
/// can be read.
fn reaches_elsewhere(trigger: &str) -> bool {
    let none = BTreeMap::new();
    let options = ResolveOptions { target: None, args: &none, platform_args: &none };
    // On an image, so that its environment counts as not known.
    let Ok(dockerfile) = Dockerfile::parse(format!("FROM base\n{trigger}\n").as_bytes()) else {
        return true;
    };
    dockerfile.resolve(&options).map_or(true, |resolved| resolved.image_uses().len() > 1)
}

/// What each use is pinned to; `None` where something is missing, which is then recorded.
fn pin_uses(
    node: &Node,
    keys: &Keys,
    lockfile: &Lockfile,
    failed: &mut KeysError,
) -> Option<Vec<PinnedUse>> {
    let mut pinned = Vec::new();
    let mut complete = true;
    for used in node.uses() {
        match used {
            Use::Image(dependency) => match keys.get(dependency) {
                Some(keyed) => pinned.push(PinnedUse::Image(dependency.clone(), keyed.key)),
                None => complete = false,
            },
            Use::Base(base) => {
                let entry = lockfile.base(&base.reference, &base.platform);
                let onbuild = entry.map(|entry| entry.onbuild.as_slice()).unwrap_or_default();
                if let Some(trigger) = onbuild.iter().find(|text| reaches_elsewhere(text)) {
                    failed.triggers.push((base.clone(), trigger.clone()));
                    complete = false;
                    continue;
                }
                match pinned_digest(base, lockfile) {
                    Some(digest) => pinned.push(PinnedUse::Base(base.clone(), digest)),
                    None => {
                        let readers = failed.unlocked.entry(base.clone()).or_default();
                        readers.insert(node.image().name.clone());
                        complete = false;
                    }
                }
            }
        }
    }
    complete.then_some(pinned)
}

/// A frontend runs on the engine's platform, whatever the image's: its index counts.
fn pinned_digest(base: &Base, lockfile: &Lockfile) -> Option<Digest> {
    let platform = lockfile.base(&base.reference, &base.platform)?;
    if base.frontend {
        return lockfile.base_entry(&base.reference).map(|entry| entry.digest.clone());
    }
    Some(platform.digest.clone())
}

fn key_image(
    node: &Node,
    keys: &Keys,
    uses: Vec<PinnedUse>,
    context: Arc<Listing>,
    triggers: bool,
) -> KeyedImage {
    let image = node.image();
    let resolved = node.resolved();
    let mut keyed_args = node.keyed_args();
    if triggers {
        // A trigger may declare any of them.
        let missing = image
            .args
            .iter()
            .filter(|(name, _)| !keyed_args.iter().any(|(known, _)| known == *name));
        let missing: Vec<_> =
            missing.map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        keyed_args.extend(missing);
        keyed_args.sort();
    }
    let mut framer = Framer::new("dockit-image-key-1");
    framer.str(&image.platform.to_string());
    framer.bytes(&resolved.program());
    framer.number(keyed_args.len() as u64);
    for (name, value) in &keyed_args {
        framer.str(name);
        match value {
            Some(value) => framer.number(1).str(value),
            None => framer.number(0),
        };
    }
    framer.number(uses.len() as u64);
    for used in &uses {
        match used {
            PinnedUse::Image(_, key) => framer.str("image").hash(key.0),
            PinnedUse::Base(_, digest) => framer.str("base").str(digest.as_str()),
        };
    }
    let needs: BTreeSet<ContentHash> =
        image.needs.iter().filter_map(|name| keys.get(name)).map(|keyed| keyed.key.0).collect();
    framer.number(needs.len() as u64);
    for key in needs {
        framer.hash(key);
    }
    framer.hash(context.hash());
    // An instruction that copies the context's root copies the archive's Dockerfile with it, so its
    // text, comments and all, is then an input like any other file. A source that is a link can lead
    // there too, and what a base's ONBUILD copies is anybody's guess.
    let links =
        context.entries().iter().any(|entry| matches!(entry.node(), ContextNode::Symlink { .. }));
    if triggers || links || resolved.may_read_root_file(Archive::DOCKERFILE_NAME.as_bytes()) {
        framer.number(1).bytes(resolved.source());
    } else {
        framer.number(0);
    }
    let args = node.build_args();
    // What a trigger declares is not known here.
    let undeclared_args = if triggers { Vec::new() } else { node.undeclared_args() };
    KeyedImage { key: ImageKey(framer.finish()), context, uses, args, undeclared_args }
}

/// Listings of build contexts, each made once however many images share it.
struct Contexts<'a> {
    project: &'a Project,
    listings: HashMap<(PathBuf, Option<PathBuf>), Arc<Listing>>,
}

impl<'a> Contexts<'a> {
    fn new(project: &'a Project) -> Self {
        Self { project, listings: HashMap::new() }
    }

    fn listing(&mut self, node: &Node) -> Result<Arc<Listing>, ContextError> {
        let image = node.image();
        let mut own_ignore = image.dockerfile.clone().into_os_string();
        own_ignore.push(".dockerignore");
        let own_ignore = PathBuf::from(own_ignore);
        let own_ignore = own_ignore.exists().then_some(own_ignore);
        let memo = (image.context.clone(), own_ignore);
        if let Some(listing) = self.listings.get(&memo) {
            return Ok(listing.clone());
        }
        let never = never_in_context(self.project, &image.context);
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
