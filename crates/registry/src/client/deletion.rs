//! Deleting tags and manifests (distribution spec, *Content Management*): two different things, neither
//! of which ever stands for the other.

use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;
use reqwest::Method;
use serde_json::json;

use super::blob;
use super::manifests::{self, Answer, absent};
use super::registry::Access;
use super::transport::{Call, Transport};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::{RawManifest, media_type};
use crate::reference::{Reference, Repository, Tag};

/// What became of what was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The registry deleted it.
    Done,
    /// It was not there, as the registry's own 404 says.
    Absent,
}

/// Removes a tag, and nothing but the tag.
pub(super) async fn tag(
    transport: &Transport,
    repository: &Repository,
    tag: &Tag,
) -> Result<Deleted, Error> {
    let result = of_spec(transport, repository, tag.as_str()).await;
    result.map_err(|error| {
        // What registries before the spec's version 1.1 say: they take a digest only.
        if error.codes().iter().any(|code| code == "DIGEST_INVALID") {
            error.with_kind(ErrorKind::Unsupported)
        } else {
            error
        }
    })
}

/// Removes a tag by the request that GitLab's registry had before the spec had one.
pub(super) async fn reference(
    transport: &Transport,
    repository: &Repository,
    tag: &Tag,
) -> Result<Deleted, Error> {
    let path = format!("tags/reference/{tag}");
    delete(transport, &Call::delete(repository, &path), &path).await
}

/// Deletes a manifest, with whatever the registry ties to it.
pub(super) async fn manifest(
    transport: &Transport,
    repository: &Repository,
    digest: &Digest,
) -> Result<Deleted, Error> {
    of_spec(transport, repository, digest.as_str()).await
}

async fn of_spec(
    transport: &Transport,
    repository: &Repository,
    name: &str,
) -> Result<Deleted, Error> {
    let path = format!("manifests/{name}");
    let by_pushers = transport.provider(repository.host()).await?.deletes_by_pushers();
    let call = if by_pushers {
        Call::new(Method::DELETE, repository, &path, Access::PullPush)
    } else {
        Call::delete(repository, &path)
    };
    delete(transport, &call, &path).await
}

/// Sends a request to delete something, whose path ends so.
pub(super) async fn delete(
    transport: &Transport,
    call: &Call<'_>,
    path: &str,
) -> Result<Deleted, Error> {
    transport
        .retrying(async || {
            let reply = transport.send(call).await?;
            match reply.status().as_u16() {
                200 | 202 | 204 => Ok(Deleted::Done),
                404 if reply.media_type().as_deref() == Some("text/html") => {
                    let message = "404 with a web page, which proves nothing";
                    Err(reply.reason().error(ErrorKind::Invalid, message))
                }
                404 => match absent(reply, path).await? {
                    Answer::Absent(_) => Ok(Deleted::Absent),
                    Answer::Present(never) => never,
                },
                _ => Err(reply.into_error().await),
            }
        })
        .await
}

/// Removes a tag where only manifests can be deleted: the tag is put on a manifest made for it alone,
/// which is then deleted. The digest that it was on, and all its other tags, stay.
pub(super) async fn tag_by_substitute(
    transport: &Transport,
    repository: &Repository,
    tag: &Tag,
    expected: &Digest,
) -> Result<Deleted, Error> {
    let reference = repository.with_tag(tag.clone());
    let Some(head) = manifests::head(transport, &reference, Access::PullPush).await? else {
        return Ok(Deleted::Absent);
    };
    if head.digest != *expected {
        let message = format!("{reference} is {} and not {expected}", head.digest);
        return Err(Error::new(ErrorKind::DigestMismatch, message));
    }
    // What a deletion wants has to be known before anything is changed.
    transport.provider(repository.host()).await?;
    // To be able to put it back.
    let by_digest = repository.with_digest(expected.clone());
    let original = manifests::get(transport, &by_digest).await?;
    let substitute = substitute(transport, repository).await?;
    let failure = match remove_with(transport, &reference, tag, &substitute).await {
        Ok(()) => return Ok(Deleted::Done),
        Err(failure) => failure,
    };
    // Any of the requests may have been done although it failed.
    let note = match manifests::head(transport, &reference, Access::PullPush).await {
        Ok(Some(head)) if head.digest == *substitute.digest() => {
            match manifests::put(transport, repository, tag, &original).await {
                Ok(_) => format!("the tag {tag} is on {expected} again"),
                Err(error) => format!(
                    "the tag {tag}, which was on {expected}, is on {} and could not be put back: \
                     {error}",
                    head.digest
                ),
            }
        }
        Ok(Some(head)) => format!("the tag {tag} is on {}", head.digest),
        Ok(None) => format!("there is no tag {tag} any more"),
        Err(error) => {
            format!("the tag {tag} was on {expected}; where it is now is not known: {error}")
        }
    };
    Err(failure.with_note(note))
}

/// Takes a tag away together with a manifest that it is put on.
async fn remove_with(
    transport: &Transport,
    reference: &Reference,
    tag: &Tag,
    substitute: &RawManifest,
) -> Result<(), Error> {
    let moved = |digest: &Digest| {
        let message = format!("{reference} was put on {digest} by somebody else");
        Error::new(ErrorKind::Invalid, message)
    };
    let now = async || manifests::head(transport, reference, Access::PullPush).await;
    manifests::put(transport, reference.repository(), tag, substitute).await?;
    match now().await? {
        Some(head) if head.digest == *substitute.digest() => {}
        Some(head) => return Err(moved(&head.digest)),
        None => return Ok(()),
    }
    manifest(transport, reference.repository(), substitute.digest()).await?;
    match now().await? {
        None => Ok(()),
        Some(head) if head.digest == *substitute.digest() => {
            let message = "the registry deletes manifests, but not the tags on them";
            Err(Error::new(ErrorKind::Unsupported, format!("{reference}: {message}")))
        }
        Some(head) => Err(moved(&head.digest)),
    }
}

/// A manifest like no other, which is already uploaded but for itself.
async fn substitute(transport: &Transport, repository: &Repository) -> Result<RawManifest, Error> {
    let empty = Bytes::from_static(b"{}");
    let digest = blob::small::put(transport, repository, &empty).await?;
    // Image spec, *Guidance for an Empty Descriptor*.
    let empty = json!({
        "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest.as_str(), "size": 2,
    });
    // The standard library's only source of randomness.
    let mark = RandomState::new().hash_one(0_u8);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": "application/vnd.dockit.substitute",
        "config": empty.clone(),
        "layers": [empty],
        "annotations": {"dev.dockit.substitute": format!("{mark:016x}")},
    });
    Ok(RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string()))
}
