//! What is asked of one repository in a layout.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{LayoutHost, read_blob, write_blob};
use crate::blob::{BlobSource, BlobStream, Delivery};
use crate::client::deletion::Deleted;
use crate::client::provider::Deletion;
use crate::client::registry::ManifestHead;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::layout::{DEFAULT_GRACE, Layout, Unwanted};
use crate::manifest::{Descriptor, RawManifest};
use crate::reference::{Reference, RepositoryName, Tag};

/// A repository in a layout.
#[derive(Clone)]
pub(crate) struct LayoutRepository {
    pub(super) host: LayoutHost,
    pub(super) name: RepositoryName,
}

impl LayoutRepository {
    /// Where the layout's directory is.
    pub(crate) fn path(&self) -> &Path {
        self.host.path()
    }

    pub(in crate::client) async fn head(
        &self,
        reference: &Reference,
    ) -> Result<Option<ManifestHead>, Error> {
        let found = self.find(reference).await?;
        Ok(found.map(|raw| ManifestHead {
            digest: raw.digest().clone(),
            media_type: raw.media_type().to_owned(),
            size: Some(raw.bytes().len() as u64),
        }))
    }

    pub(in crate::client) async fn manifest(
        &self,
        reference: &Reference,
    ) -> Result<RawManifest, Error> {
        let found = self.find(reference).await?;
        found.ok_or_else(|| self.absent(format!("no manifest {reference}")))
    }

    async fn find(&self, reference: &Reference) -> Result<Option<RawManifest>, Error> {
        let (name, reference) = (self.name.clone(), reference.clone());
        let found = self.host.read(move |layout| {
            let found = match reference.digest() {
                Some(digest) => layout.manifest_in(&name, digest)?,
                None => layout.tagged_manifest(&name, &reference.tag_or_latest())?,
            };
            // What is none has a digest as well.
            if let Some(found) = &found {
                found.parse()?;
            }
            Ok(found)
        });
        Ok(found.await?.flatten())
    }

    fn absent(&self, what: String) -> Error {
        Error::new(ErrorKind::NotFound, what).of_host(&self.host.host)
    }

    pub(in crate::client) async fn put_tag(
        &self,
        tag: &Tag,
        manifest: &RawManifest,
    ) -> Result<Digest, Error> {
        let (name, tag, raw) = (self.name.clone(), tag.clone(), manifest.clone());
        self.host.write(move |layout| layout.put_tag(&name, &tag, &raw)).await?;
        Ok(manifest.digest().clone())
    }

    pub(in crate::client) async fn put_tag_if(
        &self,
        tag: &Tag,
        manifest: &RawManifest,
        expected: Option<&Digest>,
    ) -> Result<Digest, Error> {
        let (name, tag, raw) = (self.name.clone(), tag.clone(), manifest.clone());
        let expected = expected.cloned();
        let put = move |layout: &Layout| layout.put_tag_if(&name, &tag, &raw, expected.as_ref());
        self.host.write(put).await
    }

    pub(in crate::client) async fn put_untagged(
        &self,
        manifest: &RawManifest,
    ) -> Result<Digest, Error> {
        let (name, raw) = (self.name.clone(), manifest.clone());
        self.host.write(move |layout| layout.put_untagged(&name, &raw)).await?;
        Ok(manifest.digest().clone())
    }

    pub(in crate::client) async fn put_referrer(
        &self,
        manifest: &RawManifest,
    ) -> Result<Digest, Error> {
        if manifest.parse()?.subject().is_none() {
            return Err(Error::new(ErrorKind::Invalid, "a referrer needs a subject"));
        }
        self.put_untagged(manifest).await
    }

