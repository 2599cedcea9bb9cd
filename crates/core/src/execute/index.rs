//! Putting an index together from its parts, when all of them are in the registry.
//!
//! The parts' manifests are what they are; the index names them by digest, with their platforms. Its bytes
//! follow from them, so that two runs with the same parts make the same index.

use std::collections::BTreeMap;
use std::time::Instant;

use dockit_registry::manifest::media_type;
use dockit_registry::{
    Access, Digest, ImageChoice, Platform, RawManifest, Reference, choose_image,
};
use serde_json::json;

use super::image::Outcome;
use super::publish::{self, Published, registry_error};
use super::report::{ImageError, Skipped, Status};
use super::{Run, replace};
use crate::events::Event;
use crate::graph::Node;
use crate::image_name::ImageName;
use crate::key::{ImageKey, KeyedIndex};
use crate::lookup::content_reference;
use crate::plan::Step;

/// Puts the index of a step into its registry, unless parts are absent: then another run, for their
/// platforms, does it. `parts` names those that are known to be there, by digest.
pub(super) async fn put_together(
    run: &Run<'_>,
    step: &Step,
    parts: &BTreeMap<ImageName, Reference>,
) -> Result<Outcome, ImageError> {
    let node = run.graph.node(&step.image).expect("the plan was made from this graph");
    let index = run.keys.index(&step.image).expect("the plan was made from these keys");
    if !node.image().is_pushed(run.options.push) {
        return Ok(Outcome { skipped: Some(Skipped::NotPushed), ..Outcome::default() });
    }
    let reference = &step.reference;
    let head = run.registry.head_manifest(reference, Access::PullPush).await?;
    if let Some(head) = head.filter(|head| step.replaces() != Some(&head.digest)) {
        run.observer
            .event(Event::Adopted { image: step.image.clone(), digest: head.digest.clone() });
        return Ok(there(head.digest, Status::Reused, false));
    }
    let digests = match digests(run, node, index, parts).await? {
        Ok(digests) => digests,
        Err(missing) => {
            let skipped = Some(Skipped::MissingPlatforms(missing));
            return Ok(Outcome { skipped, ..Outcome::default() });
        }
    };
    let manifest = manifest(run, node, index, &digests).await?;
    run.observer
        .event(Event::PushStarted { image: step.image.clone(), reference: reference.clone() });
    let start = Instant::now();
    let (repository, expected) = (reference.repository(), step.replaces());
    let put = run.registry.put_manifest_if(repository, &step.key.tag(), &manifest, expected).await;
    let digest = put.map_err(|error| replace::explained(step, error.into()))?;
    if repository.host().layout().is_some() && digest != *manifest.digest() {
        let adopted = digest.clone();
        run.observer.event(Event::Adopted { image: step.image.clone(), digest: adopted });
        return Ok(there(digest, Status::Reused, false));
    }
    let read = run.registry.manifest(&reference.repository().with_digest(digest.clone())).await?;
    if read.bytes() != manifest.bytes() {
        let message =
            format!("{reference} was pushed as {digest}, which is not the index that was sent");
        return Err(registry_error(message));
    }
    match publish::settle(run, step, digest, start).await? {
        Published::Ours(digest) => {
            let replaced = step.replaces().filter(|old| **old != digest).cloned();
            if let Some(old) = &replaced {
                replace::record(run, step, old, &digest).await;
            }
            Ok(Outcome { replaced, ..there(digest, Status::Built, true) })
        }
        Published::Theirs { digest, pushed } => {
            let adopted = digest.clone();
            run.observer.event(Event::Adopted { image: step.image.clone(), digest: adopted });
            Ok(there(digest, Status::Reused, pushed))
        }
    }
}

fn there(digest: Digest, status: Status, pushed: bool) -> Outcome {
    Outcome { status, digest: Some(digest), pushed, ..Outcome::default() }
}

/// The digest of each part; or the platforms of those that are absent. What this run has not made may have
/// come since the run began.
async fn digests(
    run: &Run<'_>,
    node: &Node,
    index: &KeyedIndex,
    known: &BTreeMap<ImageName, Reference>,
) -> Result<Result<BTreeMap<Platform, Digest>, Vec<Platform>>, ImageError> {
    let (mut digests, mut missing) = (BTreeMap::new(), Vec::new());
    for (platform, (name, key)) in &index.parts {
        let digest = match known.get(name).and_then(Reference::digest) {
            Some(digest) => Some(digest.clone()),
            None => {
                let reference = content_reference(node.image(), key);
                let head = run.registry.head_manifest(&reference, Access::PullPush).await?;
                head.map(|head| head.digest)
            }
        };
        match digest {
            Some(digest) => drop(digests.insert(platform.clone(), digest)),
            None => missing.push(platform.clone()),
        }
    }
    Ok(if missing.is_empty() { Ok(digests) } else { Err(missing) })
}

/// The index's bytes: Docker's form of it where all parts are in Docker's form, otherwise that of the image
/// spec (*Image Index*), in the order of the platforms.
async fn manifest(
    run: &Run<'_>,
    node: &Node,
    index: &KeyedIndex,
    digests: &BTreeMap<Platform, Digest>,
) -> Result<RawManifest, ImageError> {
    let mut entries = Vec::new();
    let mut all_docker = true;
    for (platform, digest) in digests {
        let (_, key) = &index.parts[platform];
        let part = part(run, node, platform, key, digest).await?;
        all_docker &= part.media_type() == media_type::DOCKER_MANIFEST;
        let mut named = json!({ "architecture": platform.architecture(), "os": platform.os() });
        if let Some(variant) = platform.variant() {
            named["variant"] = json!(variant);
        }
        entries.push(json!({
            "mediaType": part.media_type(),
            "digest": part.digest().as_str(),
            "size": part.bytes().len(),
            "platform": named,
        }));
    }
    let media_type = if all_docker { media_type::DOCKER_LIST } else { media_type::OCI_INDEX };
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
    Ok(RawManifest::new(media_type, manifest.to_string()))
}

/// The manifest of a part, if it is an image for its platform.
async fn part(
    run: &Run<'_>,
    node: &Node,
    platform: &Platform,
    key: &ImageKey,
    digest: &Digest,
) -> Result<RawManifest, ImageError> {
    let repository = &node.image().repository;
    let of = |digest: &Digest| repository.with_digest(digest.clone());
    let top = run.registry.manifest(&of(digest)).await?;
    let refused = |why: &str| {
        let reference = content_reference(node.image(), key);
        registry_error(format!("{reference} is the image for {platform}, but {why}"))
    };
    let ImageChoice::Image(image) = choose_image(run.registry, repository, &top, platform).await?
    else {
        return Err(refused("holds none"));
    };
    let config = image.config(run.registry, repository).await?;
    // Some engines leave the variant out.
    let same = |said: &Platform| {
        said.os() == platform.os() && said.architecture() == platform.architecture()
    };
    if !config.platform().as_ref().is_ok_and(same) {
        return Err(refused("says that it is for another platform"));
    }
    if image.digest == *digest {
        Ok(top)
    } else {
        Ok(run.registry.manifest(&of(&image.digest)).await?)
    }
}
