//! An ssh agent of a run's own, with one key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::error::SecretProblem;
use super::value::SecretValue;
use crate::process::{Pipe, Process};

/// How long an agent may take to listen, and to take a key.
const START: Duration = Duration::from_secs(20);

/// How long it may take to end.
const END: Duration = Duration::from_secs(5);

/// What runs under the agent: it lives as long as somebody holds the other end of its standard input, and
/// so no longer than this process, however that ends.
const KEEPER: &str = "echo; cat > /dev/null; kill \"$SSH_AGENT_PID\"";

/// A running `ssh-agent`. Its socket lies in a directory that nobody else may enter.
pub(super) struct Agent {
    pipe: Pipe,
    directory: TempDir,
}

impl Agent {
    /// Starts one below this directory, and gives it the key: through its standard input, never by a file.
    pub(super) async fn start(
        temporary: &Path,
        key: &SecretValue,
        cancel: &CancellationToken,
    ) -> Result<Self, SecretProblem> {
        let no_agent = |reason: String| SecretProblem::NoAgent(reason);
        let mut builder = tempfile::Builder::new();
        builder.prefix("dockit-ssh-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o700));
        }
        let directory =
            builder.tempdir_in(temporary).map_err(|error| no_agent(error.to_string()))?;
        let socket = socket(&directory);
        let process = Process::new("ssh-agent", directory.path())
            .arg("-a")
            .arg(&socket)
            .args(["sh", "-c", KEEPER]);
        let mut pipe = process.open().map_err(|error| no_agent(error.to_string()))?;
        let listens = tokio::time::timeout(START, pipe.read_u8());
        tokio::select! {
            () = cancel.cancelled() => return Err(no_agent("cancelled".to_owned())),
            listens = listens => match listens {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(no_agent(error.to_string())),
                Err(_) => return Err(no_agent(format!("not there within {} seconds", START.as_secs()))),
            },
        }
        // Without a line end behind it no key is one.
        let mut text = key.reveal().trim_ascii_end().to_vec();
        text.push(b'\n');
        let add = Process::new("ssh-add", directory.path())
            .args(["-q", "-"])
            .env("SSH_AUTH_SOCK", &socket)
            .env("SSH_ASKPASS_REQUIRE", "never")
            .without_env("DISPLAY")
            .without_env("SSH_ASKPASS")
            .input(SecretValue::new(text))
            .time_limit(START);
        let added = add.run(cancel).await.map_err(|error| no_agent(error.to_string()))?;
        if !added.succeeded() {
            return Err(SecretProblem::NoKey);
        }
        Ok(Self { pipe, directory })
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> PathBuf {
        socket(&self.directory)
    }

    /// Ends it. Dropping it does so as well, and waits for nothing.
    pub(super) async fn end(mut self) {
        let ended = async {
            let _ = self.pipe.shutdown().await;
            let _ = self.pipe.read_to_end(&mut Vec::new()).await;
        };
        let _ = tokio::time::timeout(END, ended).await;
    }
}

fn socket(directory: &TempDir) -> PathBuf {
    directory.path().join("agent")
}
