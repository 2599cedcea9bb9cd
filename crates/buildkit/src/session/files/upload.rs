//! A build context as an archive that BuildKit downloads from the session: `moby.upload.v1.Upload`
//! (<https://github.com/moby/buildkit/blob/master/session/upload/upload.proto>).

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bollard_buildkit_proto::moby::upload::v1::BytesMessage;
use bollard_buildkit_proto::moby::upload::v1::upload_server;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::pieces::Pieces;
use super::{ContextFailure, archive};
use crate::tree::FileTree;

/// Pieces that wait for the receiver; packing waits when there are more.
const PENDING: usize = 32;

/// Answers requests for the archive.
#[derive(Clone)]
pub(in crate::session) struct Upload {
    context: Arc<dyn FileTree>,
    failure: ContextFailure,
}

impl Upload {
    pub(super) fn new(context: Arc<dyn FileTree>, failure: ContextFailure) -> Self {
        Self { context, failure }
    }

    pub(in crate::session) const METHODS: &[&str] = &["Pull"];
}

#[async_trait]
impl upload_server::Upload for Upload {
    type PullStream = Pin<Box<dyn Stream<Item = Result<BytesMessage, Status>> + Send>>;

    async fn pull(
        &self,
        _: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let (packets, sent) = mpsc::channel(PENDING);
        let Self { context, failure } = self.clone();
        tokio::task::spawn_blocking(move || {
            let message = |piece: bytes::Bytes| BytesMessage { data: piece.into() };
            let mut pieces = Pieces::new(packets.clone(), message);
            let packed = archive::write(&*context, &mut pieces);
            // Where nobody listens any more, nobody needs to know.
            if let Err(error) = packed
                && !pieces.is_cut()
            {
                drop(packets.blocking_send(Err(failed(&failure, &error))));
            }
        });
        let stream = stream::unfold(sent, |mut sent: mpsc::Receiver<_>| async {
            sent.recv().await.map(|packet| (packet, sent))
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

/// Remembers why; and the receiver must not take half an archive for a whole one.
fn failed(failure: &ContextFailure, error: &io::Error) -> Status {
    failure.set(error.to_string());
    Status::data_loss(error.to_string())
}
