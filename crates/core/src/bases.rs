//! Resolving images from elsewhere into the lockfile.

use std::collections::BTreeSet;

use dockit_registry::{Registry, resolve_image};
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

/// Asks the registries what these references mean now and enters it into the lockfile.
///
/// # Errors
///
/// Every image that could not be resolved. The lockfile is then left as it was.
pub async fn lock_bases(
    lockfile: &mut Lockfile,
    bases: &BTreeSet<&Base>,
    registry: &dyn Registry,
) -> Result<(), ResolveError> {
    let resolved = join_all(bases.iter().map(|base| async move {
        (*base, resolve_image(registry, &base.reference, &base.platform).await)
    }))
    .await;
    let mut updated = lockfile.clone();
    let mut failures = Vec::new();
    for (base, result) in resolved {
        match result {
            Ok(image) => updated.lock_base(
                base.reference.clone(),
                image.top,
                base.platform.clone(),
                LockedPlatform {
                    digest: image.platform_digest,
                    env: image.config.env,
                    onbuild: image.config.onbuild,
                },
            ),
            Err(error) => failures.push((base.clone(), error)),
        }
    }
    if failures.is_empty() {
        *lockfile = updated;
        Ok(())
    } else {
        Err(ResolveError { failures })
    }
}
