//! Seeing that the other side takes what is sent to it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use reqwest::{RequestBuilder, Response};

use super::reply::Reason;
use crate::blob::BlobStream;
use crate::error::{Error, ErrorKind};

/// Largest piece that is handed on at once, in bytes, so that a slow connection is seen to move.
const PIECE: usize = 64 * 1024;

/// How much longer than for anything else a registry is waited for that has got everything: some move
/// whole blobs between two of their disks before they answer.
const TIMES_FOR_THE_REPLY: u32 = 10;

/// How far a body was taken.
pub(super) struct Progress(Arc<State>);

#[derive(Default)]
struct State {
    pieces: AtomicU64,
    /// The body waits for where it comes from, which is not the other side's fault.
    waits: AtomicBool,
    ended: AtomicBool,
}

struct Watched {
    body: BlobStream,
    rest: Bytes,
    state: Arc<State>,
}

/// A body whose progress can be seen.
pub(super) fn watch(body: BlobStream) -> (BlobStream, Progress) {
    let state = Arc::<State>::default();
    let watched = Watched { body, rest: Bytes::new(), state: Arc::clone(&state) };
    (watched.boxed(), Progress(state))
}

impl Stream for Watched {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            this.state.waits.store(true, Ordering::Relaxed);
            let piece = std::task::ready!(this.body.poll_next_unpin(context));
            this.state.waits.store(false, Ordering::Relaxed);
            match piece {
                Some(Ok(piece)) => this.rest = piece,
                end => {
                    this.state.ended.store(true, Ordering::Relaxed);
                    return Poll::Ready(end);
                }
            }
        }
        this.state.pieces.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(this.rest.split_to(PIECE.min(this.rest.len())))))
    }
}

impl Progress {
    /// Sends a request with this body. However long that takes: it ends when nothing moves any more for
    /// `patience`, because the other side reads nothing; and when it has read everything and does not
    /// answer for ten times as long.
    pub(super) async fn send(
        self,
        request: RequestBuilder,
        patience: Duration,
        reason: &Reason,
    ) -> Result<Response, Error> {
        let mut exchange = std::pin::pin!(request.send());
        let Self(state) = self;
        let (mut taken, mut silent) = (0, 0);
        loop {
            tokio::select! {
                response = &mut exchange => return response.map_err(|error| reason.unsent(error)),
                () = tokio::time::sleep(patience) => {}
            }
            let now = state.pieces.load(Ordering::Relaxed);
            silent =
                if now == taken && !state.waits.load(Ordering::Relaxed) { silent + 1 } else { 0 };
            taken = now;
            let most = if state.ended.load(Ordering::Relaxed) { TIMES_FOR_THE_REPLY } else { 1 };
            if silent >= most {
                let seconds = (patience * most).as_secs_f64();
                let message = format!("nothing moved for {seconds} s");
                return Err(reason.error(ErrorKind::Transient, message));
            }
        }
    }
}
