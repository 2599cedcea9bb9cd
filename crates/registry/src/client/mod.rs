//! The client: the trait, its implementation over HTTP, and where credentials come from.

mod blobs;
mod builder;
mod credential;
mod docker_config;
mod manifests;
mod referrers;
mod registry;
mod resolve;
mod transport;
mod uploads;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use builder::ClientBuilder;
pub use credential::{Credential, CredentialError, CredentialSource, NoCredentials, Secret};
pub use docker_config::{ConfigLocation, DockerConfig, Erased, Keeper};
pub use registry::{Access, ManifestHead, Registry};
pub use resolve::{ResolvedImage, resolve_image};
pub use transport::RetryPolicy;

use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{Descriptor, RawManifest};
use crate::reference::{Reference, RegistryHost, Repository, Tag};
use transport::Transport;

/// Talks to registries over HTTP, by the OCI distribution spec.
///
/// Cheap to clone; clones share connections, tokens and limits. At most 16 requests to one host run
/// at a time.
///
/// Registries are spoken to over HTTPS, except the hosts that
/// [`insecure_hosts`](ClientBuilder::insecure_hosts) names and those on loopback, which are spoken to
/// over plain HTTP unless their port is 443. Credentials are sent to the registry itself and to the
/// token server that it names, never along a redirect to another origin.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
}

impl Client {
    /// Starts with no credentials and default limits.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").finish_non_exhaustive()
    }
}

#[async_trait]
impl Registry for Client {
    async fn head_manifest(
        &self,
        reference: &Reference,
        access: Access,
    ) -> Result<Option<ManifestHead>, Error> {
        manifests::head(&self.transport, reference, access).await
    }

    async fn manifest(&self, reference: &Reference) -> Result<RawManifest, Error> {
        manifests::get(&self.transport, reference).await
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        tag: &Tag,
        manifest: &RawManifest,
    ) -> Result<Digest, Error> {
        manifests::put(&self.transport, repository, tag, manifest).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: u64,
    ) -> Result<Bytes, Error> {
        blobs::get(&self.transport, repository, digest, limit).await
    }

    async fn put_blob(&self, repository: &Repository, bytes: Bytes) -> Result<Digest, Error> {
        uploads::put(&self.transport, repository, &bytes).await
    }

    async fn put_referrer(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
    ) -> Result<Digest, Error> {
        referrers::put(&self.transport, repository, manifest).await
    }

    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>, Error> {
        referrers::list(&self.transport, repository, subject, artifact_type).await
    }

    async fn credential(&self, host: &RegistryHost) -> Result<Credential, Error> {
        self.transport.credential(host).await
    }
}
