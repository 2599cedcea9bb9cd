//! The client.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{
    InfoRequest, ListWorkersRequest, StatusRequest, StatusResponse,
};
use bollard_buildkit_proto::pb::Platform;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::Uri;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::build::{Build, Built};
use crate::connection::{Calls, Dial, upgrade};
use crate::error::{Error, ErrorKind};
use crate::random::random_id;
use crate::session::{Session, over_stream};
use crate::solve;

/// How long the events of a build that has failed may keep still before nobody waits for more.
const SILENCE_OF_FAILED: Duration = Duration::from_secs(5);

/// The same for a build that succeeded: what its events do not say is not known.
const SILENCE_OF_DONE: Duration = Duration::from_secs(30);

/// How long a connection may take until it can be used, with everything that goes before: as long as one
/// behind ssh, which gives up after 30 seconds.
const OPENING: Duration = Duration::from_secs(40);

/// The largest message that is taken. Events of many steps come together.
const LARGEST_MESSAGE: usize = 64 * 1024 * 1024;

/// Takes what happens in a build. [`ControlFlow::Break`] ends the build.
pub type Observer<'a> = dyn FnMut(StatusResponse) -> ControlFlow<()> + Send + 'a;

/// Speaks to one BuildKit. Each build, and each question, has connections of its own.
#[derive(Clone)]
pub struct Client {
    dial: Arc<dyn Dial>,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Buildkitd,
    /// With what stands before the paths of the API.
    DockerEngine(String),
}

/// A worker of a BuildKit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worker {
    /// Its identifier.
    pub id: String,
    /// Platforms that it builds for, such as `linux/amd64`; the first is its own.
    pub platforms: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Client {
    /// A buildkitd: calls are made as soon as it is connected to.
    pub fn buildkitd(dial: impl Dial + 'static) -> Self {
        Self { dial: Arc::new(dial), way: Way::Buildkitd }
    }

    /// The BuildKit in a Docker Engine, over its API, of a version such as `1.41`; `None`: the engine's own.
    pub fn docker_engine(dial: impl Dial + 'static, api_version: Option<&str>) -> Self {
        let prefix = api_version.map(|version| format!("/v{version}")).unwrap_or_default();
        Self { dial: Arc::new(dial), way: Way::DockerEngine(prefix) }
    }

    /// The workers. A Docker Engine has one.
    ///
    /// # Errors
    ///
    /// Of all kinds but [`ErrorKind::Build`], [`ErrorKind::Context`] and [`ErrorKind::Stopped`].
    pub async fn workers(&self) -> Result<Vec<Worker>, Error> {
        let mut tasks = JoinSet::new();
        let (mut control, calls) = self.control(&mut tasks).await?;
        let answer = control.list_workers(ListWorkersRequest { filter: Vec::new() }).await;
        let answer = answer.map_err(|status| failed(&status, &calls))?.into_inner();
        let worker =
            |record: bollard_buildkit_proto::moby::buildkit::v1::types::WorkerRecord| Worker {
                id: record.id,
                platforms: record.platforms.iter().map(platform).collect(),
                labels: record.labels.into_iter().collect(),
            };
        Ok(answer.record.into_iter().map(worker).collect())
    }

    /// BuildKit's version, such as `v0.25.0`. `None`: it is too old to say (before 0.11), as a Docker Engine
    /// before 24 is.
    ///
    /// # Errors
    ///
    /// As for [`workers`](Self::workers).
    pub async fn version(&self) -> Result<Option<String>, Error> {
        let mut tasks = JoinSet::new();
        let (mut control, calls) = self.control(&mut tasks).await?;
        match control.info(InfoRequest {}).await {
            Ok(answer) => Ok(answer.into_inner().buildkit_version.map(|version| version.version)),
            Err(status) if status.code() == Code::Unimplemented => Ok(None),
            Err(status) => Err(failed(&status, &calls)),
        }
    }

    /// Builds. A daemon that does not take the build within 40 seconds for each of its connections, or that
    /// vanishes later without a word, is [`ErrorKind::Unavailable`]. Dropping the future ends the build, here and in the daemon.
    ///
    /// `observer` is called from within the future: be quick.
    ///
    /// # Errors
    ///
    /// Of all kinds. Where files could not be sent, it is [`ErrorKind::Context`], whatever the daemon made
    /// of that. Where it is built and the daemon does not say to the end what happened, it is
    /// [`ErrorKind::Protocol`]: `observer` may not have been told of everything that was used.
    pub async fn build(&self, build: &Build, observer: &mut Observer<'_>) -> Result<Built, Error> {
        // Everything of this build that runs beside it, and ends with it.
        let mut tasks = JoinSet::new();
        let session = Session::new(build);
        let (mut control, calls) = self.control(&mut tasks).await?;
        in_time(self.open(&session, &mut control, &mut tasks)).await?;
        let solved = solve(build, &session, control, observer).await;
        if let (Err(_), Some(reason)) = (&solved, session.failure().get()) {
            return Err(Error::new(ErrorKind::Context, reason));
        }
        solved.map_err(|end| match end {
            End::Answered(status) if calls.is_lost() => Error::lost(status.message()),
            End::Answered(status) => match status.code() {
                Code::Unavailable => Error::new(ErrorKind::Unavailable, status.message()),
                Code::Unimplemented => Error::answered(&status, ErrorKind::Build),
                // Whoever got this far was let in: what is denied is something that the build wants.
                _ => Error::new(ErrorKind::Build, status.message()),
            },
            End::Untold(reason) if calls.is_lost() => Error::lost(reason),
            End::Untold(reason) => {
                let message = format!("what the build used is not known ({reason})");
                Error::new(ErrorKind::Protocol, message)
            }
            End::Stopped => Error::new(ErrorKind::Stopped, "whoever watches it wants no more"),
        })
    }

    /// Has the daemon take the session.
    async fn open(
        &self,
        session: &Session,
        control: &mut ControlClient<Calls>,
        tasks: &mut JoinSet<()>,
    ) -> Result<(), Error> {
        match &self.way {
            Way::Buildkitd => {
                let io = over_stream(control, &session.headers(), tasks).await?;
                session.serve(io, tasks);
            }
            Way::DockerEngine(prefix) => {
                let io = self.dial.dial().await.map_err(|error| Error::dialing(&error))?;
                let path = format!("{prefix}/session");
                let io = upgrade(io, &path, &session.headers(), tasks).await?;
                session.serve(io, tasks);
            }
        }
        Ok(())
    }

    /// Connects.
    async fn control(
        &self,
        tasks: &mut JoinSet<()>,
    ) -> Result<(ControlClient<Calls>, Calls), Error> {
        in_time(self.connect(tasks)).await
    }

    async fn connect(
        &self,
        tasks: &mut JoinSet<()>,
    ) -> Result<(ControlClient<Calls>, Calls), Error> {
        let io = self.dial.dial().await.map_err(|error| Error::dialing(&error))?;
        let calls = match &self.way {
            Way::Buildkitd => Calls::over(io, tasks).await?,
            Way::DockerEngine(prefix) => {
                let io = upgrade(io, &format!("{prefix}/grpc"), &[], tasks).await?;
                Calls::over(io, tasks).await?
            }
        };
        let control =
            ControlClient::with_origin(calls.clone(), Uri::from_static("http://localhost"))
                .max_decoding_message_size(LARGEST_MESSAGE);
        Ok((control, calls))
    }
}

