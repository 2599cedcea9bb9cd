//! A client for BuildKit: it builds Dockerfiles, through a Docker Engine or a buildkitd.
//!
//! [`Client`] is the central type. A [`Build`] says what to build: the Dockerfile's text, the files that it may
//! read, arguments, secrets, and what becomes of the image. [`Client::build`] opens a session, in which
//! BuildKit fetches what it needs of that, has the build done, and passes on what happens.
//!
//! The build context is a [`FileTree`]: a list of entries and a way to read one. It is sent as it is listed,
//! with nothing beside it; no list of ignored files counts, and the Dockerfile is no part of it. It is never
//! in memory, however large it is.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use std::sync::Arc;
//!
//! use dockit_buildkit::{Build, Client, NoFiles, Output, TcpDial};
//!
//! # async fn example() -> Result<(), dockit_buildkit::Error> {
//! let client = Client::buildkitd(TcpDial::new("127.0.0.1:1234"));
//! let mut build = Build::new("FROM alpine:3\nRUN date > /date\n", Arc::new(NoFiles), "no files");
//! build.output = Output::Push {
//!     repository: "registry.example/date".to_owned(),
//!     by_digest: true,
//!     insecure: false,
//! };
//! let mut steps = Vec::new();
//! let built = client
//!     .build(&build, &mut |status| {
//!         steps.extend(status.vertexes.into_iter().map(|step| step.name));
//!         ControlFlow::Continue(())
//!     })
//!     .await?;
//! assert!(built.digest().is_some());
//! # Ok(())
//! # }
//! ```
//!
//! # Limitations
//!
//! - Only the Dockerfile frontend, and what a Dockerfile's `# syntax=` leads to. No build definitions of one's
//!   own, no named contexts.
//! - No output to files or directories, no provenance attestations.
//! - Files belong to root, and have no extended attributes; hard links are files.
//! - Everything of one build context is sent, though a frontend asks for less: it should list only what the
//!   build reads. What an earlier build with the same files has sent is not sent again.
//! - BuildKit before 0.11 (Docker Engine before 24) gives directories that hold something the time of the
//!   transfer instead of their own, unless they are sent as [`Transfer::Archive`].
//! - BuildKit keeps the messages of a step up to a limit of its own (2 MiB, or as it is configured), and says
//!   so in the output; its Docker Engine too.
//! - TLS and ssh are not here: see [`Dial`].

mod build;
mod client;
mod connection;
mod error;
mod random;
mod secret;
mod session;
mod solve;
mod tree;

pub use bollard_buildkit_proto::moby::buildkit::v1::{
    StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning,
};

pub use self::build::{Build, Built, CacheEntry, Network, Output, ResolveMode, Transfer};
pub use self::client::{Client, Observer, Worker};
#[cfg(unix)]
pub use self::connection::UnixDial;
pub use self::connection::{Dial, Io, TcpDial};
pub use self::error::{Error, ErrorKind};
pub use self::secret::SecretBytes;
pub use self::session::{Login, RegistryAuth};
pub use self::tree::{Entry, EntryKind, FileTree, NoFiles, compare_paths};
