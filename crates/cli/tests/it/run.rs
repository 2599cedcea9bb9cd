//! Running the command in a project of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

/// A run that takes longer hangs, and is ended, so that a test fails and says what the run had said.
const LONGEST_RUN: Duration = Duration::from_secs(600);

/// A temporary project, and an environment in which nothing of the machine is found.
pub(crate) struct Project {
    directory: TempDir,
    pub(crate) docker_host: String,
    pub(crate) variables: Vec<(&'static str, String)>,
    /// The umask of its runs, where it is not the test's.
    pub(crate) umask: Option<&'static str>,
}

impl Project {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let docker_host = format!("unix://{}/no-engine.sock", directory.path().display());
        let project = Self { directory, docker_host, variables: Vec::new(), umask: None };
        for (path, content) in files {
            project.write(path, content);
        }
        project
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("project")
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let home = self.directory.path().join("home");
        std::fs::create_dir_all(&home).unwrap();
        let program = env!("CARGO_BIN_EXE_dockit");
        let mut command = Command::new(if self.umask.is_some() { "/bin/sh" } else { program });
        if let Some(umask) = self.umask {
            command.args(["-c", "umask \"$1\"; shift; exec \"$0\" \"$@\"", program, umask]);
        }
        command
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .env("HOME", home)
            .env("DOCKER_HOST", &self.docker_host)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = piped.spawn().unwrap();
        let process = child.id().to_string();
        let (ended, end) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            if end.recv_timeout(LONGEST_RUN) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-9", &process]).status();
            }
        });
        let output = child.wait_with_output().unwrap();
        drop(ended);
        watchdog.join().unwrap();
        Ran::of(output, &self.root())
    }
}

/// How a run ended, with the project's directory written as `DIR`.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output, root: &Path) -> Self {
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).replace(&root.display().to_string(), "DIR")
        };
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
