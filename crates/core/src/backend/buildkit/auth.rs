//! What BuildKit gets of dockit's credentials: those for the registries that a build uses.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use dockit_buildkit::{Login, RegistryAuth};
use dockit_registry::{Credential, Registry, RegistryHost};

use crate::backend::BuildRequest;
use crate::backend::docker::session_auth::login;

/// How BuildKit names the registry that is called `docker.io`.
const DOCKER_HUB: [&str; 2] = ["registry-1.docker.io", "docker.io"];

/// Answers BuildKit's questions during one build. A credential is got when it is asked for, since one
/// from the beginning of a long build may have expired at its end.
pub(super) struct CredentialsOf {
    registry: Arc<dyn Registry>,
    /// For no other host is there an answer: what a daemon asks for beyond that, the build does not need.
    hosts: BTreeSet<RegistryHost>,
}

impl CredentialsOf {
    pub(super) fn new(registry: Arc<dyn Registry>, request: &BuildRequest) -> Self {
        let images = request.keyed_images.iter().chain([&request.name]);
        let layers = request.cache_sources.iter().chain(&request.kept_layers);
        let references =
            images.chain(layers.map(|source| &source.image)).chain(&request.keep_layers);
        let hosts = references.map(|reference| reference.repository().host().clone()).collect();
        Self { registry, hosts }
    }
}

#[async_trait]
impl RegistryAuth for CredentialsOf {
    async fn login(&self, host: &str) -> Result<Option<Login>, String> {
        let asked = if DOCKER_HUB.contains(&host) { "docker.io" } else { host };
        let asked = asked.parse::<RegistryHost>();
        let Some(host) = asked.ok().filter(|asked| self.hosts.contains(asked)) else {
            return Ok(None);
        };
        let credential = self.registry.credential(&host).await;
        let credential = credential.map_err(|error| error.to_string())?;
        match login(&credential) {
            None if !matches!(credential, Credential::Anonymous) => {
                Err(format!("the credential for {host} is a token that BuildKit cannot be given"))
            }
            told => Ok(told),
        }
    }
}
