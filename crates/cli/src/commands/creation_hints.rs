//! The commands that make repositories which are not there.

use std::collections::BTreeSet;

use dockit_core::execute::{ImageErrorKind, RunReport};
use dockit_core::lookup::LookupError;
use dockit_core::{Error, Project};
use dockit_registry::{Client, ErrorKind, Repository};

use crate::diagnostics::Failure;

/// The failure for an error, with what would make the repositories to which access was denied: some
/// registries do not tell which of the two it is.
pub(super) fn of_lookups(project: &Project, registry: &Client, error: Error) -> Failure {
    let mut denied = BTreeSet::new();
    if let Error::Lookup(errors) = &error {
        for (image, error) in &errors.failures {
            if let LookupError::Registry(error) = error
                && *error.kind() == ErrorKind::Denied
                && let Some(image) = project.images.get(image)
            {
                denied.insert(&image.repository);
            }
        }
    }
    let hints = hints(project, registry, denied.into_iter());
    hints.into_iter().fold(Failure::of_project(project, error), Failure::hint)
}

/// What would make the repositories that a run did not find.
pub(super) fn of_run(project: &Project, registry: &Client, report: &RunReport) -> Vec<String> {
    let missing = report.images.iter().filter(|image| {
        image.error.as_ref().is_some_and(|error| error.kind == ImageErrorKind::NoRepository)
    });
    let missing: BTreeSet<&Repository> =
        missing.map(|image| image.reference.repository()).collect();
    hints(project, registry, missing.into_iter())
}

fn hints<'a>(
    project: &Project,
    registry: &Client,
    repositories: impl Iterator<Item = &'a Repository>,
) -> Vec<String> {
    let mut hosts = BTreeSet::new();
    let mut hints = Vec::new();
    for repository in repositories {
        if let Some(command) = registry.creation_command(repository) {
            hints.push(format!("`{command}` makes {repository}"));
            let settings = project.registries.of(repository.host());
            if !settings.is_some_and(|settings| settings.create_repositories) {
                hosts.insert(repository.host());
            }
        }
    }
    // Options describe no registry.
    for host in hosts.into_iter().filter(|_| !project.from_options) {
        hints.push(format!(
            "with `create-repositories = true` in [registries.\"{host}\"] of dockit.toml, dockit makes \
             what is missing"
        ));
    }
    hints
}
