//! The client: the trait, its implementation over HTTP, and where credentials come from.

mod blob;
mod builder;
mod ci_credentials;
mod credential;
mod delete_all;
mod deletion;
mod docker_config;
mod identity;
pub(crate) mod layouts;
mod link;
mod listing;
mod lists;
mod manifests;
mod ping;
mod provider;
mod referrers;
mod registry;
mod resolve;
mod retag;
mod tag_lists;
mod transport;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryFutureExt as _;
use futures_util::stream::{BoxStream, StreamExt as _};

pub use builder::ClientBuilder;
pub use ci_credentials::CiCredentials;
pub use credential::{
    Credential, CredentialChain, CredentialError, CredentialSource, Issued, NoCredentials, Secret,
};
pub use delete_all::DeletionResult;
pub use deletion::Deleted;
pub use docker_config::{ConfigLocation, DockerConfig, Erased, Keeper};
#[cfg(feature = "aws")]
pub use identity::AwsEnvironment;
#[cfg(feature = "azure")]
pub use identity::AzureIdentity;
pub use identity::{AccessToken, AwsIdentity, AwsKeys, TokenIdentity};
#[cfg(feature = "google")]
pub use identity::{GoogleIdentity, GoogleMetadata, GoogleSettings};
pub use listing::{ListEntry, ListedTime, TimeSource};
pub use ping::Ping;
pub use provider::{Created, Deletion};
pub use registry::{Access, ManifestHead, Registry};
pub use resolve::{ImageChoice, PlatformImage, ResolvedImage, choose_image, resolve_image};
pub use retag::{Retag, RetaggedTag, TagChange};
pub use tag_lists::TagLists;
pub use transport::{Limits, RetryPolicy};

use crate::blob::{BlobSource, BlobStream, Delivery};
use crate::capabilities::Capabilities;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::layout::Unwanted;
use crate::manifest::{Descriptor, RawManifest};
use crate::provider::ProviderKind;
use crate::reference::{Reference, RegistryHost, Repository, Tag};
use blob::upload::Presence;
use layouts::Layouts;
use provider::At;
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
///
/// A repository that lies in a [layout](RegistryHost::in_layout) is a directory of this machine, to which
/// the same is done without any request. A directory that is missing is a registry that holds nothing;
/// the first write makes it.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    layouts: Arc<Layouts>,
}

