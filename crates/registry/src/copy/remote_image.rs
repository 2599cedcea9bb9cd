//! An image in a registry, as a place of copies.

use async_trait::async_trait;

use super::place::ImagePlace;
use crate::blob::{BlobSource, BlobStream, Delivery};
use crate::client::{Access, Client, Registry as _};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::layout::{LayoutName, LayoutReference};
use crate::location::Location;
use crate::manifest::{Descriptor, RawManifest};
use crate::reference::{Reference, Repository};

/// An image in a registry. Its name is the reference's digest, or else its tag, or else `latest`.
///
/// The registry may be a layout, whose directory is the place's location then. Beside a
/// [`LayoutImage`](super::LayoutImage) of the same name it says when tags were put, and keeps
/// repositories apart.
pub struct RemoteImage {
    client: Client,
    reference: Reference,
    location: Location,
    access: Access,
}

impl RemoteImage {
    /// An image to read. Nothing is asked yet.
    pub fn new(client: Client, reference: Reference) -> Self {
        Self::with_access(client, reference, Access::Pull)
    }

    /// An image to write. Rights to write are asked for from the first request on, because registries
    /// that hide what they hold say "denied" to readers where they say "absent" to writers.
    pub fn to_write(client: Client, reference: Reference) -> Self {
        Self::with_access(client, reference, Access::PullPush)
    }

    fn with_access(client: Client, reference: Reference, access: Access) -> Self {
        let reference = reference.or_latest();
        let location = match client.in_layout(reference.repository()) {
            None => Location::Registry(reference.clone()),
            Some(layout) => {
                let name = reference
                    .tag()
                    .map(|tag| LayoutName::of_tag(reference.repository().name(), tag));
                let path = layout.path().to_owned();
                let at = LayoutReference::new(path, name, reference.digest().cloned());
                Location::Layout(at)
            }
        };
        Self { client, reference, location, access }
    }

    fn repository(&self) -> &Repository {
        self.reference.repository()
    }

    fn by_digest(&self, digest: &Digest) -> Reference {
        self.repository().with_digest(digest.clone())
    }
}

#[async_trait]
impl ImagePlace for RemoteImage {
    fn location(&self) -> &Location {
        &self.location
    }

    async fn named_digest(&self) -> Result<Option<Digest>, Error> {
        // Whoever writes wants to know where the tag is, also if the digest is said beside it.
        let reference = match (self.access, self.reference.tag()) {
            (Access::PullPush, Some(tag)) => &self.repository().with_tag(tag.clone()),
            _ => &self.reference,
        };
        let head = self.client.head_manifest(reference, self.access).await?;
        Ok(head.map(|head| head.digest))
    }

    async fn named(&self) -> Result<RawManifest, Error> {
        self.client.manifest_as(&self.reference, self.access).await
    }

    async fn manifest(&self, digest: &Digest) -> Result<RawManifest, Error> {
        self.client.manifest_as(&self.by_digest(digest), self.access).await
    }

    async fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        let head = self.client.head_manifest(&self.by_digest(digest), self.access).await?;
        Ok(head.is_some())
    }

    async fn blob(&self, blob: &Descriptor) -> Result<BlobStream, Error> {
        self.client.blob_stream(self.repository(), blob).await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        self.client.referrers_as(self.repository(), subject, self.access).await
    }

    async fn put_blob(
        &self,
        blob: &Descriptor,
        source: &dyn BlobSource,
        mount_from: Option<&Repository>,
    ) -> Result<Delivery, Error> {
        self.client.push_blob(self.repository(), blob, source, mount_from).await
    }

    async fn put_manifest(&self, manifest: &RawManifest) -> Result<(), Error> {
        self.client.put_manifest_at_digest(self.repository(), manifest).await.map(drop)
    }

    async fn put_named(&self, manifest: &RawManifest) -> Result<(), Error> {
        if self.reference.digest().is_some_and(|wanted| wanted != manifest.digest()) {
            let message = format!("{} cannot be {}", self.reference, manifest.digest());
            return Err(Error::new(ErrorKind::DigestMismatch, message));
        }
        // So that it is listed, which putting a tag on it does not see to.
        if self.reference.tag().is_none() || manifest.parse()?.subject().is_some() {
            self.put_manifest(manifest).await?;
        }
        match self.reference.tag() {
            Some(tag) => self.client.put_manifest(self.repository(), tag, manifest).await.map(drop),
            None => Ok(()),
        }
    }
}
