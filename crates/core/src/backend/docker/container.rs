//! Containers for single commands.
//!
//! The engine is not asked to remove a container by itself: a command that ends quickly would take its
//! exit code away before anybody could ask for it. So whoever made a container removes it, in a task of
//! its own that goes on when the one who waited is gone; see [`DockerEngine::settle`].

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use bytes::Bytes;
use dockit_registry::Platform;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::unique_name::{is_unique_name, unique_name};
use super::{DockerEngine, describe, is_connection_error};
use crate::backend::container::{
    CONTAINER_LABEL, ContainerBackend, ContainerEnd, ContainerRequest,
};
use crate::backend::{BackendError, BackendErrorKind};
use crate::command_line::CommandLine;

/// How long the output of a command that has ended is still read. Everything in a container ends with
/// its first process, and the streams then, but a slow reader may not have seen all of it.
const GRACE: Duration = Duration::from_secs(30);

/// How many attempts to remove a container there are; an engine can be busy with it.
const REMOVALS: u32 = 3;

/// Beyond its time limit, how long a container may be there before a later run removes it: clocks
/// differ, and an engine may be slow.
const MARGIN: Duration = Duration::from_secs(10 * 60);

/// What stands in a container's name between what makes it unique and the time.
const UNTIL: &str = "-until-";

/// How many pieces of output, of some KiB each, wait for their reader.
const PIECES: usize = 16;

impl DockerEngine {
    /// Waits until the containers of runs that were given up are gone, at most this long. Call it
    /// before the process ends.
    pub async fn settle(&self, limit: Duration) {
        self.containers.close();
        let _ = tokio::time::timeout(limit, self.containers.wait()).await;
        self.containers.reopen();
    }

