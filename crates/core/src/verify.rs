//! Whether a repository says the truth about its images: every key is present, and neither the lockfile
//! nor a pin would change.

use std::collections::BTreeSet;

use dockit_registry::{Digest, Reference, Registry};
use tokio_util::sync::CancellationToken;

use crate::bases::missing_bases;
use crate::error::Error;
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::key::{ImageKey, KeyOptions, compute_keys};
use crate::lockfile::Lockfile;
use crate::lookup::{LookupOptions, Presence, content_reference, look_up};
use crate::pin::{self, Finding, PinError, PinOptions};
use crate::project::Project;

/// Something that is not as the repository says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The lockfile has no entry for an image from elsewhere, so that there are no keys.
    BaseNotRecorded(Reference),
    /// No registry holds the image with the key that the work tree gives.
    Absent {
        /// The image.
        image: ImageName,
        /// Its content tag in its repository.
        reference: Reference,
    },
    /// The lockfile records another key than the work tree gives.
    OtherKey {
        /// The image.
        image: ImageName,
        /// What is recorded.
        recorded: ImageKey,
        /// What the work tree gives.
        key: ImageKey,
    },
    /// The lockfile records another digest than the content tag is on.
    OtherDigest {
        /// The image.
        image: ImageName,
        /// What is recorded.
        recorded: Reference,
        /// What the content tag is on.
        digest: Digest,
    },
    /// A reference in a file is not what it should be.
    Pin(Finding),
}

/// Looks at everything. Writes nothing.
///
/// Images without a registry are left out, and so are those that the lockfile does not record, as far as it
/// is concerned: a project need not record its images.
///
/// # Errors
///
/// What could not be looked at; that is never a difference.
pub async fn verify(
    project: &Project,
    registry: &dyn Registry,
    keys: &KeyOptions,
    cancel: &CancellationToken,
) -> Result<Vec<Difference>, PinError> {
    let graph = ImageGraph::new(project).map_err(Error::from)?;
    let lockfile = Lockfile::of(project).map_err(Error::from)?;
    let names: BTreeSet<ImageName> = graph.order().iter().cloned().collect();
    let missing = missing_bases(&graph, &names, &lockfile);
    if !missing.is_empty() {
        // Without keys there is nothing to compare.
        let bases: BTreeSet<Reference> =
            missing.into_iter().map(|base| base.reference.clone()).collect();
        return Ok(bases.into_iter().map(Difference::BaseNotRecorded).collect());
    }
    let mut differences = images(project, &graph, &names, &lockfile, registry, keys).await?;
    let options = PinOptions { keys: keys.clone(), ..PinOptions::default() };
    let pins = pin::look(project, &graph, &lockfile, registry, &options, cancel).await?;
    let wrong = pins.findings.into_iter().filter(|finding| finding.status.is_difference());
    differences.extend(wrong.map(Difference::Pin));
    Ok(differences)
}

async fn images(
    project: &Project,
    graph: &ImageGraph,
    names: &BTreeSet<ImageName>,
    lockfile: &Lockfile,
    registry: &dyn Registry,
    options: &KeyOptions,
) -> Result<Vec<Difference>, Error> {
    let keys = compute_keys(project, graph, names, lockfile, options)?;
    let published = |name: &&ImageName| project.images[*name].has_registry;
    let published: BTreeSet<ImageName> = names.iter().filter(published).cloned().collect();
    let look = LookupOptions {
        registry,
        engine: None,
        for_push: false,
        published_only: true,
        moving: None,
    };
    let lookups = look_up(graph, &published, &keys, &look).await?;
    let mut differences = Vec::new();
    for name in graph.order().iter().filter(|name| published.contains(*name)) {
        let (image, Some(key)) = (&project.images[name], keys.key(name)) else {
            continue;
        };
        let present = match lookups.get(name) {
            Some(Presence::Registry { digest, .. }) => Some(digest),
            _ => {
                let reference = content_reference(image, &key);
                differences.push(Difference::Absent { image: name.clone(), reference });
                None
            }
        };
        let Some(recorded) = lockfile.image(name) else {
            continue;
        };
        if recorded.key != key {
            differences.push(Difference::OtherKey {
                image: name.clone(),
                recorded: recorded.key,
                key,
            });
        } else if let Some(digest) =
            present.filter(|digest| recorded.reference.digest() != Some(digest))
        {
            let (image, recorded) = (name.clone(), recorded.reference.clone());
            differences.push(Difference::OtherDigest { image, recorded, digest: digest.clone() });
        }
    }
    Ok(differences)
}
