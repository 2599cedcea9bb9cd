//! Writing blobs (distribution spec, *Pushing blobs*): looked for, mounted, or sent in one request; in
//! several where one is cut again and again, or is refused for its size.
//!
//! An upload that broke off begins from the start: what registries know of it afterwards differs too
//! much. Bytes are never sent to a place that gets credentials which are not its own.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Method, StatusCode};

use super::chunks;
use super::outgoing::Outgoing;
use crate::blob::{BlobSource, Delivery};
use crate::client::registry::Access;
use crate::client::transport::{Call, Reply, Transport};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::Descriptor;
use crate::reference::Repository;

/// How often a blob that is sent in one request may be cut before it is sent in several.
const CUTS: u32 = 2;

/// Puts a blob into a repository, unless it is there.
pub(in crate::client) async fn push(
    transport: &Transport,
    repository: &Repository,
    blob: &Descriptor,
    source: &dyn BlobSource,
    mount_from: Option<&Repository>,
) -> Result<Delivery, Error> {
    let upload = Upload { transport, repository, blob, body: Outgoing::new(blob, source) };
    let mount_from =
        mount_from.filter(|from| from.host() == repository.host() && *from != repository);
    let cuts = AtomicU32::new(0);
    // What the source failed with is not tried again here: it has tried itself.
    transport.retrying(|| upload.attempt(mount_from, &cuts)).await?
}

/// Whether a repository holds a blob, asked as somebody who may write it.
pub(in crate::client) async fn is_there(
    transport: &Transport,
    repository: &Repository,
    digest: &Digest,
) -> Result<bool, Error> {
    let path = format!("blobs/{digest}");
    let call = Call::new(Method::HEAD, repository, &path, Access::PullPush);
    transport
        .retrying(async || {
            let reply = transport.send(&call).await?;
            match reply.status() {
                StatusCode::OK => Ok(true),
                // Wherever it comes from: what is there already is only sent once more. Some registries
                // and proxies do not know HEAD.
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(false),
                _ => Err(reply.into_error().await),
            }
        })
        .await
}

pub(super) struct Upload<'a> {
    pub(super) transport: &'a Transport,
    pub(super) repository: &'a Repository,
    pub(super) blob: &'a Descriptor,
    pub(super) body: Outgoing<'a>,
}

/// What is final, or what may be tried again.
type Attempt = Result<Result<Delivery, Error>, Error>;

