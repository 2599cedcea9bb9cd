//! Writing blobs that are held in memory.

use bytes::Bytes;

use super::upload::push;
use crate::client::transport::Transport;
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::Descriptor;
use crate::reference::Repository;

pub(in crate::client) async fn put(
    transport: &Transport,
    repository: &Repository,
    bytes: &Bytes,
) -> Result<Digest, Error> {
    let digest = Digest::of(bytes);
    let blob = Descriptor::new("application/octet-stream", digest.clone(), bytes.len() as u64);
    push(transport, repository, &blob, bytes, None).await?;
    Ok(digest)
}
