//! Resolving images from elsewhere into the lockfile.

use std::collections::{BTreeMap, BTreeSet};

use dockit_registry::{Digest, Reference, Registry, ResolvedImage, resolve_image};
use futures_util::future::join_all;

use crate::error::Error;
use crate::graph::{Base, ImageGraph};
use crate::image_name::ImageName;
use crate::lockfile::{LockedPlatform, Lockfile};
use crate::project::Project;

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

/// The lockfile that counts for what only reads. Where a project [keeps none](Project::in_memory), what
/// these images and their dependencies read is resolved now.
///
/// # Errors
///
/// The lockfile cannot be read, or an image cannot be resolved.
pub async fn lockfile_to_read(
    project: &Project,
    graph: &ImageGraph,
    names: &BTreeSet<ImageName>,
    registry: &dyn Registry,
) -> Result<Lockfile, Error> {
    let mut lockfile = Lockfile::of(project)?;
    if project.in_memory {
        let missing = missing_bases(graph, names, &lockfile);
        lockfile.lock_bases(&resolve_bases(&missing, &lockfile, registry).await?);
    }
    Ok(lockfile)
}

/// What registries said about images from elsewhere.
#[derive(Debug)]
pub struct Resolved(Vec<(Base, ResolvedImage)>);

/// Asks the registries what these references mean, each once: all platforms of a reference are of the
/// same index, which is the one that the lockfile holds if it does.
///
/// # Errors
///
/// Every image that could not be resolved.
pub async fn resolve_bases(
    bases: &BTreeSet<&Base>,
    lockfile: &Lockfile,
    registry: &dyn Registry,
) -> Result<Resolved, ResolveError> {
    let mut by_reference: BTreeMap<&Reference, Vec<&Base>> = BTreeMap::new();
    for base in bases {
        by_reference.entry(&base.reference).or_default().push(base);
    }
    let answers = join_all(by_reference.into_iter().map(|(reference, bases)| async move {
        let by_digest = |digest: &Digest| reference.repository().with_digest(digest.clone());
        let mut source = match lockfile.base_entry(reference) {
            Some(entry) => by_digest(&entry.digest),
            None => reference.clone(),
        };
        let mut answers = Vec::new();
        for base in bases {
            let answer = resolve_image(registry, &source, &base.platform).await;
            if let Ok(image) = &answer {
                // A tag can move between two questions; all platforms are of one index.
                source = by_digest(&image.top);
            }
            answers.push((base.clone(), answer));
        }
        answers
    }))
    .await;
    let mut resolved = Vec::new();
    let mut failures = Vec::new();
    for (base, answer) in answers.into_iter().flatten() {
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
