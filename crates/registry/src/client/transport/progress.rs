//! Seeing that the other side takes what is sent to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use reqwest::{RequestBuilder, Response};

use super::reply::Reason;
use crate::blob::BlobStream;
use crate::error::{Error, ErrorKind};

/// How many pieces of a body were taken.
pub(super) struct Progress(Arc<AtomicU64>);

/// A body whose progress can be seen.
pub(super) fn watch(body: BlobStream) -> (BlobStream, Progress) {
    let pieces = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&pieces);
    let body = body.inspect_ok(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    (Box::pin(body), Progress(pieces))
}

impl Progress {
    /// Sends a request with this body. However long that takes: it ends when nothing moves any more for
    /// `patience`, be it that the other side reads nothing or that it does not answer.
    pub(super) async fn send(
        self,
        request: RequestBuilder,
        patience: Duration,
        reason: &Reason,
    ) -> Result<Response, Error> {
        let mut exchange = std::pin::pin!(request.send());
        let mut taken = 0;
        loop {
            tokio::select! {
                response = &mut exchange => return response.map_err(|error| reason.unsent(error)),
                () = tokio::time::sleep(patience) => {
                    let now = self.0.load(Ordering::Relaxed);
                    if now == taken {
                        let message = format!("nothing moved for {} s", patience.as_secs_f64());
                        return Err(reason.error(ErrorKind::Transient, message));
                    }
                    taken = now;
                }
            }
        }
    }
}
