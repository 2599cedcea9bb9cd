//! Repositories that have to be made before they can be pushed to.

use std::collections::BTreeMap;

use dockit_registry::{Created, Error, ErrorKind, Registries, Registry, Repository};

use crate::events::{Event, Observer};
use crate::lookup::{LookupError, LookupErrors};
use crate::project::Project;

/// What a push to a repository finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is there, or pushing makes it.
    Ready,
    /// It was made.
    Created,
    /// It is not there, and nobody allowed that it be made.
    Missing,
}

/// Sees that a repository can be pushed to, and makes it where the configuration allows that.
pub(crate) async fn ready(
    registry: &dyn Registry,
    registries: &Registries,
    repository: &Repository,
) -> Result<Found, Error> {
    if !registry.lacks_repository(repository).await? {
        return Ok(Found::Ready);
    }
    if !may_create(registries, repository) {
        return Ok(Found::Missing);
    }
    // Several images may be in one repository of the vendor's.
    Ok(match registry.create_repository(repository).await? {
        Created::Now => Found::Created,
        Created::Before => Found::Ready,
    })
}

/// Makes the repositories to which access was denied, where the configuration allows that: registries
/// that hide what they hold answer so for what is not there. Whether that may have helped every image.
///
/// # Errors
///
/// One could not be made.
pub(crate) async fn create_denied(
    registry: &dyn Registry,
    project: &Project,
    errors: &LookupErrors,
    observer: &dyn Observer,
) -> Result<bool, LookupErrors> {
    let mut denied = BTreeMap::new();
    for (image, error) in &errors.failures {
        let repository = &project.images[image].repository;
        match error {
            LookupError::Registry(error)
                if *error.kind() == ErrorKind::Denied
                    && may_create(&project.registries, repository) =>
            {
                denied.insert(repository, image);
            }
            _ => return Ok(false),
        }
    }
    for (repository, image) in denied {
        match registry.create_repository(repository).await {
            Ok(Created::Now) => observer.event(Event::RepositoryCreated {
                image: image.clone(),
                repository: repository.clone(),
            }),
            Ok(Created::Before) => {}
            // Then it was not that which was missing.
            Err(error) if *error.kind() == ErrorKind::Unsupported => return Ok(false),
            Err(error) => {
                let failures = vec![(image.clone(), error.into())];
                return Err(LookupErrors { failures });
            }
        }
    }
    Ok(true)
}

fn may_create(registries: &Registries, repository: &Repository) -> bool {
    let settings = registries.of(repository.host());
    settings.is_some_and(|settings| settings.create_repositories)
}
