//! A buildkitd of any version, through `buildctl`: the client sends the files.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::docker::{base_image, is_instruction};
use super::{Builder, Built};
use crate::{Needs, State, setting};

/// The buildkitd that `DOCKIT_BUILDKIT` names.
pub struct Buildctl {
    address: String,
    base: String,
}

impl Buildctl {
    /// Where the tests are told to look.
    pub fn from_environment() -> Self {
        let address = setting("DOCKIT_BUILDKIT").expect("DOCKIT_BUILDKIT is a buildkitd's address");
        Self { address, base: base_image() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("buildctl");
        command.args(["--addr", &self.address]);
        command
    }
}

impl Builder for Buildctl {
    fn name(&self) -> String {
        let output =
            self.command().args(["debug", "info"]).output().expect("buildctl is on the path");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.lines().find_map(|line| line.strip_prefix("BuildKit:"));
        let version = version.unwrap_or_else(|| panic!("no buildkitd at {}", self.address));
        version.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn has(&self, _: Needs) -> bool {
        true
    }

    /// One: all contexts have the same name, and a build must not meet the files of another.
    fn workers(&self) -> usize {
        1
    }

    fn build(&self, state: &State, context: &Path) -> Result<Built, String> {
        // What it keeps of the last context it would compare by times and sizes.
        let pruned = self.command().args(["prune", "--filter", "type==source.local"]).output();
        assert!(pruned.unwrap().status.success(), "buildctl prune failed");
        let metadata = context.with_file_name("metadata");
        let dockerfile = context.join(&state.dockerfile);
        let mut command = self.command();
        command
            .args(["build", "--progress=rawjson", "--frontend=dockerfile.v0"])
            .args(["--local", &format!("context={}", context.display())])
            .args(["--local", &format!("dockerfile={}", dockerfile.parent().unwrap().display())])
            .args(["--opt", &format!("filename={}", dockerfile.file_name().unwrap().display())])
            .args(["--opt", &format!("platform={}", state.platform)])
            .arg("--output=type=docker,dest=/dev/null")
            .arg("--metadata-file")
            .arg(&metadata);
        if let Some(target) = &state.target {
            command.args(["--opt", &format!("target={target}")]);
        }
        for (name, value) in &state.args {
            command.args(["--opt", &format!("build-arg:{name}={value}")]);
        }
        let output = command.output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            return Err(log.lines().last().unwrap_or_default().to_owned());
        }
        let metadata: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
        let image = metadata["containerimage.config.digest"].as_str().unwrap().to_owned();
        Ok(Built { ran: steps_that_ran(&log), image })
    }

    fn base(&self) -> String {
        self.base.clone()
    }
}

/// Of the status messages, one a line.
fn steps_that_ran(log: &str) -> Vec<String> {
    let mut ran = Vec::new();
    for line in log.lines() {
        let Ok(status) = serde_json::from_str::<Value>(line) else { continue };
        for vertex in status["vertexes"].as_array().into_iter().flatten() {
            let text = |field: &str| vertex[field].as_str().unwrap_or_default().to_owned();
            let (digest, name) = (text("digest"), text("name"));
            if vertex["cached"].as_bool().unwrap_or_default() {
                ran.retain(|(known, _)| *known != digest);
            } else if !vertex["completed"].is_null() && is_instruction(&name) {
                ran.push((digest, name));
            }
        }
    }
    ran.into_iter().map(|(_, name)| name).collect()
}
