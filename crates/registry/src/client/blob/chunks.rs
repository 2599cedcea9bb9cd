//! Blobs in several requests (distribution spec, *Pushing a blob in chunks*).

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};
use reqwest::{Method, StatusCode};

use super::upload::{Begun, Upload};
use crate::blob::{BlobSource as _, BlobStream};
use crate::client::registry::Access;
use crate::client::transport::{Call, Reply, StreamBody};
use crate::error::{Error, ErrorKind};

/// Bytes of a piece, which is held in memory, so that it can be sent again.
const PIECE: usize = 16 * 1024 * 1024;

/// Largest piece that a registry may demand.
const MAX_PIECE: usize = 128 * 1024 * 1024;

/// How often a piece is sent.
const TRIES: u32 = 3;

/// Sends a blob to where an upload was begun, piece by piece.
pub(super) async fn send(upload: &Upload<'_>, begun: Begun) -> Result<(), Error> {
    let mut session = Session { upload, begun, offset: 0, resumed: false };
    let sent = session.send_all().await;
    // Whatever a registry says after it was asked to go on in the middle, it may have taken the middle
    // for another place: the blob can still go well from the start.
    sent.map_err(|error| match error.kind() {
        ErrorKind::Invalid | ErrorKind::DigestMismatch if session.resumed => {
            error.with_kind(ErrorKind::Transient)
        }
        _ => error,
    })
}

struct Session<'a> {
    upload: &'a Upload<'a>,
    /// The newest place: older ones are not known any more.
    begun: Begun,
    offset: u64,
    /// A piece was sent from its middle on.
    resumed: bool,
}

/// A piece of a blob as the body of a request.
struct Piece(Bytes);

#[async_trait]
impl StreamBody for Piece {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    async fn open(&self) -> Result<BlobStream, Error> {
        self.0.open().await
    }
}

impl Session<'_> {
    async fn send_all(&mut self) -> Result<(), Error> {
        let body = &self.upload.body;
        let mut source = body.pieces().await.map_err(|error| body.failed_with(error))?;
        let mut piece = BytesMut::new();
        loop {
            let next = source.next().await.transpose();
            let next = next.map_err(|error| body.failed_with(error))?;
            let ended = next.is_none();
            piece.extend_from_slice(&next.unwrap_or_default());
            // All pieces but the last one are of one size, as some storage demands.
            let size = PIECE.max(self.begun.smallest.min(MAX_PIECE));
            while piece.len() > size {
                self.send(piece.split_to(size).freeze()).await?;
            }
            if ended {
                break;
            }
        }
        if !piece.is_empty() {
            self.send(piece.freeze()).await?;
        }
        self.close().await
    }

    async fn send(&mut self, piece: Bytes) -> Result<(), Error> {
        let end = self.offset + piece.len() as u64;
        let mut rest = piece;
        let mut tried = 0;
        while !rest.is_empty() {
            tried += 1;
            match self.patch(&rest).await {
                Ok(()) => break,
                Err(error) if *error.kind() == ErrorKind::Transient && tried < TRIES => {
                    // How much of it has arrived? Who cannot say it begins with the whole blob again.
                    let known = self.status().await.unwrap_or(None);
                    let Some(known) = known.filter(|known| (self.offset..=end).contains(known))
                    else {
                        return Err(error);
                    };
                    self.resumed |= known > self.offset;
                    let arrived = usize::try_from(known - self.offset).unwrap_or(usize::MAX);
                    rest = rest.split_off(arrived.min(rest.len()));
                    self.offset = known;
                }
                Err(error) => return Err(error),
            }
        }
        self.offset = end;
        Ok(())
    }

    fn call(&self, method: Method) -> Call<'_> {
        Call::new(method, self.upload.repository, "blobs/uploads/", Access::PullPush)
            .at(self.begun.location.clone())
            .of_upload()
    }

    async fn patch(&mut self, piece: &Bytes) -> Result<(), Error> {
        let last = self.offset + piece.len() as u64 - 1;
        let body = Piece(piece.clone());
        let call = self
            .call(Method::PATCH)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_RANGE, &format!("{}-{last}", self.offset))
            .stream(&body);
        let reply = self.upload.transport.send(&call).await?;
        if reply.status() != StatusCode::ACCEPTED {
            return Err(reply.into_error().await);
        }
        self.begun.follow(&reply);
        // Some registries take a piece for another place without a word.
        match arrived(&reply) {
            Some(arrived) if arrived != last + 1 => {
                let message = format!("sent the bytes up to {last}, the registry has {arrived}");
                Err(reply.reason().error(ErrorKind::Invalid, message))
            }
            _ => Ok(()),
        }
    }

    /// How many bytes have arrived; `None` if the registry does not say.
    async fn status(&mut self) -> Result<Option<u64>, Error> {
        let reply = self.upload.transport.send(&self.call(Method::GET)).await?;
        if reply.status() != StatusCode::NO_CONTENT {
            return Ok(None);
        }
        self.begun.follow(&reply);
        // `0-0` is what registries say of nothing as well as of one byte.
        Ok(arrived(&reply).filter(|arrived| *arrived > 1))
    }

    async fn close(&self) -> Result<(), Error> {
        let body = Piece(Bytes::new());
        let call = self
            .call(Method::PUT)
            .query("digest", self.upload.blob.digest.as_str())
            .header(CONTENT_TYPE, "application/octet-stream")
            .stream(&body);
        let reply = self.upload.transport.send(&call).await?;
        self.upload.finish(reply).await
    }
}

/// How many bytes a registry has, from `Range: 0-LAST`. Nothing at all is `0-0` as well as one byte is.
fn arrived(reply: &Reply) -> Option<u64> {
    let range = reply.header(RANGE.as_str())?;
    let (first, last) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    (first.trim() == "0").then(|| last.checked_add(1)).flatten()
}
