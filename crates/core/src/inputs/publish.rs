//! Documents in a registry, hanging on the image that was built from them.
//!
//! A document is the only layer of an artifact (image spec 1.1, *Guidelines for Artifact Usage*) whose
//! subject is the image's manifest. When and from what it was made stands in the artifact's annotations:
//! in the image itself it would make equal images differ.

use std::collections::BTreeMap;

use bytes::Bytes;
use dockit_registry::manifest::{Descriptor, Manifest, media_type};
use dockit_registry::{Digest, RawManifest, Registry, Repository};
use serde_json::json;

use super::document::Document;
use super::origin::{CREATED, Origin};
use super::packed::{DocumentError, MAX_PACKED_SIZE};
use crate::key::ImageKey;

/// The artifact type under which documents are among an image's referrers.
pub const ARTIFACT_TYPE: &str = "application/vnd.dockit.inputs.v1+json";

/// The media type of the document itself, compressed.
pub const LAYER_TYPE: &str = "application/vnd.dockit.inputs.v1+json+gzip";

/// The config of what is no image, and its media type (image spec, *Guidance for an Empty Descriptor*).
pub(crate) const EMPTY: &[u8] = b"{}";
pub(crate) const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// The key of the image, in the annotations.
const KEY: &str = "dev.dockit.key";

/// How many referrers are looked at: anybody who may push can put more.
const MAX_CANDIDATES: usize = 32;

/// Largest manifest of a document; what dockit writes has less than 2 KiB.
pub(super) const MAX_MANIFEST_SIZE: u64 = 64 * 1024;

/// How many bytes of documents are fetched at most to find one.
const MAX_FETCHED: u64 = 4 * MAX_PACKED_SIZE;

/// Why a document could not be published or read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] dockit_registry::Error),
    /// The document.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// Puts a document into the repository of the image with this digest, as a referrer of it. Values that
/// are not [to be published](Document::published) must be hidden before.
///
/// # Errors
///
/// As [`PublishError`] says. The image itself is not touched.
pub async fn attach(
    registry: &dyn Registry,
    repository: &Repository,
    image: &Digest,
    document: &Document,
    origin: &Origin,
) -> Result<Digest, PublishError> {
    let packed = Bytes::from(document.pack()?);
    let subject = registry.manifest(&repository.with_digest(image.clone())).await?;
    let mut annotations = BTreeMap::from([(KEY, document.key().to_string())]);
    annotations.extend(origin.annotations());
    let manifest = artifact(&subject, ARTIFACT_TYPE, (LAYER_TYPE, &packed), &annotations);
    registry.put_blob(repository, Bytes::from_static(EMPTY)).await?;
    registry.put_blob(repository, packed).await?;
    Ok(registry.put_referrer(repository, &manifest).await?)
}

/// An artifact that hangs on an image: one layer, with its media type, and annotations.
pub(crate) fn artifact(
    subject: &RawManifest,
    artifact_type: &str,
    layer: (&str, &[u8]),
    annotations: &BTreeMap<&str, String>,
) -> RawManifest {
    let blob = |(media_type, bytes): (&str, &[u8])| {
        json!({
            "mediaType": media_type,
            "digest": Digest::of(bytes).as_str(),
            "size": bytes.len(),
        })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": blob((EMPTY_TYPE, EMPTY)),
        "layers": [blob(layer)],
        "subject": {
            "mediaType": subject.media_type(),
            "digest": subject.digest().as_str(),
            "size": subject.bytes().len(),
        },
        "annotations": annotations,
    });
    RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string())
}

/// The document of the image with this digest, if one of this key hangs on it. Several may: an image
/// that was built again from the same inputs has the same bytes. The smallest is taken, of equal ones
/// the newest, so that what somebody else hung there costs no more than the document itself.
///
/// # Errors
///
/// The registry did not answer; or something hangs on the image, but none of the 32 that are looked at
/// is the document of this key. Whoever may push can hang anything on an image, but nothing that has
/// its key.
pub async fn fetch(
    registry: &dyn Registry,
    repository: &Repository,
    image: &Digest,
    key: ImageKey,
) -> Result<Option<Document>, PublishError> {
    let mut candidates = registry.referrers(repository, image, Some(ARTIFACT_TYPE)).await?;
    // Lists need not repeat the annotations of what they list.
    let said = |entry: &Descriptor| entry.annotations.get(KEY).map(|said| *said == key.to_string());
    candidates.retain(|entry| said(entry) != Some(false));
    candidates.sort_by(|a, b| {
        let created = |entry: &Descriptor| entry.annotations.get(CREATED).cloned();
        said(b).cmp(&said(a)).then_with(|| created(b).cmp(&created(a)))
    });
    let mut failed = None;
    let mut layers = Vec::new();
    for candidate in candidates.into_iter().take(MAX_CANDIDATES) {
        match layer(registry, repository, &candidate).await {
            Ok(layer) => layers.push(layer),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    layers.sort_by_key(|layer| layer.size);
    let mut left = MAX_FETCHED;
    for layer in layers {
        let Some(rest) = left.checked_sub(layer.size) else {
            failed = failed.or(Some(DocumentError::TooLarge(MAX_FETCHED).into()));
            break;
        };
        left = rest;
        match read(registry, repository, &layer, key).await {
            Ok(document) => return Ok(Some(document)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Where the document of an artifact lies, and how large it is.
async fn layer(
    registry: &dyn Registry,
    repository: &Repository,
    artifact: &Descriptor,
) -> Result<Descriptor, PublishError> {
    let digest = &artifact.digest;
    let invalid = |message: &str| DocumentError::Invalid(format!("{digest}: {message}"));
    if artifact.size > MAX_MANIFEST_SIZE {
        return Err(invalid("a manifest too large for one").into());
    }
    let manifest = registry.manifest(&repository.with_digest(digest.clone())).await?;
    let Manifest::Image(manifest) = manifest.parse()? else {
        return Err(invalid("an index").into());
    };
    let Ok([layer]) = <[Descriptor; 1]>::try_from(manifest.layers) else {
        return Err(invalid("not one layer").into());
    };
    if layer.media_type != LAYER_TYPE {
        return Err(invalid("the layer has another media type").into());
    }
    if layer.size > MAX_PACKED_SIZE {
        return Err(DocumentError::TooLarge(MAX_PACKED_SIZE).into());
    }
    Ok(layer)
}

async fn read(
    registry: &dyn Registry,
    repository: &Repository,
    layer: &Descriptor,
    key: ImageKey,
) -> Result<Document, PublishError> {
    let packed = registry.blob(repository, &layer.digest, layer.size).await?;
    let document = Document::unpack(&packed)?;
    document.expect_key(key)?;
    Ok(document)
}
