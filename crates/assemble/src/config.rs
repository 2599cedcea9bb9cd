//! The configuration of an image: the base's, and what instructions set in it.
//!
//! The rules are those of BuildKit's Dockerfile frontend, and so are the words of the history. Times are
//! not: everything is made at the same instant, so that the same steps give the same bytes.

mod document;
mod go;
mod history;

use std::collections::BTreeMap;

use dockit_hashing::dockerfile::{CommandLine, Healthcheck, ImageConfig, Step, StepKind};
use dockit_registry::{Digest, Platform};
use serde::Deserialize as _;

use self::document::{Document, HealthcheckDocument, HistoryEntry};
use crate::error::{AssembleError, AssembleErrorKind};

/// When everything is made that is made here: 1980-01-02T00:00:00Z, the time of all files of a build
/// context.
pub const TIME: &str = "1980-01-02T00:00:00Z";

/// What BuildKit sets where no base does.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The shell of the shell form of commands, unless `SHELL` or the base says otherwise.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// The comment in what BuildKit's frontend puts into the history.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// The configuration of an image that is being built.
///
/// ```
/// use dockit_assemble::config::Config;
/// use dockit_hashing::dockerfile::{Step, StepKind};
/// use dockit_registry::Platform;
///
/// let mut config = Config::scratch(&Platform::linux_amd64());
/// config.apply(&Step { line: 2, kind: StepKind::Workdir("a/b".to_owned()) }, None);
/// config.apply(&Step { line: 3, kind: StepKind::User("nobody".to_owned()) }, None);
/// assert_eq!((config.workdir(), config.user()), ("/a/b", "nobody"));
/// let text = String::from_utf8(config.to_bytes()).unwrap();
/// assert!(text.contains(r#""created_by":"USER nobody""#));
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    document: Document,
    /// Whether the stage has a `CMD` of its own, which an `ENTRYPOINT` leaves alone.
    has_command: bool,
}

impl Config {
    /// Of a stage whose base is `scratch`.
    pub fn scratch(platform: &Platform) -> Self {
        let mut document = Document::default();
        document.config.working_dir = "/".to_owned();
        document.config.env = vec![PATH.to_owned()];
        let mut config = Self { document, has_command: false };
        config.set_platform(platform);
        config
    }