    pub(in crate::client) async fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let (name, subject) = (self.name.clone(), subject.clone());
        let found = self.host.read(move |layout| layout.referrers_in(&name, &subject));
        let mut found = found.await?.unwrap_or_default();
        found.retain(|entry| {
            artifact_type.is_none() || entry.artifact_type.as_deref() == artifact_type
        });
        Ok(found)
    }

    pub(in crate::client) async fn blob(
        &self,
        digest: &Digest,
        limit: u64,
    ) -> Result<Bytes, Error> {
        let wanted = digest.clone();
        let read = self.host.read(move |layout| layout.small_blob(&wanted, limit)).await?;
        read.flatten()
            .map(Bytes::from)
            .ok_or_else(|| self.absent(format!("{}: no blob {digest}", self.path().display())))
    }

    pub(in crate::client) async fn blob_stream(
        &self,
        blob: &Descriptor,
    ) -> Result<BlobStream, Error> {
        let layout = self.host.read(|layout| Ok(layout.clone())).await?;
        let absent = || self.absent(format!("{}: no blob {}", self.path().display(), blob.digest));
        read_blob(&layout.ok_or_else(absent)?, blob)
            .await
            .map_err(|error| error.of_host(&self.host.host))
    }

    pub(in crate::client) async fn has_blob(&self, digest: &Digest) -> Result<bool, Error> {
        let wanted = digest.clone();
        let size = self.host.read(move |layout| layout.size_of(&wanted)).await?;
        Ok(size.flatten().is_some())
    }

    /// Puts a blob into the layout, of which each repository has all blobs.
    pub(in crate::client) async fn push_blob(
        &self,
        blob: &Descriptor,
        source: &dyn BlobSource,
    ) -> Result<Delivery, Error> {
        let layout = self.host.write(|layout| Ok(layout.clone())).await?;
        write_blob(&layout, blob, source).await
    }

    pub(in crate::client) async fn put_blob(&self, bytes: &Bytes) -> Result<Digest, Error> {
        let blob =
            Descriptor::new("application/octet-stream", Digest::of(bytes), bytes.len() as u64);
        self.push_blob(&blob, bytes).await?;
        Ok(blob.digest)
    }

    /// Whether files can be made where the layout is, or is to be.
    pub(in crate::client) async fn check_push(&self) -> Result<(), Error> {
        let path = self.path().to_owned();
        let check = move |layout: Option<Layout>| match layout {
            Some(layout) => layout.check_writable(),
            None => check_parent(&path),
        };
        let checked = self.host.run(false, check).await;
        checked.map_err(|error| match error.kind() {
            ErrorKind::Storage => error.with_kind(ErrorKind::Denied),
            _ => error,
        })
    }

    /// Deletes these items, with a result for each, and then removes the blobs that nothing has led to
    /// for a day.
    pub(in crate::client) async fn delete(
        &self,
        items: Vec<Unwanted>,
    ) -> Result<Vec<Result<Deleted, Error>>, Error> {
        self.delete_and_sweep(items, false).await
    }

    async fn delete_and_sweep(
        &self,
        items: Vec<Unwanted>,
        single: bool,
    ) -> Result<Vec<Result<Deleted, Error>>, Error> {
        let (layouts, path) = (Arc::clone(&self.host.layouts), self.path().to_owned());
        let (name, count) = (self.name.clone(), items.len());
        let deleted = self.host.read(move |layout| {
            let results = layout.delete(&name, &items)?;
            let any = results.iter().any(|result| matches!(result, Ok(true)));
            if any && layouts.is_sweep_due(&path, single) {
                // What was to go is gone: what is left over is swept the next time.
                match layout.sweep(DEFAULT_GRACE) {
                    Ok(sweep) => tracing::debug!(?sweep, path = ?layout.directory(), "swept"),
                    Err(error) => tracing::warn!(%error, "blobs that nothing needs were left"),
                }
            }
            Ok(results)
        });
        let results = match deleted.await? {
            Some(results) => results,
            None => (0..count).map(|_| Ok(false)).collect(),
        };
        let host = &self.host.host;
        let outcome = |there: bool| if there { Deleted::Done } else { Deleted::Absent };
        let results = results.into_iter();
        Ok(results.map(|result| result.map(outcome).map_err(|error| error.of_host(host))).collect())
    }

    /// Deletes one item. The layout is swept afterwards unless that happened within the last minute: what
    /// is left over goes with the next sweep.
    pub(in crate::client) async fn delete_one(&self, item: Unwanted) -> Result<Deleted, Error> {
        let mut results = self.delete_and_sweep(vec![item], true).await?;
        results.pop().unwrap_or(Ok(Deleted::Absent))
    }
}

impl From<&Deletion> for Unwanted {
    fn from(item: &Deletion) -> Self {
        match item {
            Deletion::Tag(tag) => Self::Tag(tag.clone()),
            Deletion::Manifest(digest) => Self::Manifest(digest.clone()),
        }
    }
}

/// Sees that a directory could be made, in the first one above it that is there.
fn check_parent(path: &Path) -> Result<(), Error> {
    let absolute = std::path::absolute(path);
    let above: PathBuf = absolute
        .as_deref()
        .unwrap_or(path)
        .ancestors()
        .find(|above| above.exists())
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    tempfile::tempfile_in(&above).map(drop).map_err(|error| {
        let message = format!("{}: cannot be made: {error}", path.display());
        Error::new(ErrorKind::Storage, message)
    })
}
