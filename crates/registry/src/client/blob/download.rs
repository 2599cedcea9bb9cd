//! Reading blobs as streams.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Method, StatusCode};
use tokio::time::Instant;

use crate::blob::BlobStream;
use crate::client::registry::Access;
use crate::client::transport::{Call, ReplyBody, Transport};
use crate::error::{Error, ErrorKind};
use crate::manifest::Descriptor;
use crate::reference::Repository;
use crate::verifier::Verifier;

/// A blob of a repository. Size and digest are checked as the bytes pass; a connection that was cut is
/// made anew, and the blob goes on where it ended.
pub(in crate::client) async fn stream(
    transport: &Arc<Transport>,
    repository: &Repository,
    blob: &Descriptor,
) -> Result<BlobStream, Error> {
    let mut download = Download {
        transport: Arc::clone(transport),
        repository: repository.clone(),
        blob: blob.clone(),
        verifier: Verifier::new(blob),
        received: 0,
        skip: 0,
        body: None,
        tried: 0,
        failed_at: 0,
    };
    let transport = Arc::clone(transport);
    download.body = Some(transport.retrying(|| download.ask()).await?.body);
    Ok(Box::pin(stream::try_unfold(Some(download), next)))
}

/// The part of a blob, one in so many, after which tries are counted anew.
const GOOD_PART: u64 = 64;

struct Download {
    transport: Arc<Transport>,
    repository: Repository,
    blob: Descriptor,
    verifier: Verifier,
    received: u64,
    /// How much of the body was received before.
    skip: u64,
    body: Option<ReplyBody>,
    tried: u32,
    /// What was received when it failed last.
    failed_at: u64,
}

/// A body, and how much of it was received before.
struct Answer {
    body: ReplyBody,
    skip: u64,
}

async fn next(download: Option<Download>) -> Result<Option<(Bytes, Option<Download>)>, Error> {
    let Some(mut download) = download else {
        return Ok(None);
    };
    match download.piece().await? {
        Some(piece) => Ok(Some((piece, Some(download)))),
        None => {
            download.verifier.finish()?;
            Ok(None)
        }
    }
}

impl Download {
    /// The next piece; `None` after the last byte.
    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        let start = Instant::now();
        loop {
            let error = match self.try_piece().await {
                Ok(Some(piece)) if piece.is_empty() => continue,
                Ok(Some(piece)) => {
                    self.verifier.update(&piece)?;
                    self.received += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Ok(None) => return Ok(None),
                Err(error) => error,
            };
            if self.received == self.blob.size {
                // Only the end of the reply is missing.
                return Ok(None);
            }
            self.body = None;
            // Little by little is not for ever: so many tries, unless a good part has come since.
            if self.received - self.failed_at > self.blob.size / GOOD_PART {
                self.tried = 0;
            }
            self.failed_at = self.received;
            self.tried += 1;
            if self.transport.pause(&error, self.tried, start).await.is_none() {
                return Err(error);
            }
        }
    }

    async fn try_piece(&mut self) -> Result<Option<Bytes>, Error> {
        if self.body.is_none() {
            let answer = self.ask().await?;
            self.skip = answer.skip;
            self.body = Some(answer.body);
        }
        let body = self.body.as_mut().expect("it was just asked for");
        loop {
            let Some(mut piece) = body.next().await? else {
                if self.received < self.blob.size {
                    let (received, size) = (self.received, self.blob.size);
                    let message = format!("the blob ended after {received} of {size} bytes");
                    return Err(body.reason().error(ErrorKind::Transient, message));
                }
                return Ok(None);
            };
            let known = self.skip.min(piece.len() as u64);
            self.skip -= known;
            let piece = piece.split_off(usize::try_from(known).expect("it is within the piece"));
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// Asks for what was not received yet.
    async fn ask(&self) -> Result<Answer, Error> {
        let path = format!("blobs/{}", self.blob.digest);
        let mut call = Call::new(Method::GET, &self.repository, &path, Access::Pull).download();
        if self.received > 0 {
            call = call.header(RANGE, &format!("bytes={}-", self.received));
        }
        let reply = self.transport.send(&call).await?;
        let reason = reply.reason();
        match reply.status() {
            StatusCode::OK => {
                let length = reply.header(CONTENT_LENGTH.as_str());
                let length: Option<u64> = length.and_then(|length| length.parse().ok());
                if let Some(length) = length.filter(|length| *length != self.blob.size) {
                    let size = self.blob.size;
                    let message = format!("the blob should have {size} bytes, but has {length}");
                    return Err(reason.error(ErrorKind::DigestMismatch, message));
                }
                // Whoever ignores ranges begins from the start.
                Ok(Answer { body: reply.into_body(), skip: self.received })
            }
            StatusCode::PARTIAL_CONTENT if self.received > 0 => {
                let range = reply.header(CONTENT_RANGE.as_str()).unwrap_or_default();
                if !range.starts_with(&format!("bytes {}-", self.received)) {
                    let message = format!(
                        "asked for the bytes from {}, the registry sent {range:?}",
                        self.received
                    );
                    return Err(reason.error(ErrorKind::Invalid, message));
                }
                Ok(Answer { body: reply.into_body(), skip: 0 })
            }
            _ => Err(reply.into_error().await),
        }
    }
}
