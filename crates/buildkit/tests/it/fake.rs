//! A BuildKit that does what a test says, on connections in memory.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bollard_buildkit_proto::moby::buildkit::v1::control_server::{Control, ControlServer};
use bollard_buildkit_proto::moby::buildkit::v1::types::{BuildkitVersion, WorkerRecord};
use bollard_buildkit_proto::moby::buildkit::v1::{
    BuildHistoryEvent, BuildHistoryRequest, BytesMessage, DiskUsageRequest, DiskUsageResponse,
    InfoRequest, InfoResponse, ListWorkersRequest, ListWorkersResponse, PruneRequest, SolveRequest,
    SolveResponse, StatusRequest, StatusResponse, UpdateBuildHistoryRequest,
    UpdateBuildHistoryResponse, UsageRecord, Vertex,
};
use bollard_buildkit_proto::pb::Platform;
use dockit_buildkit::{Build, Client, Dial, Io, NoFiles};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, stream};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, watch};
use tonic::Status;

/// The other end of a session: calls can be made over it.
#[derive(Clone)]
pub(crate) struct Session {
    sender: SendRequest<tonic::body::Body>,
    pub(crate) shared_key: String,
    pub(crate) methods: Vec<String>,
}

impl tower_service::Service<Request<tonic::body::Body>> for Session {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Response<Incoming>, hyper::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}

type Answer = Result<SolveResponse, Status>;
type Script = dyn Fn(Session, SolveRequest) -> BoxFuture<'static, Answer> + Send + Sync;

/// How the events of a build end.
#[derive(Clone)]
pub(crate) enum LastEvent {
    End,
    Failure(Status),
    Never,
}

#[derive(Clone)]
pub(crate) struct Fake {
    script: Arc<Script>,
    session: Arc<watch::Sender<Option<Session>>>,
    /// What follows the one event of every build.
    last_event: LastEvent,
    is_gone: Arc<watch::Sender<bool>>,
    /// What has to happen before there are events.
    events_after: Option<Arc<Notify>>,
    /// Connections, so that they can be cut.
    connections: Arc<Mutex<Vec<tokio::task::JoinHandle<()>>>>,
}

impl Fake {
    /// One that answers a build so.
    pub(crate) fn new<F>(
        script: impl Fn(Session, SolveRequest) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let script = Arc::new(move |session, request| -> BoxFuture<'static, Answer> {
            Box::pin(script(session, request))
        });
        let session = Arc::new(watch::channel(None).0);
        Self {
            script,
            session,
            last_event: LastEvent::End,
            is_gone: Arc::new(watch::channel(false).0),
            events_after: None,
            connections: Arc::default(),
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::buildkitd(self.clone())
    }

    /// The same, and events of builds end so.
    pub(crate) fn with_last_event(self, last_event: LastEvent) -> Self {
        Self { last_event, ..self }
    }

    /// The same, and builds have no events before this happens.
    pub(crate) fn with_events_after(self, this: Arc<Notify>) -> Self {
        Self { events_after: Some(this), ..self }
    }

    /// Lets all connections stand, and nothing come through any more.
    pub(crate) fn vanish(&self) {
        self.is_gone.send_replace(true);
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}

/// A build of nothing in particular.
pub(crate) fn build() -> Build {
    Build::new("FROM scratch\n", Arc::new(NoFiles), "none")
}

/// A good end.
pub(crate) fn done() -> Answer {
    let digest = ("containerimage.digest".to_owned(), "sha256:1".to_owned());
    Ok(SolveResponse { exporter_response: [digest].into() })
}

/// Does nothing, for good.
pub(crate) async fn hang() -> Answer {
    std::future::pending().await
}

#[async_trait]
impl Dial for Fake {
    async fn dial(&self) -> io::Result<Box<dyn Io>> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let control = ControlServer::new(self.clone());
        let service = service_fn(move |request| {
            let mut control = control.clone();
            async move { tower_service::Service::call(&mut control, request).await }
        });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(far), service);
        let connection = tokio::spawn(async move { drop(connection.await) });
        self.connections.lock().unwrap().push(connection);
        let (mut near, (outer, mut beyond)) = (near, tokio::io::duplex(64 * 1024));
        let mut is_gone = self.is_gone.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut near, &mut beyond) => return,
                _ = is_gone.wait_for(|is_gone| *is_gone) => {}
            }
            // Both ends stay open.
            std::future::pending::<()>().await;
            drop((near, beyond));
        });
        Ok(Box::new(outer))
    }
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[async_trait]
impl Control for Fake {
    type PruneStream = Events<UsageRecord>;
    type StatusStream = Events<StatusResponse>;
    type SessionStream = Events<BytesMessage>;
    type ListenBuildHistoryStream = Events<BuildHistoryEvent>;

