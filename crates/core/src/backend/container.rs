//! Running commands in containers: a rare ability beside building.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use dockit_registry::Platform;

use super::{BackendError, LocalImage};
use crate::command_line::CommandLine;

/// Label on every container that dockit runs. Its value is when the container has to be gone, in
/// seconds since 1970: what is left behind by a run that was killed is removed by a later one.
pub const CONTAINER_LABEL: &str = "dev.dockit.container";

/// An engine that can run a command in a container of an image.
#[async_trait]
pub trait ContainerBackend: Send + Sync {
    /// Runs a command in a new container to its end, and hands over what it writes to either stream as
    /// it comes. The container is gone afterwards, also when the time is up or the future is dropped;
    /// in the latter case the engine may still be at it for a moment.
    ///
    /// # Errors
    ///
    /// The engine cannot be asked, has no such image, or cannot make a container of it. That the
    /// command cannot be started, or fails, is a [`ContainerEnd`].
    async fn run_container(
        &self,
        request: ContainerRequest,
        output: &(dyn for<'piece> Fn(&'piece [u8]) + Sync),
    ) -> Result<ContainerEnd, BackendError>;

    /// The platform of the machine that runs the containers; none if the engine does not say it. What it
    /// runs besides, by emulation, only a try can tell.
    ///
    /// # Errors
    ///
    /// The engine cannot be asked.
    async fn platform(&self) -> Result<Option<Platform>, BackendError> {
        Ok(None)
    }
}

/// One command in one container.
#[derive(Clone, Debug)]
pub struct ContainerRequest {
    /// The image, by the engine's identifier: a name could be put on another one.
    pub image: LocalImage,
    /// What runs instead of the image's entrypoint and command. A text needs `sh` in the image.
    pub command: CommandLine,
    /// Variables added to the image's.
    pub environment: BTreeMap<String, String>,
    /// How long it may take, with the time that the engine needs to start it.
    pub time_limit: Duration,
}

/// How a command in a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerEnd {
    /// By itself, with this exit code; 128 and more is often a signal.
    Exited(i64),
    /// Its time was up.
    TimedOut,
    /// It was never started, for this reason in the engine's words: no such program in the image.
    NotStarted(String),
}
