//! `docker build` with BuildKit: the client reads `.dockerignore` and sends the files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use super::{Builder, Built};
use crate::{Needs, State, setting};

/// The engine that `DOCKER_HOST` names, or the local one.
pub struct Docker {
    program: PathBuf,
    /// The client's state: nobody else's configuration has a say, and none is changed.
    configuration: tempfile::TempDir,
    version: String,
    base: String,
    /// What was built, to be removed again.
    images: Mutex<Vec<String>>,
}

impl Docker {
    /// The engine that the tests are given.
    pub fn from_environment() -> Self {
        let version = |program: &Path, side: &str| {
            let format = format!("{{{{.{side}.Version}}}}");
            let output =
                Command::new(program).args(["version", "--format", &format]).output().ok()?;
            output.status.success().then(|| words(&output.stdout))
        };
        let program = candidates()
            .into_iter()
            .find(|program| {
                let plugin = Command::new(program).args(["buildx", "version"]).output();
                plugin.is_ok_and(|output| output.status.success())
                    || version(program, "Client").is_some_and(|version| major(&version) < 23)
            })
            .expect("no docker command here can build with BuildKit: install docker-buildx, or Debian's docker.io");
        let version = version(&program, "Server").expect("an engine answers: run scripts/setup");
        Self {
            program,
            configuration: tempfile::tempdir().unwrap(),
            version,
            base: base_image(),
            images: Mutex::default(),
        }
    }

    /// The engine's version.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl Builder for Docker {
    fn name(&self) -> String {
        format!("Docker {}", self.version)
    }

    fn has(&self, needs: Needs) -> bool {
        match needs {
            Needs::Any => true,
            Needs::Newer => major(&self.version) >= 28,
        }
    }

    fn workers(&self) -> usize {
        2
    }

    fn build(&self, state: &State, context: &Path) -> Result<Built, String> {
        let id = context.with_file_name("id");
        let mut command = Command::new(&self.program);
        command
            .env("DOCKER_CONFIG", self.configuration.path())
            .env("DOCKER_BUILDKIT", "1")
            .env_remove("BUILDKIT_PROGRESS")
            .args(["build", "--progress=plain", "--platform", &state.platform, "--iidfile"])
            .arg(&id)
            .arg("--file")
            .arg(context.join(&state.dockerfile));
        if let Some(target) = &state.target {
            command.args(["--target", target]);
        }
        for (name, value) in &state.args {
            command.arg("--build-arg").arg(format!("{name}={value}"));
        }
        let output = command.arg(context).output().unwrap();
        if !output.status.success() {
            return Err(words(&output.stderr).lines().last().unwrap_or_default().to_owned());
        }
        let image = std::fs::read_to_string(id).unwrap();
        self.images.lock().unwrap().push(image.clone());
        Ok(Built { ran: steps_that_ran(&output), image })
    }

    fn base(&self) -> String {
        self.base.clone()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let mut images = std::mem::take(&mut *self.images.lock().unwrap());
        images.sort_unstable();
        images.dedup();
        for some in images.chunks(200) {
            // Two tests may have built the same: then the second finds it gone.
            drop(Command::new(&self.program).args(["image", "rm", "--force"]).args(some).output());
        }
    }
}

/// An image with a shell, from `scripts/setup`.
pub(super) fn base_image() -> String {
    setting("DOCKIT_TEST_BASE").expect(
        "DOCKIT_TEST_BASE names an image: run scripts/test, or source what scripts/setup wrote",
    )
}

/// Every `docker` on the path, and Debian's.
fn candidates() -> Vec<PathBuf> {
    let path = setting("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/bin".into()]);
    directories.map(|directory| directory.join("docker")).filter(|file| file.exists()).collect()
}

/// The lines `#7 [stage 2/3] COPY …` name a step, `#7 CACHED` says that it was not run.
fn steps_that_ran(output: &Output) -> Vec<String> {
    let text = words(&output.stderr);
    let mut steps: Vec<(&str, &str)> = Vec::new();
    for line in text.lines() {
        let Some((number, rest)) = line.split_once(' ') else { continue };
        let is_new = number.starts_with('#') && !steps.iter().any(|(known, _)| *known == number);
        if rest == "CACHED" {
            steps.retain(|(known, _)| *known != number);
        } else if is_new && is_instruction(rest) {
            steps.push((number, rest));
        }
    }
    steps.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// Whether a step's name is an instruction's that makes a layer: `[2/3] COPY a b`.
pub(super) fn is_instruction(name: &str) -> bool {
    name.strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
        .is_some_and(|(place, words)| !place.contains("internal") && !words.starts_with("FROM "))
}

fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