    /// Removes containers whose time was up long ago: those of runs that were killed. A container has
    /// the labels of its image too, so the label alone says nothing about who made it: the name must be
    /// one that dockit gives, for the same time.
    async fn sweep(&self, client: &Docker) {
        let filters = HashMap::from([("label", vec![CONTAINER_LABEL])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let Ok(containers) = client.list_containers(Some(options)).await else {
            return;
        };
        for container in containers {
            let labels = container.labels.unwrap_or_default();
            let names = container.names.unwrap_or_default();
            let deadline = labels.get(CONTAINER_LABEL).and_then(|label| deadline(label, &names));
            if let (Some(id), Some(deadline)) = (container.id, deadline)
                && deadline < seconds_since_1970()
            {
                remove(client, &id).await;
            }
        }
    }
}

#[async_trait]
impl ContainerBackend for DockerEngine {
    async fn run_container(
        &self,
        request: ContainerRequest,
        output: &(dyn for<'piece> Fn(&'piece [u8]) + Sync),
    ) -> Result<ContainerEnd, BackendError> {
        let client = self.client().await?;
        self.swept.get_or_init(|| self.sweep(client)).await;
        let (sender, mut pieces) = mpsc::channel(PIECES);
        let given_up = CancellationToken::new();
        // Dropping this future tells the task to come to an end.
        let _guard = given_up.clone().drop_guard();
        let task = self.containers.spawn(run(client.clone(), request, sender, given_up));
        while let Some(piece) = pieces.recv().await {
            output(&piece);
        }
        let ended = task.await.map_err(|error| {
            BackendError::new(BackendErrorKind::Engine, format!("a container's task: {error}"))
        })?;
        ended.map_err(|error| self.failed(BackendErrorKind::Engine, &error))
    }

    async fn platform(&self) -> Result<Option<Platform>, BackendError> {
        Ok(self.facts().await?.platform.parse().ok())
    }
}

/// A container from its making to its removal. The name is ours, so that it can be removed whatever
/// became of the request that made it.
async fn run(
    client: Docker,
    request: ContainerRequest,
    output: mpsc::Sender<Bytes>,
    given_up: CancellationToken,
) -> Result<ContainerEnd, EngineError> {
    if given_up.is_cancelled() {
        return Ok(ContainerEnd::TimedOut);
    }
    let limit = request.time_limit;
    let deadline = seconds_since_1970() + (limit + MARGIN).as_secs();
    let name = name(deadline);
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    // Never cut off: a container could be made behind our back.
    client.create_container(Some(options), body(request, deadline)).await?;
    let end = tokio::select! {
        biased;
        () = given_up.cancelled() => Ok(ContainerEnd::TimedOut),
        () = tokio::time::sleep(limit) => Ok(ContainerEnd::TimedOut),
        end = follow(&client, &name, &output) => end,
    };
    remove(&client, &name).await;
    end
}

async fn follow(
    client: &Docker,
    name: &str,
    output: &mpsc::Sender<Bytes>,
) -> Result<ContainerEnd, EngineError> {
    let options =
        AttachContainerOptionsBuilder::default().stream(true).stdout(true).stderr(true).build();
    // Before the start, so that nothing is missed.
    let mut attached = client.attach_container(name, Some(options)).await?;
    match client.start_container(name, None).await {
        Ok(()) => {}
        Err(error) if is_connection_error(&error) => return Err(error),
        Err(error) => return Ok(ContainerEnd::NotStarted(describe(&error))),
    }
    let streams = async {
        // An error ends the streams as their end does; the exit code is what counts.
        while let Some(Ok(piece)) = attached.output.next().await {
            if output.send(piece.into_bytes()).await.is_err() {
                return;
            }
        }
    };
    tokio::pin!(streams);
    let exit = exit_code(client, name);
    tokio::pin!(exit);
    let mut open = true;
    let code = loop {
        tokio::select! {
            () = &mut streams, if open => open = false,
            code = &mut exit => break code?,
        }
    };
    if open {
        let _ = tokio::time::timeout(GRACE, &mut streams).await;
    }
    Ok(ContainerEnd::Exited(code))
}

/// Waits for the end. A container that has ended already still has its exit code.
async fn exit_code(client: &Docker, name: &str) -> Result<i64, EngineError> {
    match client.wait_container(name, None).next().await {
        Some(Ok(ended)) => Ok(ended.status_code),
        Some(Err(EngineError::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(error),
        None => Err(EngineError::IOError {
            err: std::io::Error::other("the engine does not say how a container ended"),
        }),
    }
}

async fn remove(client: &Docker, name: &str) {
    for attempt in 0..REMOVALS {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match client.remove_container(name, Some(options)).await {
            // 404: it is gone. 409: it is being removed.
            Ok(()) | Err(EngineError::DockerResponseServerError { status_code: 404 | 409, .. }) => {
                return;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200 << attempt)).await,
        }
    }
}

/// A name of its own for a container that is to be gone at this time.
fn name(deadline: u64) -> String {
    format!("{}{UNTIL}{deadline}", unique_name())
}

/// When a container is to be gone that has this label and these names, if it is one of dockit's.
fn deadline(label: &str, names: &[String]) -> Option<u64> {
    let ours = |name: &String| {
        // The engine begins names with a slash.
        let name = name.strip_prefix('/').unwrap_or(name);
        let unique = name.strip_suffix(label).and_then(|name| name.strip_suffix(UNTIL));
        unique.is_some_and(is_unique_name)
    };
    names.iter().any(ours).then(|| label.parse().ok())?
}

fn body(request: ContainerRequest, deadline: u64) -> ContainerCreateBody {
    let words = match request.command {
        CommandLine::Shell(text) => vec!["sh".to_owned(), "-c".to_owned(), text],
        CommandLine::Program(words) => words,
    };
    let environment = request.environment.iter().map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        image: Some(request.image.id),
        // All of it as entrypoint: an image may have one without a command and the other way round.
        entrypoint: Some(words),
        cmd: Some(Vec::new()),
        env: Some(environment.collect()),
        labels: Some(HashMap::from([(CONTAINER_LABEL.to_owned(), deadline.to_string())])),
        attach_stdin: Some(false),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(false),
        tty: Some(false),
        host_config: Some(HostConfig {
            // What is attached is enough; a log of the engine would only fill its disk.
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::LocalImage;
    use std::collections::BTreeMap;

    #[test]
    fn the_command_takes_the_place_of_entrypoint_and_command() {
        let request = |command| ContainerRequest {
            image: LocalImage { id: "sha256:1".to_owned(), labels: BTreeMap::new() },
            command,
            environment: BTreeMap::from([("A".to_owned(), "b c".to_owned())]),
            time_limit: Duration::from_secs(60),
        };
        let shell = body(request(CommandLine::Shell("a && b".to_owned())), 7);
        assert_eq!(shell.entrypoint.unwrap(), ["sh", "-c", "a && b"]);
        assert_eq!(shell.cmd.unwrap(), Vec::<String>::new());
        assert_eq!(shell.env.unwrap(), ["A=b c"]);
        let words = vec!["/prog".to_owned(), "x y".to_owned()];
        let program = body(request(CommandLine::Program(words.clone())), 7);
        assert_eq!((program.entrypoint.unwrap(), program.open_stdin), (words, Some(false)));
        assert_eq!(program.labels.unwrap()[CONTAINER_LABEL], "7");
    }

    #[test]
    fn only_a_container_with_a_name_for_the_time_of_its_label_is_ours() {
        let ours = format!("/{}", name(17));
        for (label, names, expected) in [
            ("17", vec!["/other".to_owned(), ours.clone()], Some(17)),
            ("18", vec![ours.clone()], None),
            ("7", vec![ours.clone()], None),
            ("", vec![ours.clone()], None),
            ("17", vec![format!("/my{}", &ours[1..])], None),
            ("17", vec!["/dockit-until-17".to_owned()], None),
            ("17", vec!["/dockit-cache-until-17".to_owned()], None),
            ("17", vec!["/dockit-1-2-until-17".to_owned()], None),
            ("17", vec!["/web".to_owned()], None),
            ("soon", vec!["/dockit-1-a-3-until-soon".to_owned()], None),
            ("17", Vec::new(), None),
        ] {
            assert_eq!(deadline(label, &names), expected, "{label} {names:?}");
        }
    }
}
