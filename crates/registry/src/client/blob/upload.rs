//! Writing blobs (distribution spec, *Pushing blobs*): looked for, mounted, or sent in one request; in
//! several where one is cut again and again, or is refused for its size, if the vendor takes pieces.
//!
//! An upload that broke off begins from the start: what registries know of it afterwards differs too
//! much. Bytes are never sent to a place that gets credentials which are not its own.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;

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
    let in_pieces = takes_pieces(transport, repository);
    let upload =
        Upload { transport, repository, blob, body: Outgoing::new(blob, source), in_pieces };
    let mount_from =
        mount_from.filter(|from| from.host() == repository.host() && *from != repository);
    let cuts = AtomicU32::new(0);
    let (mut tried, mut since, mut sent) = (0, Instant::now(), 0);
    loop {
        let error = match upload.attempt(mount_from, &cuts).await {
            // What the source failed with is not tried again here: it has tried itself.
            Ok(done) => return done,
            Err(error) => error,
        };
        // However long bytes have moved, that is not time in which nothing was reached.
        if upload.body.sent() > sent {
            (since, sent) = (Instant::now(), upload.body.sent());
        }
        tried += 1;
        if transport.pause(&error, tried, since).await.is_none() {
            return Err(error);
        }
    }
}

/// Whether a blob may be sent in several requests, as far as that is known of the registry.
fn takes_pieces(transport: &Transport, repository: &Repository) -> bool {
    let known = transport.known_provider(repository.host());
    known.is_none_or(|kind| kind.capabilities().chunked_uploads)
}

/// What is known of a blob in a repository.
pub(in crate::client) enum Presence {
    Present,
    Absent,
    /// Storage behind the registry, to which it sent us, refused to say.
    Unknown(Error),
}

/// Whether a repository holds a blob, asked as somebody who may write it.
pub(in crate::client) async fn look_for(
    transport: &Transport,
    repository: &Repository,
    digest: &Digest,
    size: Option<u64>,
) -> Result<Presence, Error> {
    let path = format!("blobs/{digest}");
    let call = Call::new(Method::HEAD, repository, &path, Access::PullPush);
    transport
        .retrying(async || {
            let reply = transport.send(&call).await?;
            match reply.status() {
                StatusCode::OK if is_of_blob(&reply, digest, size) => Ok(Presence::Present),
                StatusCode::OK => Ok(Presence::Absent),
                // Wherever it comes from: what is there already is only sent once more. Some registries
                // and proxies do not know HEAD.
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(Presence::Absent),
                // Storage whose signed URLs are for GET alone, as that of ECR's public registries.
                status if status.is_client_error() && reply.left_registry() => {
                    match reply.into_error().await {
                        error if error.is_retryable() => Err(error),
                        error => Ok(Presence::Unknown(error)),
                    }
                }
                _ => Err(reply.into_error().await),
            }
        })
        .await
}

/// Whether a reply to HEAD can be about this blob. A login page is not; nor is what is of another size.
fn is_of_blob(reply: &Reply, digest: &Digest, size: Option<u64>) -> bool {
    // Nothing is what some say of every HEAD, because no body comes with it.
    let length = reply.header(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    let length = length.filter(|length| *length != 0);
    let said = reply.header("docker-content-digest");
    said.is_none_or(|said| said == digest.as_str())
        && reply.media_type().as_deref() != Some("text/html")
        && (length.is_none() || size.is_none() || length == size)
}

/// Whether blobs may be written to a repository: an upload is begun, and given up.
pub(in crate::client) async fn check(
    transport: &Transport,
    repository: &Repository,
) -> Result<(), Error> {
    let begun = transport.retrying(|| begin(transport, repository)).await?;
    abandon(transport, repository, begun.location).await;
    Ok(())
}

/// Begins an upload. Where it goes on.
async fn begin(transport: &Transport, repository: &Repository) -> Result<Begun, Error> {
    let call =
        Call::new(Method::POST, repository, "blobs/uploads/", Access::PullPush).body(Bytes::new());
    let reply = transport.send(&call).await?;
    if reply.status() != StatusCode::ACCEPTED {
        return Err(reply.into_error().await);
    }
    Begun::of(&reply)
}

/// Tells the registry that nothing more will come. It forgets the upload by itself if it does not hear
/// of it.
async fn abandon(transport: &Transport, repository: &Repository, location: String) {
    let call = Call::new(Method::DELETE, repository, "blobs/uploads/", Access::PullPush)
        .at_same_origin(location);
    if let Err(error) = transport.send(&call).await {
        tracing::debug!(%error, "an upload was left open");
    }
}

pub(super) struct Upload<'a> {
    pub(super) transport: &'a Transport,
    pub(super) repository: &'a Repository,
    pub(super) blob: &'a Descriptor,
    pub(super) body: Outgoing<'a>,
    /// The registry takes a blob in several requests.
    in_pieces: bool,
}