impl Upload<'_> {
    async fn attempt(&self, mount_from: Option<&Repository>, cuts: &AtomicU32) -> Attempt {
        let Self { transport, repository, blob, .. } = self;
        if is_there(transport, repository, &blob.digest).await? {
            return Ok(Ok(Delivery::Present));
        }
        let mut begun = None;
        // A registry that cannot mount says so by beginning an upload, or by refusing.
        if let Some(from) = mount_from.filter(|_| cuts.load(Ordering::Relaxed) == 0) {
            match self.mount(from).await? {
                Mount::Done => return Ok(Ok(Delivery::Mounted)),
                Mount::Begun(location) => begun = Some(location),
                Mount::Refused => {}
            }
        }
        let location = match begun {
            Some(location) => location,
            None => self.begin().await?,
        };
        let sent = if cuts.load(Ordering::Relaxed) < CUTS {
            match self.send_whole(&location).await {
                // A proxy in between may take only so much at a time.
                Err(error) if error.status() == Some(413) => {
                    cuts.store(CUTS, Ordering::Relaxed);
                    let location = self.begin().await?;
                    chunks::send(self, location).await
                }
                sent => sent,
            }
        } else {
            chunks::send(self, location.clone()).await
        };
        let error = match sent {
            Ok(()) => return Ok(Ok(Delivery::Written)),
            Err(error) => error,
        };
        if let Some(failure) = self.body.failure() {
            self.abandon(location).await;
            return Ok(Err(failure));
        }
        if *error.kind() == ErrorKind::Transient && error.status().is_none() {
            cuts.fetch_add(1, Ordering::Relaxed);
        }
        Err(error)
    }

    /// Begins an upload. Where it goes on.
    pub(super) async fn begin(&self) -> Result<String, Error> {
        let call = Call::new(Method::POST, self.repository, "blobs/uploads/", Access::PullPush)
            .body(Bytes::new());
        let reply = self.transport.send(&call).await?;
        if reply.status() != StatusCode::ACCEPTED {
            return Err(reply.into_error().await);
        }
        location(&reply)
    }

    async fn mount(&self, from: &Repository) -> Result<Mount, Error> {
        let call = Call::new(Method::POST, self.repository, "blobs/uploads/", Access::PullPush)
            .also(from, Access::Pull)
            .query("mount", self.blob.digest.as_str())
            .query("from", from.name().as_str())
            .body(Bytes::new());
        let reply = match self.transport.send(&call).await {
            Ok(reply) => reply,
            // Who may write here need not be allowed to read there.
            Err(error) if matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Denied) => {
                return Ok(Mount::Refused);
            }
            Err(error) => return Err(error),
        };
        match reply.status() {
            StatusCode::CREATED => {
                check_stored(&reply, &self.blob.digest)?;
                Ok(Mount::Done)
            }
            StatusCode::ACCEPTED => location(&reply).map(Mount::Begun),
            StatusCode::TOO_MANY_REQUESTS => Err(reply.into_error().await),
            status if status.is_client_error() => Ok(Mount::Refused),
            _ => Err(reply.into_error().await),
        }
    }

    /// Sends the blob in one request.
    async fn send_whole(&self, location: &str) -> Result<(), Error> {
        let call = Call::new(Method::PUT, self.repository, "blobs/uploads/", Access::PullPush)
            .at(location.to_owned())
            .query("digest", self.blob.digest.as_str())
            .header(CONTENT_TYPE, "application/octet-stream")
            .stream(&self.body)
            .upload();
        let reply = self.transport.send(&call).await?;
        self.finish(reply).await
    }

    /// What the registry says of the whole blob.
    pub(super) async fn finish(&self, reply: Reply) -> Result<(), Error> {
        let digest = &self.blob.digest;
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
        if check_stored(&reply, digest)? {
            return Ok(());
        }
        let reason = reply.reason();
        drop(reply);
        if is_there(self.transport, self.repository, digest).await? {
            return Ok(());
        }
        let message = format!("{digest} was uploaded, but the registry does not hold it");
        Err(reason.error(ErrorKind::Invalid, message))
    }

    /// Tells the registry that nothing more will come. It forgets the upload by itself if it does not
    /// hear of it.
    async fn abandon(&self, location: String) {
        let call = Call::new(Method::DELETE, self.repository, "blobs/uploads/", Access::PullPush)
            .at_same_origin(location);
        if let Err(error) = self.transport.send(&call).await {
            tracing::debug!(%error, "an upload was left open");
        }
    }
}

enum Mount {
    Done,
    /// An ordinary upload was begun instead, at this place.
    Begun(String),
    Refused,
}

fn location(reply: &Reply) -> Result<String, Error> {
    reply.header(LOCATION.as_str()).map(ToOwned::to_owned).ok_or_else(|| {
        let message = "an upload was begun, but the registry did not say where";
        reply.reason().error(ErrorKind::Invalid, message)
    })
}

/// Whether the registry said that it stored this; an error if it said that it stored something else.
fn check_stored(reply: &Reply, digest: &Digest) -> Result<bool, Error> {
    match reply.header("docker-content-digest") {
        None => Ok(false),
        Some(stored) if stored == digest.as_str() => Ok(true),
        Some(stored) => {
            let message = format!("the registry stored {stored:?} instead of {digest}");
            Err(reply.reason().error(ErrorKind::DigestMismatch, message))
        }
    }
}
