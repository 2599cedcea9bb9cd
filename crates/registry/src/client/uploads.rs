//! Writing small blobs (distribution spec, *POST then PUT*).

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Method, StatusCode};

use super::registry::Access;
use super::transport::{Call, Transport};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::reference::Repository;

pub(super) async fn put(
    transport: &Transport,
    repository: &Repository,
    bytes: &Bytes,
) -> Result<Digest, Error> {
    let digest = Digest::of(bytes);
    // An upload cannot be taken up by a second request, so that both are one operation.
    transport.retrying(|| put_once(transport, repository, bytes, &digest)).await?;
    Ok(digest)
}

async fn put_once(
    transport: &Transport,
    repository: &Repository,
    bytes: &Bytes,
    digest: &Digest,
) -> Result<(), Error> {
    if is_there(transport, repository, digest).await? {
        return Ok(());
    }
    let start =
        Call::new(Method::POST, repository, "blobs/uploads/", Access::PullPush).body(Bytes::new());
    let reply = transport.send(&start).await?;
    if reply.status() != StatusCode::ACCEPTED {
        return Err(reply.into_error().await);
    }
    let Some(location) = reply.header(LOCATION.as_str()).map(ToOwned::to_owned) else {
        let message = "an upload was begun, but the registry did not say where";
        return Err(reply.reason().error(ErrorKind::Invalid, message));
    };
    // It holds one of the host's permits.
    drop(reply);
    let upload = Call::new(Method::PUT, repository, "blobs/uploads/", Access::PullPush)
        .at(location)
        .query("digest", digest.as_str())
        .header(CONTENT_TYPE, "application/octet-stream")
        .body(bytes.clone());
    let reply = transport.send(&upload).await?;
    match reply.status() {
        StatusCode::CREATED => {}
        // The upload is not known any more: it can be begun again.
        StatusCode::NOT_FOUND => {
            let reason = reply.reason();
            let message = format!("the upload was lost: {}", reply.into_error().await);
            return Err(reason.error(ErrorKind::Transient, message));
        }
        _ => return Err(reply.into_error().await),
    }
    let reason = reply.reason();
    let stored = reply.header("docker-content-digest").map(ToOwned::to_owned);
    drop(reply);
    match stored {
        Some(stored) if stored == digest.as_str() => Ok(()),
        Some(stored) => {
            let message = format!("the registry stored {stored:?} instead of {digest}");
            Err(reason.error(ErrorKind::DigestMismatch, message))
        }
        None if is_there(transport, repository, digest).await? => Ok(()),
        None => {
            let message = format!("{digest} was uploaded, but the registry does not hold it");
            Err(reason.error(ErrorKind::Invalid, message))
        }
    }
}

async fn is_there(
    transport: &Transport,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool, Error> {
    let path = format!("blobs/{digest}");
    let call = Call::new(Method::HEAD, repository, &path, Access::PullPush);
    let reply = transport.send(&call).await?;
    match reply.status() {
        StatusCode::OK => Ok(true),
        // Wherever it comes from: what is there already is only sent once more. Some registries and
        // proxies do not know HEAD.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(false),
        _ => Err(reply.into_error().await),
    }
}
