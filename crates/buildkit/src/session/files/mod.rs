//! The files of a build, for BuildKit to fetch: `moby.filesync.v1.FileSync`
//! (<https://github.com/moby/buildkit/blob/master/session/filesync/filesync.proto>).
//!
//! There are two directories. `dockerfile` holds the Dockerfile, and beside it a list of ignored files that
//! ignores nothing, so that no list of the build context counts; `context` holds the build context. Which
//! patterns BuildKit asks for does not matter: there is nothing that the build may not read.
//!
//! A build context can instead be fetched as an archive (`archive`, `upload`).

mod archive;
mod definition;
mod pieces;
mod sender;
mod upload;
mod wire;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, StreamingService};
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;

use self::definition::Definition;
pub(super) use self::upload::Upload;
use self::wire::Packet;
use crate::tree::FileTree;

/// Names of the two directories, as the Dockerfile frontend asks for them.
const CONTEXT: &str = "context";
const DOCKERFILE: &str = "dockerfile";

/// The list of ignored files in the root of a build context.
const IGNORE_FILE: &str = ".dockerignore";

/// The first reason why files could not be sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContextFailure(Arc<Mutex<Option<String>>>);

impl ContextFailure {
    fn set(&self, reason: String) {
        let mut slot = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        slot.get_or_insert(reason);
    }

    /// What it was, if anything.
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// Answers requests for files.
#[derive(Clone)]
pub(crate) struct Files {
    context: Arc<dyn FileTree>,
    definition: Arc<Definition>,
    failure: ContextFailure,
}

impl Files {
    pub(crate) fn new(context: Arc<dyn FileTree>, name: &str, dockerfile: Vec<u8>) -> Self {
        let definition = Arc::new(Definition::new(name, dockerfile));
        Self { context, definition, failure: ContextFailure::default() }
    }

    /// The same build context as an archive.
    pub(super) fn upload(&self) -> Upload {
        Upload::new(Arc::clone(&self.context), self.failure.clone())
    }

    /// Where it says why files could not be sent.
    pub(crate) fn failure(&self) -> ContextFailure {
        self.failure.clone()
    }

    pub(crate) const SERVICE: &str = "moby.filesync.v1.FileSync";
    pub(crate) const METHODS: &[&str] = &["DiffCopy"];

    /// Answers a call of [`SERVICE`](Self::SERVICE).
    pub(crate) async fn call(
        self,
        method: &str,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<tonic::body::Body>, Infallible> {
        if method != "DiffCopy" {
            return Ok(Status::unimplemented("only DiffCopy is there").into_http());
        }
        let mut grpc = Grpc::new(ProstCodec::<Packet, Packet>::default());
        Ok(grpc.streaming(self, request).await)
    }

    /// The tree that a request is for.
    fn tree(&self, metadata: &MetadataMap) -> Result<(Arc<dyn FileTree>, Which), Status> {
        let value = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        match value("dir-name") {
            Some(CONTEXT) => {
                let paths: Vec<_> = metadata.get_all("followpaths").iter().collect();
                let only_ignore_file = matches!(paths.as_slice(), [path] if *path == IGNORE_FILE);
                let which = if only_ignore_file { Which::IgnoreFile } else { Which::All };
                Ok((Arc::clone(&self.context), which))
            }
            Some(DOCKERFILE) => Ok((self.definition.clone(), Which::All)),
            _ => Err(Status::not_found("there is no such directory")),
        }
    }
}

/// Which entries of a tree to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    All,
    /// The one that a frontend reads before it asks for more, if there is one: the list of ignored files
    /// does not count. But an instruction may copy this file alone, and then asks for it just so.
    IgnoreFile,
}

impl Which {
    /// Whether the entry at this path is sent.
    fn sends(self, path: &[u8]) -> bool {
        self == Self::All || path == IGNORE_FILE.as_bytes()
    }
}

impl StreamingService<Packet> for Files {
    type Response = Packet;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Packet, Status>> + Send>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Packet>>) -> Self::Future {
        let tree = self.tree(request.metadata());
        let failure = self.failure.clone();
        Box::pin(async move {
            let (tree, which) = tree?;
            let stream = sender::send(tree, which, request.into_inner(), failure);
            Ok(tonic::Response::new(Box::pin(stream) as Self::ResponseStream))
        })
    }
}
