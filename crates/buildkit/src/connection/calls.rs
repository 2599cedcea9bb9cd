//! gRPC over one connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::JoinSet;
use tower_service::Service;

use super::dial::Io;
use crate::error::Error;

/// The most bytes of a message's metadata. A failed build comes with the source of its Dockerfile, a
/// request for files with all their patterns.
pub(crate) const MOST_METADATA: u32 = 16 * 1024 * 1024;

/// How long the other end may be silent while it owes an answer before it is asked whether it is there.
///
/// What grpc-go serves ends connections that ask more often than every five minutes, unless it has sent
/// something in between. A BuildKit does: it asks the session every few seconds how it is.
const SILENCE: Duration = Duration::from_secs(60);

/// How long it may take to say that it is there.
const PONG: Duration = Duration::from_secs(30);

/// Makes calls. They end when the connection does: with the tasks that it was made in.
#[derive(Clone)]
pub(crate) struct Calls {
    sender: http2::SendRequest<tonic::body::Body>,
    is_lost: Arc<AtomicBool>,
}

impl Calls {
    /// Speaks HTTP/2 from the first byte.
    pub(crate) async fn over(
        io: impl Io + 'static,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, Error> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .max_header_list_size(MOST_METADATA)
            .adaptive_window(true)
            .timer(TokioTimer::new())
            .keep_alive_interval(SILENCE)
            .keep_alive_timeout(PONG)
            .handshake(TokioIo::new(io))
            .await
            .map_err(Error::lost)?;
        let is_lost = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&is_lost);
        tasks.spawn(async move {
            drop(connection.await);
            lost.store(true, Ordering::Release);
        });
        Ok(Self { sender, is_lost })
    }

    /// Whether no answer can come any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire) || self.sender.is_closed()
    }
}

impl Service<Request<tonic::body::Body>> for Calls {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}
