//! Looking manifests up, reading and writing them.
//!
//! Only the manifest endpoint's own 404 means "absent"; HEAD has no body, so that whose page comes with
//! it cannot count. Whatever else a proxy, a login page or a broken registry may answer has to end as
//! an error.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, StatusCode};

use super::registry::{Access, ManifestHead};
use super::transport::{Call, Reason, Reply, Transport};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::{MAX_MANIFEST_SIZE, RawManifest, media_type};
use crate::reference::{Reference, Repository, Tag};

const DIGEST_HEADER: &str = "docker-content-digest";

/// What the manifest endpoint said.
pub(super) enum Answer<T> {
    Present(T),
    /// With the error for callers to whom absence is one.
    Absent(Error),
}

pub(super) async fn head(
    transport: &Transport,
    reference: &Reference,
    access: Access,
) -> Result<Option<ManifestHead>, Error> {
    let answer = transport.retrying(|| head_once(transport, reference, access)).await?;
    Ok(match answer {
        Answer::Present(head) => Some(head),
        Answer::Absent(_) => None,
    })
}

pub(super) async fn get(
    transport: &Transport,
    reference: &Reference,
) -> Result<RawManifest, Error> {
    get_as(transport, reference, Access::Pull).await
}

pub(super) async fn get_as(
    transport: &Transport,
    reference: &Reference,
    access: Access,
) -> Result<RawManifest, Error> {
    let answer = transport.retrying(|| get_once(transport, reference, access)).await?;
    match answer {
        Answer::Present(manifest) => Ok(manifest),
        Answer::Absent(error) => Err(error),
    }
}

pub(super) async fn put(
    transport: &Transport,
    repository: &Repository,
    tag: &Tag,
    manifest: &RawManifest,
) -> Result<Digest, Error> {
    check_size(manifest)?;
    // A registry whose tags are immutable refuses even what changes nothing.
    let reference = repository.with_tag(tag.clone());
    if let Some(head) = head(transport, &reference, Access::PullPush).await?
        && head.digest == *manifest.digest()
    {
        return Ok(head.digest);
    }
    send(transport, repository, tag.as_str(), manifest).await?;
    Ok(manifest.digest().clone())
}

/// Puts a manifest under its digest alone, unless it is there.
pub(super) async fn put_at_digest(
    transport: &Transport,
    repository: &Repository,
    manifest: &RawManifest,
) -> Result<Digest, Error> {
    check_size(manifest)?;
    let digest = manifest.digest();
    let reference = repository.with_digest(digest.clone());
    if head(transport, &reference, Access::PullPush).await?.is_none() {
        send(transport, repository, digest.as_str(), manifest).await?;
    }
    Ok(digest.clone())
}

pub(super) fn check_size(manifest: &RawManifest) -> Result<(), Error> {
    if manifest.bytes().len() as u64 > MAX_MANIFEST_SIZE {
        let message = format!("{} is larger than registries accept (4 MiB)", manifest.digest());
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(())
}

/// Puts a manifest under a tag or digest, and sees that the registry stored its bytes.
async fn send(
    transport: &Transport,
    repository: &Repository,
    name: &str,
    manifest: &RawManifest,
) -> Result<(), Error> {
    let path = format!("manifests/{name}");
    let call = Call::new(Method::PUT, repository, &path, Access::PullPush)
        .header(CONTENT_TYPE, manifest.media_type())
        .body(Bytes::copy_from_slice(manifest.bytes()));
    let stored = transport.retrying(|| put_once(transport, &call, manifest)).await?;
    if !stored {
        // The registry did not say what it stored, so it has to be asked.
        let reference = repository.with_digest(manifest.digest().clone());
        get(transport, &reference).await?;
    }
    Ok(())
}

/// Whether the registry confirmed the digest.
async fn put_once(
    transport: &Transport,
    call: &Call<'_>,
    manifest: &RawManifest,
) -> Result<bool, Error> {
    let reply = transport.send(call).await?;
    if !reply.status().is_success() {
        return Err(reply.into_error().await);
    }
    confirms(&reply, manifest)
}

/// Whether the registry says that it stored this manifest; an error if it stored another.
pub(super) fn confirms(reply: &Reply, manifest: &RawManifest) -> Result<bool, Error> {
    let reason = reply.reason();
    let Some(stored) = announced_digest(reply)? else {
        return Ok(false);
    };
    if stored.algorithm() != manifest.digest().algorithm() {
        return Ok(false);
    }
    if stored != *manifest.digest() {
        let message = format!("the registry stored {stored} instead of {}", manifest.digest());
        return Err(reason.error(ErrorKind::DigestMismatch, message));
    }
    Ok(true)
}

async fn head_once(
    transport: &Transport,
    reference: &Reference,
    access: Access,
) -> Result<Answer<ManifestHead>, Error> {
    let path = manifest_path(reference);
    let call = lookup(Method::HEAD, reference, &path, access);
    let reply = transport.send(&call).await?;
    match reply.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return absent(reply, &path).await,
        // Some registries and proxies do not know HEAD.
        StatusCode::METHOD_NOT_ALLOWED => {
            return head_by_get(reply, transport, reference, access).await;
        }
        _ => return Err(reply.into_error().await),
    }
    let known_type = reply.media_type().filter(|name| media_type::ALL.contains(&name.as_str()));
    let (Some(digest), Some(media_type)) = (announced_digest(&reply)?, known_type) else {
        return head_by_get(reply, transport, reference, access).await;
    };
    match reference.digest() {
        Some(wanted) if wanted.algorithm() != digest.algorithm() => {
            head_by_get(reply, transport, reference, access).await
        }
        Some(wanted) if *wanted != digest => Err(mismatch(&reply.reason(), wanted, &digest)),
        _ => {
            let size = reply.header(CONTENT_LENGTH.as_str()).and_then(|size| size.parse().ok());
            Ok(Answer::Present(ManifestHead { digest, media_type, size }))
        }
    }
}