impl Client {
    /// Starts with no credentials and default limits.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// A blob, in pieces. Its size and digest are checked as it passes; a connection that was cut is made
    /// anew, and the blob goes on where it ended. Only a stream that ended without an error was the blob.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it is absent;
    /// [`ErrorKind::DigestMismatch`](crate::ErrorKind::DigestMismatch), here or in the stream, if it is
    /// another.
    pub async fn blob_stream(
        &self,
        repository: &Repository,
        blob: &Descriptor,
    ) -> Result<BlobStream, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.blob_stream(blob).await;
        }
        blob::stream(&self.transport, repository, blob).await
    }

    /// Whether a repository holds a blob.
    ///
    /// # Errors
    ///
    /// The registry said neither.
    pub async fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.has_blob(digest).await;
        }
        match blob::upload::look_for(&self.transport, repository, digest, None).await? {
            Presence::Present => Ok(true),
            Presence::Absent => Ok(false),
            Presence::Unknown(error) => Err(error),
        }
    }

    /// Whether this client may write to a repository, found out by beginning an upload and giving it up:
    /// tokens do not say what they are good for.
    ///
    /// # Errors
    ///
    /// It may not, or the registry did not say. [`ErrorKind::NotFound`]: there is no such repository.
    pub async fn check_push(&self, repository: &Repository) -> Result<(), Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.check_push().await;
        }
        blob::upload::check(&self.transport, repository).await
    }

    /// Puts a blob into a repository, unless it is there. If another repository of the same registry is
    /// named, the registry is asked to take it from there first; who may not read that one, or a registry
    /// that cannot, gets the bytes.
    ///
    /// The source is opened again if the upload has to begin again. A blob is sent in one request; in
    /// several, of 16 MiB each, after it was cut twice or refused for its size, where the registry is
    /// not known to refuse that ([`Capabilities::chunked_uploads`]).
    ///
    /// # Errors
    ///
    /// The registry refused, or the source failed;
    /// [`ErrorKind::DigestMismatch`](crate::ErrorKind::DigestMismatch): the source holds another blob,
    /// of which the registry has not got all bytes, or the registry stored another.
    pub async fn push_blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        source: &dyn BlobSource,
        mount_from: Option<&Repository>,
    ) -> Result<Delivery, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.push_blob(blob, source).await;
        }
        blob::upload::push(&self.transport, repository, blob, source, mount_from).await
    }

    /// As [`manifest`](Registry::manifest), asked with this access.
    pub(crate) async fn manifest_as(
        &self,
        reference: &Reference,
        access: Access,
    ) -> Result<RawManifest, Error> {
        if let Some(layout) = self.in_layout(reference.repository()) {
            return layout.manifest(reference).await;
        }
        manifests::get_as(&self.transport, reference, access).await
    }

    /// As [`referrers`](Registry::referrers) of every type, asked with this access.
    pub(crate) async fn referrers_as(
        &self,
        repository: &Repository,
        subject: &Digest,
        access: Access,
    ) -> Result<Vec<Descriptor>, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.referrers(subject, None).await;
        }
        referrers::list(&self.transport, repository, subject, None, access).await
    }

    /// What is known of a registry without asking it.
    pub fn capabilities(&self, host: &RegistryHost) -> Capabilities {
        let known = ProviderKind::of_host(host).filter(|kind| *kind == ProviderKind::Layout);
        let known = known.or_else(|| self.transport.known_provider(host));
        known.unwrap_or(ProviderKind::Generic).capabilities()
    }

    /// Whose registry this is. One whose name does not tell is asked, once.
    ///
    /// # Errors
    ///
    /// The registry had to be asked and did not answer.
    pub async fn provider(&self, host: &RegistryHost) -> Result<ProviderKind, Error> {
        if host.layout().is_some() {
            return Ok(ProviderKind::Layout);
        }
        Ok(self.transport.provider(host).await?.kind())
    }

    /// Whether the registry takes the credential that there is for it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthorized`](crate::ErrorKind::Unauthorized): it does not, or wants one and there
    /// is none. Any other: nothing was learnt.
    pub async fn ping(&self, host: &RegistryHost) -> Result<Ping, Error> {
        if let Some(layout) = self.layout(host) {
            return layout.ping().await;
        }
        ping::ping(&self.transport, host).await
    }

    /// The tags of a repository, in the registry's order. A page is asked for when those before it were
    /// taken; one page is held at a time. Names that are no tags are left out, with a warning in the log.
    ///
    /// Errors end the stream: [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such
    /// repository.
    pub fn tags<'a>(&'a self, repository: &'a Repository) -> BoxStream<'a, Result<Tag, Error>> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.tags();
        }
        lists::tags(&self.transport, repository)
    }

    /// The repositories of a registry, as [`tags`](Self::tags). Many registries let only administrators
    /// list them, or nobody.
    pub fn repositories<'a>(
        &'a self,
        host: &'a RegistryHost,
    ) -> BoxStream<'a, Result<Repository, Error>> {
        if let Some(layout) = self.layout(host) {
            return layout.repositories(None);
        }
        let repositories = async move {
            let provider = self.transport.provider(host).await?;
            Ok(provider::repositories(provider, &self.transport, host))
        };
        repositories.try_flatten_stream().boxed()
    }

    /// The repositories at a path, if there is one, and below it, as [`repositories`](Self::repositories).
    /// Some registries list them only so: those of Google below `PROJECT` or `PROJECT/REPOSITORY`.
    pub fn repositories_below<'a>(
        &'a self,
        path: &'a Repository,
    ) -> BoxStream<'a, Result<Repository, Error>> {
        if let Some(layout) = self.layout(path.host()) {
            return layout.repositories(Some(path.name().clone()));
        }
        let repositories = async move {
            let provider = self.transport.provider(path.host()).await?;
            Ok(provider::repositories_below(provider, self.at(path)))
        };
        repositories.try_flatten_stream().boxed()
    }

    /// Everything that is in a repository, with what its registry knows of it, in no order. Vendors have
    /// lists of their own for this, which also name manifests without a tag; of others each tag is asked
    /// for by itself.
    ///
    /// Errors end the stream: [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such
    /// repository.
    pub fn entries<'a>(
        &'a self,
        repository: &'a Repository,
    ) -> BoxStream<'a, Result<ListEntry, Error>> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.entries();
        }
        let entries = async move {
            let provider = self.transport.provider(repository.host()).await?;
            Ok(provider::entries(provider, self.at(repository)))
        };
        entries.try_flatten_stream().boxed()
    }

    /// Deletes tags, and then manifests in this order, with as few requests as the vendor takes. What
    /// could not be deleted because something still points to it is tried once more when the rest is
    /// gone, as is what the vendor left out for a reason that may pass. There is a result for each item,
    /// in the order of the items.
    ///
    /// # Errors
    ///
    /// Nothing was deleted: the registry did not tell whose it is.
    pub async fn delete_all(
        &self,
        repository: &Repository,
        items: Vec<Deletion>,
    ) -> Result<Vec<DeletionResult>, Error> {
        if let Some(layout) = self.in_layout(repository) {
            let results = layout.delete(items.iter().map(Unwanted::from).collect()).await?;
            let results = items.into_iter().zip(results);
            return Ok(results.map(|(item, result)| DeletionResult { item, result }).collect());
        }
        let provider = self.transport.provider(repository.host()).await?;
        Ok(delete_all::delete_all(&*provider, self.at(repository), items).await)
    }

    /// The command of the vendor's own tool that makes this repository, where pushing to it does not.
    pub fn creation_command(&self, repository: &Repository) -> Option<String> {
        if repository.host().layout().is_some() {
            return None;
        }
        self.transport.known(repository.host())?.creation_command(repository)
    }

    fn at<'a>(&'a self, repository: &'a Repository) -> At<'a> {
        At { transport: &self.transport, repository }
    }

    /// Puts a manifest under its digest alone, unless it is there. With a subject, it is among that
    /// one's referrers afterwards.
    ///
    /// # Errors
    ///
    /// As [`put_manifest`](Registry::put_manifest) and [`put_referrer`](Registry::put_referrer).
    pub async fn put_manifest_at_digest(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
    ) -> Result<Digest, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.put_untagged(manifest).await;
        }
        if manifest.parse()?.subject().is_some() {
            referrers::put(&self.transport, repository, manifest).await
        } else {
            manifests::put_at_digest(&self.transport, repository, manifest).await
        }
    }

    /// Removes a tag, and nothing but the tag: its manifest stays, though registries may collect one
    /// without tags.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported): the registry deletes manifests only,
    /// with all their tags. [`ErrorKind::Immutable`](crate::ErrorKind::Immutable): not this tag.
    pub async fn delete_tag(&self, repository: &Repository, tag: &Tag) -> Result<Deleted, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.delete_one(Unwanted::Tag(tag.clone())).await;
        }
        let provider = self.transport.provider(repository.host()).await?;
        provider.delete_tag(self.at(repository), tag).await
    }

    /// Removes a tag from a registry that deletes manifests only: puts it on a manifest made for it
    /// alone, and deletes that one. The manifest it was on, which has to be `expected`, keeps its other
    /// tags. A registry without deletion refuses the second step; then the tag is put back. Whoever
    /// moves the tag between two of these requests loses it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`](crate::ErrorKind::DigestMismatch): the tag is on another manifest.
    /// Any other error says where the tag is now.
    pub async fn delete_tag_by_substitute(
        &self,
        repository: &Repository,
        tag: &Tag,
        expected: &Digest,
    ) -> Result<Deleted, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.delete_one(Unwanted::TagOn(tag.clone(), expected.clone())).await;
        }
        deletion::tag_by_substitute(&self.transport, repository, tag, expected).await
    }

    /// Deletes a manifest. Many registries remove all its tags with it; others refuse while it has one
    /// (see [`ManifestDeletion`](crate::ManifestDeletion)).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::StillTagged`](crate::ErrorKind::StillTagged),
    /// [`ErrorKind::StillReferenced`](crate::ErrorKind::StillReferenced): something has to go first.
    pub async fn delete_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Deleted, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.delete_one(Unwanted::Manifest(digest.clone())).await;
        }
        let provider = self.transport.provider(repository.host()).await?;
        provider.delete_manifest(self.at(repository), digest).await
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
        if let Some(layout) = self.in_layout(reference.repository()) {
            return layout.head(reference).await;
        }
        manifests::head(&self.transport, reference, access).await
    }

    async fn manifest(&self, reference: &Reference) -> Result<RawManifest, Error> {
        if let Some(layout) = self.in_layout(reference.repository()) {
            return layout.manifest(reference).await;
        }
        manifests::get(&self.transport, reference).await
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        tag: &Tag,
        manifest: &RawManifest,
    ) -> Result<Digest, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.put_tag(tag, manifest).await;
        }
        manifests::put(&self.transport, repository, tag, manifest).await
    }

    async fn put_manifest_if(
        &self,
        repository: &Repository,
        tag: &Tag,
        manifest: &RawManifest,
        expected: Option<&Digest>,
    ) -> Result<Digest, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.put_tag_if(tag, manifest, expected).await;
        }
        self.put_manifest(repository, tag, manifest).await
    }

    async fn lacks_repository(&self, repository: &Repository) -> Result<bool, Error> {
        // Behind the host names of Container Registry pushing makes what elsewhere has to be made.
        if self.creation_command(repository).is_none() {
            return Ok(false);
        }
        // Who may push need not be allowed to list, and some make a repository for the first upload.
        match self.check_push(repository).await {
            Ok(()) => Ok(false),
            Err(error) if *error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn create_repository(&self, repository: &Repository) -> Result<Created, Error> {
        if repository.host().layout().is_some() {
            let message = format!("{repository} is made by what is first put there");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let provider = self.transport.provider(repository.host()).await?;
        provider.create_repository(self.at(repository)).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: u64,
    ) -> Result<Bytes, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.blob(digest, limit).await;
        }
        blob::read::get(&self.transport, repository, digest, limit).await
    }

    async fn put_blob(&self, repository: &Repository, bytes: Bytes) -> Result<Digest, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.put_blob(&bytes).await;
        }
        blob::small::put(&self.transport, repository, &bytes).await
    }

    async fn put_referrer(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
    ) -> Result<Digest, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.put_referrer(manifest).await;
        }
        referrers::put(&self.transport, repository, manifest).await
    }

    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        if let Some(layout) = self.in_layout(repository) {
            return layout.referrers(subject, artifact_type).await;
        }
        referrers::list(&self.transport, repository, subject, artifact_type, Access::Pull).await
    }

    async fn credential(&self, host: &RegistryHost) -> Result<Credential, Error> {
        if host.layout().is_some() {
            return Ok(Credential::Anonymous);
        }
        self.transport.credential(host).await
    }
}