    async fn solve(
        &self,
        request: tonic::Request<SolveRequest>,
    ) -> Result<tonic::Response<SolveResponse>, Status> {
        let mut session = self.session.subscribe();
        let session = session.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        (self.script)(session, request.into_inner()).await.map(tonic::Response::new)
    }

    async fn status(
        &self,
        _: tonic::Request<StatusRequest>,
    ) -> Result<tonic::Response<Events<StatusResponse>>, Status> {
        if let Some(this) = &self.events_after {
            this.notified().await;
        }
        let vertexes = vec![Vertex { name: "a step".to_owned(), ..Vertex::default() }];
        let event = StatusResponse { vertexes, ..StatusResponse::default() };
        let first = stream::iter([Ok(event)]);
        Ok(tonic::Response::new(match self.last_event.clone() {
            LastEvent::End => Box::pin(first),
            LastEvent::Failure(status) => Box::pin(first.chain(stream::iter([Err(status)]))),
            LastEvent::Never => Box::pin(first.chain(stream::pending())),
        }))
    }

    async fn session(
        &self,
        request: tonic::Request<tonic::Streaming<BytesMessage>>,
    ) -> Result<tonic::Response<Events<BytesMessage>>, Status> {
        let text = |value: &tonic::metadata::AsciiMetadataValue| value.to_str().unwrap().to_owned();
        let metadata = request.metadata();
        let shared_key = text(metadata.get("x-docker-expose-session-sharedkey").unwrap());
        let methods = metadata.get_all("x-docker-expose-session-grpc-method");
        let methods = methods.iter().map(text).collect();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (far_reader, mut far_writer) = tokio::io::split(far);
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                if far_writer.write_all(&message.data).await.is_err() {
                    break;
                }
            }
        });
        let session = Arc::clone(&self.session);
        tokio::spawn(async move {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near))
                    .await
                    .unwrap();
            tokio::spawn(async move { drop(connection.await) });
            session.send_replace(Some(Session { sender, shared_key, methods }));
        });
        let outgoing = stream::unfold(far_reader, |mut reader| async move {
            let mut data = Vec::with_capacity(32 * 1024);
            let read = reader.read_buf(&mut data).await.unwrap_or(0);
            (read > 0).then_some((Ok(BytesMessage { data }), reader))
        });
        Ok(tonic::Response::new(Box::pin(outgoing)))
    }

    async fn list_workers(
        &self,
        _: tonic::Request<ListWorkersRequest>,
    ) -> Result<tonic::Response<ListWorkersResponse>, Status> {
        let platform = |architecture: &str, variant: &str| Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            ..Platform::default()
        };
        let platforms = vec![platform("amd64", ""), platform("arm", "v7")];
        let worker = WorkerRecord { id: "w".to_owned(), platforms, ..WorkerRecord::default() };
        Ok(tonic::Response::new(ListWorkersResponse { record: vec![worker] }))
    }

    async fn info(
        &self,
        _: tonic::Request<InfoRequest>,
    ) -> Result<tonic::Response<InfoResponse>, Status> {
        let version = BuildkitVersion { version: "v0.25.0".to_owned(), ..Default::default() };
        Ok(tonic::Response::new(InfoResponse { buildkit_version: Some(version) }))
    }

    async fn disk_usage(
        &self,
        _: tonic::Request<DiskUsageRequest>,
    ) -> Result<tonic::Response<DiskUsageResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn prune(
        &self,
        _: tonic::Request<PruneRequest>,
    ) -> Result<tonic::Response<Events<UsageRecord>>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn listen_build_history(
        &self,
        _: tonic::Request<BuildHistoryRequest>,
    ) -> Result<tonic::Response<Events<BuildHistoryEvent>>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn update_build_history(
        &self,
        _: tonic::Request<UpdateBuildHistoryRequest>,
    ) -> Result<tonic::Response<UpdateBuildHistoryResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}