/// What HEAD would have said, from the manifest itself. The reply to HEAD is given up first: it holds
/// one of the host's permits, and many lookups that each hold one and wait for a second never end.
async fn head_by_get(
    head: Reply,
    transport: &Transport,
    reference: &Reference,
    access: Access,
) -> Result<Answer<ManifestHead>, Error> {
    drop(head);
    Ok(match get_once(transport, reference, access).await? {
        Answer::Present(manifest) => Answer::Present(ManifestHead {
            digest: manifest.digest().clone(),
            media_type: manifest.media_type().to_owned(),
            size: Some(manifest.bytes().len() as u64),
        }),
        Answer::Absent(error) => Answer::Absent(error),
    })
}

async fn get_once(
    transport: &Transport,
    reference: &Reference,
    access: Access,
) -> Result<Answer<RawManifest>, Error> {
    let path = manifest_path(reference);
    let call = lookup(Method::GET, reference, &path, access);
    let reply = transport.send(&call).await?;
    match reply.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return absent(reply, &path).await,
        _ => return Err(reply.into_error().await),
    }
    let reason = reply.reason();
    let announced = announced_digest(&reply)?;
    let media_type = reply.media_type().unwrap_or_default();
    let bytes = reply.bytes(MAX_MANIFEST_SIZE).await?;
    if let Some(announced) = &announced
        && !announced.matches(&bytes)
    {
        return Err(mismatch(&reason, announced, &Digest::of(&bytes)));
    }
    let digest = match reference.digest() {
        Some(wanted) if !wanted.matches(&bytes) => {
            return Err(mismatch(&reason, wanted, &Digest::of(&bytes)));
        }
        Some(wanted) => wanted.clone(),
        None => announced.unwrap_or_else(|| Digest::of(&bytes)),
    };
    let manifest = RawManifest::verified(media_type, bytes, digest)?;
    // A login page has a digest as well.
    manifest.parse().map_err(|error| reason.error(error.kind().clone(), error.to_string()))?;
    Ok(Answer::Present(manifest))
}

fn manifest_path(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => format!("manifests/{digest}"),
        None => format!("manifests/{}", reference.tag_or_latest()),
    }
}

/// Without the full list, registries answer 404 for manifests of the types left out.
fn lookup<'a>(method: Method, reference: &'a Reference, path: &str, access: Access) -> Call<'a> {
    Call::new(method, reference.repository(), path, access)
        .header(ACCEPT, &media_type::ALL.join(", "))
}

pub(super) async fn absent<T>(reply: Reply, path: &str) -> Result<Answer<T>, Error> {
    // A redirect may lead to another registry, which is right, or to anything else, which proves
    // nothing.
    if reply.url().path().ends_with(&format!("/{path}")) {
        let reason = reply.reason();
        let error = reply.into_error().await;
        if *error.kind() != ErrorKind::NotFound {
            return Err(error);
        }
        if !says_absent(error.codes()) {
            let message = format!("404 for another reason than absence: {error}");
            return Err(reason.error(ErrorKind::Invalid, message));
        }
        return Ok(Answer::Absent(error));
    }
    let message = "404 from a place that the registry redirected to, which proves nothing";
    Err(reply.reason().error(ErrorKind::Invalid, message))
}

/// Codes of the distribution spec that mean "not there", and Harbor's, Quay's and ACR's words for it.
/// HEAD has no body, and so no code.
fn says_absent(codes: &[String]) -> bool {
    const ABSENT: [&str; 5] =
        ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND", "TAG_EXPIRED", "TAG_UNKNOWN"];
    codes.is_empty() || codes.iter().any(|code| ABSENT.contains(&code.as_str()))
}

fn announced_digest(reply: &Reply) -> Result<Option<Digest>, Error> {
    let Some(text) = reply.header(DIGEST_HEADER) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|error| {
        reply.reason().error(ErrorKind::Invalid, format!("the header {DIGEST_HEADER}: {error}"))
    })
}

fn mismatch(reason: &Reason, wanted: &Digest, found: &Digest) -> Error {
    reason.error(ErrorKind::DigestMismatch, format!("expected {wanted}, got {found}"))
}
