//! Where in Google's resources a repository is, which its name says (*Repository and image names*, *gcr.io
//! repositories*).

use crate::client::provider::At;
use crate::error::{Error, ErrorKind};
use crate::reference::Repository;

/// The host names of Container Registry, and the locations behind them. The repository there is named as
/// the host.
const CONTAINER_REGISTRY: [(&str, &str); 4] =
    [("gcr.io", "us"), ("us.gcr.io", "us"), ("eu.gcr.io", "europe"), ("asia.gcr.io", "asia")];

/// The end of every other host name.
const DOMAIN: &str = "-docker.pkg.dev";

/// Where the API is.
const API: &str = "https://artifactregistry.googleapis.com";

/// An image, or what will be one, in Google's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The address of the API, without a slash at the end.
    api: String,
    project: String,
    location: String,
    pub(super) repository: String,
    /// The image's name in the repository, which may have several parts.
    pub(super) image: String,
}

/// The parts of a name.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    project: String,
    /// Both are empty if the name has no more parts.
    repository: &'a str,
    image: &'a str,
}

impl Place {
    /// The place of a repository. Behind a name of one's own, the address of the API has to end in
    /// `/locations/LOCATION`: the repository's name does not tell it.
    ///
    /// # Errors
    ///
    /// The name is none of an image in Artifact Registry, or it does not say where it is.
    pub(super) fn of(at: At<'_>) -> Result<Self, Error> {
        let base = at.api().base(API)?;
        let base = base.as_str().trim_end_matches('/');
        let invalid = |message: String| Error::new(ErrorKind::Invalid, message);
        let (api, said) = match base.rsplit_once("/locations/") {
            Some((api, location)) => (api, Some(location)),
            None => (base, None),
        };
        let repository = at.repository;
        let location = location(repository).or(said).ok_or_else(|| {
            let host = repository.host();
            invalid(format!(
                "{host} does not say its location: api_url has to end in /locations/LOCATION"
            ))
        })?;
        let parts = parts(repository).ok_or_else(|| {
            invalid(format!("{repository} names no image: it has to be PROJECT/REPOSITORY/IMAGE"))
        })?;
        Ok(Self {
            api: api.to_owned(),
            project: parts.project,
            location: location.to_owned(),
            repository: parts.repository.to_owned(),
            image: parts.image.to_owned(),
        })
    }

    pub(super) fn is_of_container_registry(&self) -> bool {
        CONTAINER_REGISTRY.iter().any(|(host, _)| *host == self.repository)
    }

    /// The address of the API's resources of this location.
    pub(super) fn location_url(&self) -> String {
        let Self { api, project, location, .. } = self;
        format!("{api}/v1/projects/{project}/locations/{location}")
    }

    /// The address of what the API calls by this name.
    pub(super) fn url_of(&self, name: &str) -> String {
        format!("{}/v1/{name}", self.api)
    }
}

/// The command that makes a repository, unless a push does.
pub(super) fn creation_command(repository: &Repository) -> Option<String> {
    let location = location(repository);
    let parts = parts(repository)?;
    if CONTAINER_REGISTRY.iter().any(|(host, _)| *host == parts.repository) {
        return None;
    }
    Some(format!(
        "gcloud artifacts repositories create {} --repository-format=docker --location={} --project={}",
        parts.repository,
        location.unwrap_or("LOCATION"),
        parts.project
    ))
}

/// The location that a host's name says.
fn location(repository: &Repository) -> Option<&str> {
    let host = repository.host().name();
    let behind = CONTAINER_REGISTRY.iter().find(|(name, _)| *name == host);
    let behind = behind.map(|(_, location)| *location);
    behind.or_else(|| host.strip_suffix(DOMAIN).filter(|location| !location.is_empty()))
}

/// Project, repository and image. A project of a domain, `example.com:project`, has two parts.
fn parts(repository: &Repository) -> Option<Parts<'_>> {
    let name = repository.name().as_str();
    let (first, mut rest) = name.split_once('/')?;
    let mut project = first.to_owned();
    if first.contains('.') {
        let (second, others) = rest.split_once('/')?;
        project = format!("{first}:{second}");
        rest = others;
    }
    let host = repository.host().name();
    let (repository, image) = match CONTAINER_REGISTRY.iter().find(|(name, _)| *name == host) {
        Some((name, _)) => (*name, rest),
        None => rest.split_once('/')?,
    };
    Some(Parts { project, repository, image })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_location_project_repository_and_image() {
        for (text, expected) in [
            (
                "europe-west1-docker.pkg.dev/team/images/app",
                Some((Some("europe-west1"), "team", "images", "app")),
            ),
            ("us-docker.pkg.dev/p/r/a/b/c", Some((Some("us"), "p", "r", "a/b/c"))),
            (
                "us-docker.pkg.dev/example.com/p/r/app",
                Some((Some("us"), "example.com:p", "r", "app")),
            ),
            ("gcr.io/p/app", Some((Some("us"), "p", "gcr.io", "app"))),
            ("eu.gcr.io/p/a/b", Some((Some("europe"), "p", "eu.gcr.io", "a/b"))),
            (
                "asia.gcr.io/example.com/p/app",
                Some((Some("asia"), "example.com:p", "asia.gcr.io", "app")),
            ),
            ("images.example.com/p/r/app", Some((None, "p", "r", "app"))),
            ("us-docker.pkg.dev/p/r", None),
            ("gcr.io/p", None),
        ] {
            let repository: Repository = text.parse().unwrap();
            let found = parts(&repository).map(|found| (location(&repository), found));
            let expected = expected.map(|(location, project, repository, image)| {
                (location, Parts { project: project.to_owned(), repository, image })
            });
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_a_push_does_not_make_has_a_command() {
        for (text, command) in [
            (
                "us-docker.pkg.dev/p/r/app",
                Some(
                    "gcloud artifacts repositories create r --repository-format=docker \
                     --location=us --project=p",
                ),
            ),
            (
                "images.example.com/p/r/app",
                Some(
                    "gcloud artifacts repositories create r --repository-format=docker \
                     --location=LOCATION --project=p",
                ),
            ),
            ("gcr.io/p/app", None),
            ("us-docker.pkg.dev/p/r", None),
        ] {
            let found = creation_command(&text.parse().unwrap());
            assert_eq!(found.as_deref(), command, "{text}");
        }
    }
}
