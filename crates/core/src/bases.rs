//! Resolving images from elsewhere into the lockfile.

use std::collections::BTreeSet;

use dockit_registry::{Registry, ResolvedImage, resolve_image};
use futures_util::future::join_all;

use crate::graph::{Base, ImageGraph};
use crate::image_name::ImageName;
use crate::lockfile::{LockedPlatform, Lockfile};

/// Images from elsewhere that could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.describe())]
pub struct ResolveError {
    /// Each image with the registry's answer. Never empty.
    pub failures: Vec<(Base, dockit_registry::Error)>,
}

impl ResolveError {
    fn describe(&self) -> String {
        let lines: Vec<String> = self
            .failures
            .iter()
            .map(|(base, error)| format!("cannot resolve {}: {error}", base.reference))
            .collect();
        lines.join("\n")
    }
}

/// Images from elsewhere that `names` and their dependencies read and the lockfile does not hold.
pub fn missing_bases<'a>(
    graph: &'a ImageGraph,
    names: &BTreeSet<ImageName>,
    lockfile: &Lockfile,
) -> BTreeSet<&'a Base> {
    graph
        .with_dependencies(names)
        .into_iter()
        .flat_map(|node| node.bases())
        .filter(|base| lockfile.base(&base.reference, &base.platform).is_none())
        .collect()
}

/// What registries said about images from elsewhere.
#[derive(Debug)]
pub struct Resolved(Vec<(Base, ResolvedImage)>);

/// Asks the registries what these references mean. Another platform of a reference that the lockfile
/// holds is taken from the very index that it holds.
///
/// # Errors
///
/// Every image that could not be resolved.
pub async fn resolve_bases(
    bases: &BTreeSet<&Base>,
    lockfile: &Lockfile,
    registry: &dyn Registry,
) -> Result<Resolved, ResolveError> {
    let answers = join_all(bases.iter().map(|base| async move {
        let reference = match lockfile.base_entry(&base.reference) {
            Some(entry) => base.reference.repository().with_digest(entry.digest.clone()),
            None => base.reference.clone(),
        };
        ((*base).clone(), resolve_image(registry, &reference, &base.platform).await)
    }))
    .await;
    let mut resolved = Vec::new();
    let mut failures = Vec::new();
    for (base, answer) in answers {
        match answer {
            Ok(image) => resolved.push((base, image)),
            Err(error) => failures.push((base, error)),
        }
    }
    if failures.is_empty() { Ok(Resolved(resolved)) } else { Err(ResolveError { failures }) }
}

impl Lockfile {
    /// Enters what was resolved; entries that are there already stay.
    pub fn lock_bases(&mut self, resolved: &Resolved) {
        for (base, image) in &resolved.0 {
            self.lock_base(
                base.reference.clone(),
                image.top.clone(),
                base.platform.clone(),
                LockedPlatform {
                    digest: image.platform_digest.clone(),
                    env: image.config.env.clone(),
                    onbuild: image.config.onbuild.clone(),
                },
            );
        }
    }
}
