//! The seam between a copy and what it reads from and writes to.

use async_trait::async_trait;

use crate::blob::{BlobSource, BlobStream, Delivery};
use crate::digest::Digest;
use crate::error::Error;
use crate::location::Location;
use crate::manifest::{Descriptor, RawManifest};
use crate::reference::Repository;

/// One image's place: a reference in a registry, or a name in an OCI layout, with everything stored
/// beside it.
///
/// The place's *name* is its tag, its name in the layout, or its digest. Manifests and blobs are known
/// by their digests alone.
#[async_trait]
pub trait ImagePlace: Send + Sync {
    /// Where it is.
    fn location(&self) -> &Location;

    /// The repository, if it is one of a registry; others of the same registry can mount its blobs.
    fn repository(&self) -> Option<&Repository> {
        match self.location() {
            Location::Registry(reference) => Some(reference.repository()),
            Location::Layout(_) => None,
        }
    }

    /// Whether a manifest that is here proves that its blobs are, too. Registries refuse a manifest
    /// whose blobs they lack; a layout is a directory that may have lost or never had some.
    fn vouches_for_blobs(&self) -> bool {
        matches!(self.location(), Location::Registry(_))
    }

    /// The digest that has the place's name; `None` is a proven "absent".
    ///
    /// # Errors
    ///
    /// Everything that proves neither.
    async fn named_digest(&self) -> Result<Option<Digest>, Error>;

    /// The manifest that has the place's name, checked against its digest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is none.
    async fn named(&self) -> Result<RawManifest, Error>;

    /// The manifest of this digest, checked against it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is none.
    async fn manifest(&self, digest: &Digest) -> Result<RawManifest, Error>;

    /// Whether a manifest of this digest is there.
    ///
    /// # Errors
    ///
    /// Everything that proves neither.
    async fn has_manifest(&self, digest: &Digest) -> Result<bool, Error>;

    /// The blob, whose size and digest the stream checks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is none.
    async fn blob(&self, blob: &Descriptor) -> Result<BlobStream, Error>;

    /// The manifests that refer to `subject`, of every type, in no order.
    ///
    /// # Errors
    ///
    /// The place did not say.
    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error>;

    /// Puts a blob here unless it is there. Where the registry can take it from its repository
    /// `mount_from`, `source` is not opened.
    ///
    /// # Errors
    ///
    /// The place refused, what came from `source` is not the blob, or `source` failed.
    async fn put_blob(
        &self,
        blob: &Descriptor,
        source: &dyn BlobSource,
        mount_from: Option<&Repository>,
    ) -> Result<Delivery, Error>;

    /// Puts a manifest here, byte for byte. What it points to has to be there. With a subject, it is
    /// among that one's referrers afterwards.
    ///
    /// # Errors
    ///
    /// The place refused, or says that it stored something else.
    async fn put_manifest(&self, manifest: &RawManifest) -> Result<(), Error>;

    /// Gives a manifest, which is put here as well, the place's name. Does nothing if it has it.
    ///
    /// # Errors
    ///
    /// The place refused; or its name is the digest of another manifest
    /// ([`ErrorKind::DigestMismatch`](crate::ErrorKind::DigestMismatch)).
    async fn put_named(&self, manifest: &RawManifest) -> Result<(), Error>;
}