    /// Of a stage whose base is an image with this configuration; and what the instructions of the stage
    /// have to know of it. What BuildKit does not know of a configuration is not kept, as it does not:
    /// what is left describes the new image.
    ///
    /// # Errors
    ///
    /// The bytes are no configuration of an image.
    pub fn of_base(bytes: &[u8]) -> Result<(Self, ImageConfig), AssembleError> {
        let damaged = |problem: String| {
            let message = format!("the configuration of the base image is damaged: {problem}");
            AssembleError::new(AssembleErrorKind::Image, message)
        };
        // A list would be taken for the members in their order.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(damaged("it is no JSON object".to_owned()));
        }
        // Of a member that is there twice, the last one counts.
        let document: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        let mut document =
            Document::deserialize(document).map_err(|error| damaged(error.to_string()))?;
        let triggers = std::mem::take(&mut document.config.on_build);
        let base = ImageConfig::from_oci(&document.config.env, &triggers);
        document.created = None;
        document.account_for_layers();
        let execution = &mut document.config;
        if !execution.env.iter().any(|variable| name_of(variable) == "PATH") {
            execution.env.push(PATH.to_owned());
        }
        let mut config = Self { document, has_command: false };
        if !config.document.config.working_dir.is_empty() {
            let directory = config.document.config.working_dir.clone();
            config.set_workdir(&directory);
        }
        Ok((config, base))
    }

    /// How many layers it tells of.
    pub(crate) fn layers(&self) -> usize {
        self.document.rootfs.diff_ids.len()
    }

    /// Of a stage whose base is the stage that ends with this configuration.
    #[must_use]
    pub fn of_stage(&self) -> Self {
        let mut config = Self { has_command: false, ..self.clone() };
        config.document.config.on_build.clear();
        config
    }

    /// Takes over what a step sets, and notes it in the history. `layer` is the digest of the archive
    /// before compression, if the step made a layer.
    pub fn apply(&mut self, step: &Step, layer: Option<&Digest>) {
        self.set(&step.kind);
        self.document.rootfs.diff_ids.extend(layer.map(ToString::to_string));
        if let Some(created_by) = history::wording(&step.kind, self) {
            self.document.history.push(HistoryEntry {
                created: Some(TIME.to_owned()),
                created_by,
                comment: COMMENT.to_owned(),
                empty_layer: layer.is_none(),
                ..HistoryEntry::default()
            });
        }
    }

    /// What the history will say of a step, if it says anything.
    pub fn wording(&self, step: &StepKind) -> Option<String> {
        let mut after = self.clone();
        after.set(step);
        history::wording(step, &after)
    }

    fn set(&mut self, kind: &StepKind) {
        let execution = &mut self.document.config;
        match kind {
            StepKind::Env(pairs) => {
                for (name, value) in pairs {
                    let variable = format!("{name}={value}");
                    match execution.env.iter_mut().find(|known| name_of(known) == name) {
                        Some(known) => *known = variable,
                        None => execution.env.push(variable),
                    }
                }
            }
            StepKind::Label(pairs) => execution.labels.extend(pairs.iter().cloned()),
            StepKind::Cmd(command) => {
                self.document.config.cmd = self.with_shell(command);
                self.document.config.args_escaped = true;
                self.has_command = true;
            }
            StepKind::Entrypoint(command) => {
                self.document.config.entrypoint = self.with_shell(command);
                if !self.has_command {
                    self.document.config.cmd.clear();
                }
            }
            StepKind::Expose(ports) => execution.exposed_ports.extend(ports.iter().cloned()),
            StepKind::Volume(volumes) => execution.volumes.extend(volumes.iter().cloned()),
            StepKind::Healthcheck(healthcheck) => {
                execution.healthcheck = Some(healthcheck_document(healthcheck));
            }
            StepKind::Maintainer(author) => self.document.author.clone_from(author),
            StepKind::Onbuild(trigger) => execution.on_build.push(trigger.clone()),
            StepKind::Shell(shell) => execution.shell.clone_from(shell),
            StepKind::StopSignal(signal) => execution.stop_signal.clone_from(signal),
            StepKind::User(user) => execution.user.clone_from(user),
            StepKind::Workdir(directory) => self.set_workdir(directory),
            // What files they change, and the values of arguments, are not in a configuration.
            _ => {}
        }
    }

    fn set_workdir(&mut self, directory: &str) {
        let known = &mut self.document.config.working_dir;
        *known = match (directory, known.as_str()) {
            // As in BuildKit an absolute path stays as it is written.
            (absolute, _) if absolute.starts_with('/') => absolute.to_owned(),
            ("", "") => "/".to_owned(),
            ("", absolute) if absolute.starts_with('/') => absolute.to_owned(),
            (relative, known) => go::clean_path(&format!("/{known}/{relative}")),
        };
    }

    fn with_shell(&self, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Exec(words) => words.clone(),
            CommandLine::Shell(text) => {
                let mut words = self.document.config.shell.clone();
                if words.is_empty() {
                    words = SHELL.map(str::to_owned).to_vec();
                }
                words.push(text.clone());
                words
            }
        }
    }

    /// Puts labels on the image, over those it has.
    pub fn set_labels(&mut self, labels: &BTreeMap<String, String>) {
        let labels = labels.iter().map(|(name, value)| (name.clone(), value.clone()));
        self.document.config.labels.extend(labels);
    }

    /// Says which platform the image is for, whatever its base says.
    pub fn set_platform(&mut self, platform: &Platform) {
        let document = &mut self.document;
        let same = document.os == platform.os() && document.architecture == platform.architecture();
        platform.os().clone_into(&mut document.os);
        platform.architecture().clone_into(&mut document.architecture);
        match (platform.variant(), same) {
            (Some(variant), _) => variant.clone_into(&mut document.variant),
            (None, false) => document.variant.clear(),
            // Such as v8 of arm64, which means the same as none.
            (None, true) => {
                let named =
                    Platform::new(platform.os(), platform.architecture(), Some(&document.variant));
                if named.is_ok_and(|named| named.variant().is_none()) {
                    document.variant.clear();
                }
            }
        }
        if !same {
            document.os_version.clear();
        }
    }

    /// The working directory: an absolute path.
    pub fn workdir(&self) -> &str {
        match self.document.config.working_dir.as_str() {
            "" => "/",
            directory => directory,
        }
    }

    /// Who runs commands, as `USER` had it; empty where nothing says.
    pub fn user(&self) -> &str {
        &self.document.config.user
    }

    /// Digests of the layers before compression, the lowest first.
    pub fn diff_ids(&self) -> &[String] {
        &self.document.rootfs.diff_ids
    }

    /// The configuration as it is stored. The same steps give the same bytes; members are in the order of
    /// the image spec.
    pub fn to_bytes(&self) -> Vec<u8> {
        let document = Document { created: Some(TIME.to_owned()), ..self.document.clone() };
        serde_json::to_vec(&document).expect("texts, numbers and lists of them are JSON")
    }
}

fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

fn healthcheck_document(healthcheck: &Healthcheck) -> HealthcheckDocument {
    // Nanoseconds of a duration that was read are fewer than that.
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    match healthcheck {
        Healthcheck::None => {
            HealthcheckDocument { test: vec!["NONE".to_owned()], ..HealthcheckDocument::default() }
        }
        Healthcheck::Command {
            command,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        } => {
            let (kind, words) = match command {
                CommandLine::Shell(text) => ("CMD-SHELL", std::slice::from_ref(text)),
                CommandLine::Exec(words) => ("CMD", words.as_slice()),
            };
            let words = words.iter().cloned();
            HealthcheckDocument {
                test: std::iter::once(kind.to_owned()).chain(words).collect(),
                interval: number(*interval),
                timeout: number(*timeout),
                start_period: number(*start_period),
                start_interval: number(*start_interval),
                retries: number(*retries),
            }
        }
    }
}

#[cfg(test)]
mod tests;
