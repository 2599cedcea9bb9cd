//! The images that a Dockerfile uses, and what the lockfile and other keys say of them.

use std::collections::BTreeMap;

use dockit_hashing::dockerfile::{Dockerfile, ImageConfig, ResolveOptions};
use dockit_registry::Digest;

use super::error::KeysError;
use super::inputs::ImageUseInput;
use super::keyed::Keys;
use crate::graph::{Base, ImageGraph, Node, Use};
use crate::image_name::ImageName;
use crate::lockfile::Lockfile;

/// What each use is pinned to; `None` where something is missing, which is then recorded.
pub(super) fn pin_uses(
    node: &Node,
    keys: &Keys,
    lockfile: &Lockfile,
    failed: &mut KeysError,
) -> Option<Vec<ImageUseInput>> {
    let mut pinned = Vec::new();
    let mut complete = true;
    for used in node.uses() {
        match used {
            Use::Image(dependency) => match keys.get(dependency) {
                Some(keyed) => {
                    pinned.push(ImageUseInput::Image { name: dependency.clone(), key: keyed.key });
                }
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
                    Some(digest) => pinned.push(ImageUseInput::Base {
                        reference: base.reference.clone(),
                        platform: base.platform.clone(),
                        digest,
                    }),
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

/// What is known of the image that a use means. All of it, once its digest is known.
pub(super) fn base_config(
    node: &Node,
    index: usize,
    configs: &BTreeMap<&ImageName, ImageConfig>,
    lockfile: &Lockfile,
) -> Option<ImageConfig> {
    match node.uses().get(index)? {
        Use::Image(dependency) => configs.get(dependency).cloned(),
        Use::Base(base) => lockfile
            .base(&base.reference, &base.platform)
            .map(|entry| ImageConfig::from_oci(&entry.env, &entry.onbuild)),
    }
}

/// Whether something that the image is built on has `ONBUILD` instructions, which run in its build.
pub(super) fn has_triggers(graph: &ImageGraph, node: &Node, lockfile: &Lockfile) -> bool {
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