/// What is final, or what may be tried again.
type Attempt = Result<Result<Delivery, Error>, Error>;

impl Upload<'_> {
    async fn attempt(&self, mount_from: Option<&Repository>, cuts: &AtomicU32) -> Attempt {
        let Self { transport, repository, blob, .. } = self;
        let known = look_for(transport, repository, &blob.digest, Some(blob.size)).await?;
        // What is there already is only sent once more.
        if matches!(known, Presence::Present) {
            return Ok(Ok(Delivery::Present));
        }
        // Had before the source is opened, and kept until all is sent.
        let permit = transport.admit_upload(repository.host()).await;
        let mut begun = None;
        // A registry that cannot mount says so by beginning an upload, or by refusing.
        if let Some(from) = mount_from.filter(|_| cuts.load(Ordering::Relaxed) == 0) {
            match self.mount(from).await? {
                Mount::Done => return Ok(Ok(Delivery::Mounted)),
                Mount::Begun(place) => begun = Some(place),
                Mount::Refused => {}
            }
        }
        let begun = match begun {
            Some(begun) => begun,
            None => self.begin().await?,
        };
        let location = begun.location.clone();
        let sent = if cuts.load(Ordering::Relaxed) < CUTS || !self.in_pieces {
            match self.send_whole(&location).await {
                // A proxy in between may take only so much at a time.
                Err(error) if error.status() == Some(413) && self.in_pieces => {
                    cuts.store(CUTS, Ordering::Relaxed);
                    abandon(transport, repository, location.clone()).await;
                    let begun = self.begin().await?;
                    chunks::send(self, begun).await
                }
                sent => sent,
            }
        } else {
            chunks::send(self, begun).await
        };
        drop(permit);
        let error = match sent {
            Ok(()) => return Ok(Ok(Delivery::Written)),
            Err(error) => error,
        };
        if let Some(failure) = self.body.failure() {
            abandon(transport, repository, location).await;
            return Ok(Err(failure));
        }
        if *error.kind() == ErrorKind::Transient && error.status().is_none() {
            cuts.fetch_add(1, Ordering::Relaxed);
        }
        Err(error)
    }

    async fn begin(&self) -> Result<Begun, Error> {
        begin(self.transport, self.repository).await
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
            Err(error) if is_refusal(&error) => return Ok(Mount::Refused),
            Err(error) => return Err(error),
        };
        match reply.status() {
            StatusCode::CREATED => {
                let Descriptor { digest, size, .. } = self.blob;
                if check_stored(&reply, digest)? {
                    return Ok(Mount::Done);
                }
                drop(reply);
                let size = Some(*size);
                match look_for(self.transport, self.repository, digest, size).await? {
                    // The registry has said that it is mounted.
                    Presence::Present | Presence::Unknown(_) => Ok(Mount::Done),
                    Presence::Absent => Ok(Mount::Refused),
                }
            }
            StatusCode::ACCEPTED => Begun::of(&reply).map(Mount::Begun),
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
            .of_upload();
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
        let size = Some(self.blob.size);
        match look_for(self.transport, self.repository, digest, size).await? {
            // The registry has said that it was created.
            Presence::Present | Presence::Unknown(_) => return Ok(()),
            Presence::Absent => {}
        }
        let message = format!("{digest} was uploaded, but the registry does not hold it");
        Err(reason.error(ErrorKind::Invalid, message))
    }
}

/// Whether the registry said no, and not that it should be asked later.
fn is_refusal(error: &Error) -> bool {
    let said_no = matches!(error.status(), Some(400..=499)) && !error.is_retryable();
    said_no || matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Denied)
}

enum Mount {
    Done,
    /// An ordinary upload was begun instead.
    Begun(Begun),
    Refused,
}

/// An upload that a registry has begun.
pub(super) struct Begun {
    /// Where it goes on.
    pub(super) location: String,
    /// The smallest piece that the registry takes, in bytes.
    pub(super) smallest: usize,
}

impl Begun {
    fn of(reply: &Reply) -> Result<Self, Error> {
        let mut begun = Self { location: String::new(), smallest: 0 };
        begun.follow(reply);
        if begun.location.is_empty() {
            let message = "an upload was begun, but the registry did not say where";
            return Err(reply.reason().error(ErrorKind::Invalid, message));
        }
        Ok(begun)
    }

    /// Takes over what a reply says.
    pub(super) fn follow(&mut self, reply: &Reply) {
        if let Some(location) = reply.header(LOCATION.as_str()) {
            // Relative to whoever says it, which may be another server than the registry.
            let absolute = reply.url().join(location);
            self.location = absolute.map_or_else(|_| location.to_owned(), String::from);
        }
        let smallest = reply.header("oci-chunk-min-length").and_then(|text| text.parse().ok());
        self.smallest = smallest.unwrap_or(self.smallest);
    }
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
