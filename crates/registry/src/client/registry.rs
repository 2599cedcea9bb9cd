//! What dockit asks of a registry.

use async_trait::async_trait;
use bytes::Bytes;

use super::credential::Credential;
use super::provider::Created;
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{Descriptor, RawManifest};
use crate::reference::{Reference, RegistryHost, Repository, Tag};

/// Registries, as far as keying, building and pushing images need them.
///
/// [`Client`](super::Client) is the implementation over HTTP; tests write their own.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Whether the registry holds a manifest under this reference: `Some` is present, `None` is a
    /// proven "absent" (the manifest endpoint's own 404).
    ///
    /// # Errors
    ///
    /// Everything that proves neither: refusals, rate limits, failures, garbage.
    async fn head_manifest(
        &self,
        reference: &Reference,
        access: Access,
    ) -> Result<Option<ManifestHead>, Error>;

    /// The manifest under this reference, checked against its digest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it is absent, and as
    /// [`head_manifest`](Self::head_manifest).
    async fn manifest(&self, reference: &Reference) -> Result<RawManifest, Error>;

    /// Puts a tag on a manifest, whose bytes are sent as they are. Success if the tag is on it
    /// already. What the manifest points to has to be in the repository.
    ///
    /// # Errors
    ///
    /// The registry refused, or says that it stored something else.
    async fn put_manifest(
        &self,
        repository: &Repository,
        tag: &Tag,
        manifest: &RawManifest,
    ) -> Result<Digest, Error>;

    /// Puts a tag on a manifest as [`put_manifest`](Self::put_manifest) does, unless somebody else has put
    /// it on another one than `expected` meanwhile, and says what the tag is on then. A tag that is not
    /// there is put.
    ///
    /// Only what compares and writes in one step can do so, as a layout does. Of a registry no request
    /// does it: there the tag is put in any case, and who has to know whose it is looks a while later.
    ///
    /// # Errors
    ///
    /// As [`put_manifest`](Self::put_manifest).
    async fn put_manifest_if(
        &self,
        repository: &Repository,
        tag: &Tag,
        manifest: &RawManifest,
        expected: Option<&Digest>,
    ) -> Result<Digest, Error> {
        let _ = expected;
        self.put_manifest(repository, tag, manifest).await
    }

    /// A blob of at most `limit` bytes, checked against its digest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it is absent,
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if it is larger.
    async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: u64,
    ) -> Result<Bytes, Error>;

    /// Writes a blob, which is held in memory and sent in one piece, unless it is there already.
    ///
    /// # Errors
    ///
    /// The registry refused, or says that it stored something else.
    async fn put_blob(&self, repository: &Repository, bytes: Bytes) -> Result<Digest, Error>;

    /// Puts a manifest or index that has a subject, under its digest alone, so that it is among the
    /// [`referrers`](Self::referrers) of that subject. The blobs that it points to have to be in the
    /// repository.
    ///
    /// Where the registry does not list referrers itself, clients keep the list, and two that write
    /// it at the same time see that neither entry is lost, as far as that can be seen.
    ///
    /// # Errors
    ///
    /// The registry refused; or the manifest is there, but could not be put into the list.
    async fn put_referrer(
        &self,
        repository: &Repository,
        manifest: &RawManifest,
    ) -> Result<Digest, Error>;

    /// The manifests that refer to `subject`, of this artifact type or of every one, in no order.
    ///
    /// # Errors
    ///
    /// The registry did not say. One that knows neither the subject nor a list has none.
    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error>;

    /// Whether this repository has to be made before it can be pushed to. Registries whose repositories
    /// are made by pushing are not asked.
    ///
    /// # Errors
    ///
    /// The registry did not say.
    async fn lacks_repository(&self, repository: &Repository) -> Result<bool, Error>;

    /// Makes a repository that [has to be made](Self::lacks_repository).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported): repositories of this registry are made
    /// by pushing, or elsewhere.
    async fn create_repository(&self, repository: &Repository) -> Result<Created, Error>;

    /// The credential for this host, for an engine that pushes or pulls by itself.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Credential`](crate::ErrorKind::Credential): it could not be read.
    async fn credential(&self, host: &RegistryHost) -> Result<Credential, Error>;
}

/// What a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Reading.
    Pull,
    /// Reading now, and perhaps writing later. Registries that hide what they hold answer "denied"
    /// to readers where they answer "absent" to writers, so a lookup that may lead to a push has to
    /// ask as a writer.
    PullPush,
}

/// What a registry says about a manifest without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// The digest.
    pub digest: Digest,
    /// The media type.
    pub media_type: String,
    /// The size in bytes, where the registry said it.
    pub size: Option<u64>,
}
