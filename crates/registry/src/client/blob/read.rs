//! Reading blobs that are held in memory.

use bytes::Bytes;
use reqwest::{Method, StatusCode};

use crate::client::registry::Access;
use crate::client::transport::{Call, Transport};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::reference::Repository;

pub(in crate::client) async fn get(
    transport: &Transport,
    repository: &Repository,
    digest: &Digest,
    limit: u64,
) -> Result<Bytes, Error> {
    let path = format!("blobs/{digest}");
    let call = Call::new(Method::GET, repository, &path, Access::Pull).download();
    transport.retrying(|| get_once(transport, &call, digest, limit)).await
}

async fn get_once(
    transport: &Transport,
    call: &Call<'_>,
    digest: &Digest,
    limit: u64,
) -> Result<Bytes, Error> {
    let reply = transport.send(call).await?;
    if reply.status() != StatusCode::OK {
        return Err(reply.into_error().await);
    }
    let reason = reply.reason();
    let bytes = reply.bytes(limit).await?;
    if digest.matches(&bytes) {
        Ok(bytes)
    } else {
        let message = format!("the blob's bytes are {}", Digest::of(&bytes));
        Err(reason.error(ErrorKind::DigestMismatch, message))
    }
}
