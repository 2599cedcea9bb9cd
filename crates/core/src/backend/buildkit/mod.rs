//! BuildKit alone: a buildkitd somewhere, which keeps layers and no images. What it builds it pushes by
//! digest, with dockit's credentials.

mod address;
mod auth;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dockit_buildkit::{Build, CacheEntry, Client, Error as ClientError, ErrorKind, Output};
use dockit_registry::{Digest, Platform, Registry};
use tokio::sync::OnceCell;

pub use address::{BuildKitEndpoint, InvalidBuildKitAddress};

use super::dial::EngineDial;
use super::docker::passing;
use super::docker::progress::Progress;
use super::layers::{self, Failed};
use super::sending;
use super::{BackendError, BackendErrorKind, BuildBackend, BuildObserver, BuildRequest, Built};
use auth::CredentialsOf;

/// It has to answer the first question within this time, as an engine behind ssh has.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(40);

/// A buildkitd. Connects on first use.
pub struct RemoteBuildKit {
    endpoint: BuildKitEndpoint,
    client: Result<Client, String>,
    /// Whose credentials builds get, for the registries that they use.
    registry: Arc<dyn Registry>,
    facts: OnceCell<BuildKitFacts>,
}

/// What a BuildKit says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildKitFacts {
    /// Its version, such as `v0.25.0`; a build of its developers' own says `v0.0.0+unknown` or the like.
    pub version: String,
    /// Platforms that it builds for, its own first, such as `linux/amd64`.
    pub platforms: Vec<String>,
}