async fn in_time<T>(opening: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(OPENING, opening).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} seconds", OPENING.as_secs());
        Err(Error::new(ErrorKind::Unavailable, message))
    })
}

/// Why there is no image.
enum End {
    Answered(Status),
    /// It was built, and the events are not complete: why.
    Untold(String),
    Stopped,
}

/// Has the build done, and passes on what happens in it, to the end.
async fn solve(
    build: &Build,
    session: &Session,
    control: ControlClient<Calls>,
    observer: &mut Observer<'_>,
) -> Result<Built, End> {
    let reference = random_id();
    let request = solve::request(build, &reference, session.id());
    let mut solving = control.clone();
    let mut solving = Box::pin(async move { solving.solve(request).await });
    let mut watching = control;
    let events = async move { watching.status(StatusRequest { r#ref: reference }).await };
    let mut events =
        Box::pin(stream::once(events).map_ok(tonic::Response::into_inner).try_flatten().fuse());
    let mut solved = None;
    // How they ended.
    let mut told = None;
    while solved.is_none() || told.is_none() {
        let silence = match &solved {
            Some(Err(_)) => SILENCE_OF_FAILED,
            _ => SILENCE_OF_DONE,
        };
        tokio::select! {
            // What happened before it ended comes before its end.
            biased;
            event = events.next(), if told.is_none() => match event {
                Some(Ok(event)) => {
                    if observer(event).is_break() {
                        return Err(End::Stopped);
                    }
                }
                None => told = Some(Ok(())),
                // A build that never began has no events; its own answer says why.
                Some(Err(status)) => told = Some(Err(status.message().to_owned())),
            },
            answer = &mut solving, if solved.is_none() => solved = Some(answer),
            () = tokio::time::sleep(silence), if solved.is_some() => {
                told = Some(Err("its events do not end".to_owned()));
            }
        }
    }
    match solved {
        Some(Ok(answer)) => {
            if let Some(Err(reason)) = told {
                return Err(End::Untold(reason));
            }
            let response = answer.into_inner().exporter_response;
            Ok(Built { response: response.into_iter().collect() })
        }
        Some(Err(status)) => Err(End::Answered(status)),
        None => Err(End::Stopped),
    }
}

fn failed(status: &Status, calls: &Calls) -> Error {
    if calls.is_lost() {
        return Error::lost(status.message());
    }
    match status.code() {
        Code::Unavailable => Error::new(ErrorKind::Unavailable, status.message()),
        _ => Error::answered(status, ErrorKind::Protocol),
    }
}

fn platform(platform: &Platform) -> String {
    let Platform { os, architecture, variant, .. } = platform;
    match variant.as_str() {
        "" => format!("{os}/{architecture}"),
        variant => format!("{os}/{architecture}/{variant}"),
    }
}