impl RemoteBuildKit {
    /// The buildkitd at an endpoint. Builds get the credentials that `registry` has, each for the registries
    /// that it uses and for no others.
    pub fn at(endpoint: BuildKitEndpoint, registry: Arc<dyn Registry>) -> Self {
        let dial = EngineDial::to_buildkit(&endpoint.address, endpoint.tls.as_ref());
        Self { client: dial.map(Client::buildkitd), endpoint, registry, facts: OnceCell::new() }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &BuildKitEndpoint {
        &self.endpoint
    }

    /// What it says of itself. It is asked once.
    ///
    /// # Errors
    ///
    /// It does not answer, or is too old.
    pub async fn facts(&self) -> Result<BuildKitFacts, BackendError> {
        self.facts.get_or_try_init(|| self.ask()).await.cloned()
    }

    async fn ask(&self) -> Result<BuildKitFacts, BackendError> {
        let client = self.client()?;
        let asked = async {
            let version = client.version().await?;
            Ok((version, client.workers().await?))
        };
        let asked = match tokio::time::timeout(CONNECT_TIMEOUT, asked).await {
            Ok(asked) => asked.map_err(|error| self.failed(&error))?,
            Err(_) => {
                let message = format!("no answer within {} seconds", CONNECT_TIMEOUT.as_secs());
                return Err(self.unavailable(&message));
            }
        };
        let (version, workers) = asked;
        // What is older reads Dockerfiles differently: it takes the lines of a heredoc for instructions.
        let version = version.ok_or_else(|| {
            let message = format!("the BuildKit at {} is older than 0.11", self.endpoint);
            BackendError::new(BackendErrorKind::Unsupported, message)
        })?;
        let platforms = workers.into_iter().next().map(|worker| worker.platforms);
        Ok(BuildKitFacts { version, platforms: platforms.unwrap_or_default() })
    }

    fn client(&self) -> Result<&Client, BackendError> {
        self.client.as_ref().map_err(|reason| self.unavailable(reason))
    }

    /// Has it build and push once.
    async fn solve(
        &self,
        build: &Build,
        request: &BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<Digest, Failed> {
        let mut progress = Progress::of(request, observer);
        let built = self
            .client()?
            .build(build, &mut |status| {
                progress.take(status);
                match progress.unkeyed_image() {
                    Some(_) => ControlFlow::Break(()),
                    None => ControlFlow::Continue(()),
                }
            })
            .await;
        if let Some(image) = progress.unkeyed_image() {
            let message = format!(
                "it uses the image {image}, which is not in its key: BuildKit reads the Dockerfile \
                 differently"
            );
            return Err(BackendError::new(BackendErrorKind::Build, message).into());
        }
        let error = match built {
            Ok(built) => {
                let digest = built.digest().and_then(|digest| digest.parse().ok());
                return digest.ok_or_else(|| {
                    let message = "it was built, and BuildKit says no digest of what it pushed";
                    BackendError::new(BackendErrorKind::Engine, message).into()
                });
            }
            Err(error) => error,
        };
        if error.kind() != ErrorKind::Build {
            return Err(self.failed(&error).into());
        }
        let of_a_command = progress.is_of_a_command(error.message());
        let message = progress.failure().unwrap_or_else(|| error.message().to_owned());
        let kind = if !of_a_command && is_of_the_push(&message, error.message()) {
            passing::kind_of_failed_push(error.message())
        } else {
            BackendErrorKind::Build
        };
        let may_be_the_sources = kind == BackendErrorKind::Build && !of_a_command;
        Err(Failed { error: BackendError::new(kind, message), may_be_the_sources })
    }

    fn unavailable(&self, reason: &str) -> BackendError {
        BackendError::new(BackendErrorKind::Unavailable, format!("{reason} at {}", self.endpoint))
    }

    fn failed(&self, error: &ClientError) -> BackendError {
        let kind = match error.kind() {
            ErrorKind::Unavailable => return self.unavailable(error.message()),
            ErrorKind::Refused => BackendErrorKind::Forbidden,
            ErrorKind::Context => {
                return BackendError::new(BackendErrorKind::Context, error.message());
            }
            ErrorKind::Unsupported => BackendErrorKind::Unsupported,
            ErrorKind::Build | ErrorKind::Stopped => BackendErrorKind::Build,
            _ => BackendErrorKind::Engine,
        };
        BackendError::new(kind, format!("{} (BuildKit at {})", error.message(), self.endpoint))
    }
}

/// Whether a build failed when everything was built: `step` is what failed, `error` BuildKit's last word.
fn is_of_the_push(step: &str, error: &str) -> bool {
    step.starts_with("exporting to image") || error.starts_with("failed to push")
}

#[async_trait]
impl BuildBackend for RemoteBuildKit {
    async fn build(
        &self,
        request: BuildRequest,
        observer: &dyn BuildObserver,
    ) -> Result<Built, BackendError> {
        self.facts().await?;
        let mut images = request.keyed_images.iter().chain([&request.name]);
        if let Some(image) = images.find(|image| image.repository().host().layout().is_some()) {
            let message = format!(
                "{image} lies in a layout of this machine, and the BuildKit at {} knows registries alone",
                self.endpoint
            );
            return Err(BackendError::new(BackendErrorKind::Unsupported, message));
        }
        let repository = request.name.repository().to_string();
        let mut build = sending::build(&request)?;
        build.output = Output::Push { repository, by_digest: true, insecure: false };
        build.registry_auth =
            Some(Arc::new(CredentialsOf::new(Arc::clone(&self.registry), &request)));
        build.cache_exports = cache_exports(&request);
        let request = &request;
        let solve = |sources: Vec<String>| {
            let cache_imports = sources.into_iter().map(CacheEntry::registry).collect();
            let build = Build { cache_imports, ..build.clone() };
            async move { self.solve(&build, request, observer).await }
        };
        layers::with_or_without(cache_sources(request), observer, solve).await.map(Built::Pushed)
    }

    async fn platforms(&self) -> Result<BTreeSet<Platform>, BackendError> {
        let facts = self.ask().await?;
        // What has no name here is nothing that anybody could ask for.
        Ok(facts.platforms.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn keeps_layers(&self) -> bool {
        true
    }
}

/// Layers that are kept are those of all stages, so they come first.
fn cache_sources(request: &BuildRequest) -> Vec<String> {
    if !request.layer_cache {
        return Vec::new();
    }
    let sources = request.kept_layers.iter().chain(&request.cache_sources);
    sources.map(|source| source.image.to_string()).collect()
}

fn cache_exports(request: &BuildRequest) -> Vec<CacheEntry> {
    if let Some(place) = &request.keep_layers {
        let mut entry = CacheEntry::registry(place.to_string());
        let options = [("mode", "max"), ("oci-mediatypes", "true"), ("ignore-error", "true")];
        entry.attributes.extend(options.map(|(name, value)| (name.to_owned(), value.to_owned())));
        return vec![entry];
    }
    if request.export_cache { vec![CacheEntry::inline()] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_a_push_are_told_from_those_of_a_build() {
        for (step, error, of_the_push) in [
            ("exporting to image: unexpected status", "failed to push r/x: 503", true),
            ("failed to push r/x: denied", "failed to push r/x: denied", true),
            ("[2/2] COPY a b: not found", "failed to compute cache key", false),
            ("[2/2] RUN echo failed to push: exit code: 1", "process \"x\" did not", false),
        ] {
            assert_eq!(is_of_the_push(step, error), of_the_push, "{step}");
        }
    }
}
