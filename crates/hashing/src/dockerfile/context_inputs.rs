//! What of the build context the reachable stages can read.

use std::collections::BTreeMap;
use std::fmt;

use super::arguments::Collector;
use super::environment::Environment;
use super::error::{DockerfileError, DockerfileErrorKind};
use super::image_config::ImageConfig;
use super::instruction::{Arguments, Instruction};
use super::resolve::{Reference, ResolvedDockerfile, ResolvedStage};
use super::secrets::{SecretMount, secret_mounts};
use super::sources::{Bases, named_sources};
use super::trigger;
use crate::context::{Selection, Source};

/// What of the build context a build can read, and why it is all of it where it is.
#[derive(Clone, Debug)]
pub struct ContextInputs {
    sources: Vec<Source>,
    whole: Vec<WholeContext>,
    secrets: Vec<SecretMount>,
}

/// A place that reads the whole build context, or may read any of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeContext {
    /// The 1-based line of the instruction; that of the `FROM` where its base is the reason.
    pub line: u32,
    /// Why.
    pub reason: WholeContextReason,
}

/// Why a build reads the whole build context, or counts as if it did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WholeContextReason {
    /// The instruction reads its root.
    Reads {
        /// What it says.
        instruction: String,
    },
    /// What the instruction reads depends on a variable of a base image whose `ENV` is not known, or
    /// on an argument that is [hidden](ResolvedDockerfile::hide).
    UnknownVariable {
        /// What it says.
        instruction: String,
    },
    /// The triggers of a base image are not known.
    UnknownBase {
        /// The image's name, as the `FROM` has it.
        image: String,
    },
    /// What a trigger of a base image does cannot be told.
    UnclearTrigger {
        /// Its text, without `ONBUILD`.
        trigger: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ContextInputs {
    /// The files that the build can read: everything if there is any [`WholeContext`].
    pub fn selection(&self) -> Selection {
        if self.whole.is_empty() {
            Selection::of(self.sources.iter().cloned())
        } else {
            Selection::whole()
        }
    }

    /// What the build mounts besides, and what no key covers, in the order in which a build meets it.
    pub fn secret_mounts(&self) -> &[SecretMount] {
        &self.secrets
    }

    /// The places that read the whole build context, in the order in which a build meets them.
    pub fn whole_context(&self) -> &[WholeContext] {
        &self.whole
    }
}

impl fmt::Display for WholeContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.reason)
    }
}

impl fmt::Display for WholeContextReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reads { instruction } => write!(formatter, "{instruction} reads all of it"),
            Self::UnknownVariable { instruction } => write!(
                formatter,
                "{instruction} may read any of it: the value of a variable is not known"
            ),
            Self::UnknownBase { image } => write!(
                formatter,
                "ONBUILD instructions of {image} may read any of it: its configuration is not known"
            ),
            Self::UnclearTrigger { trigger, problem } => {
                write!(formatter, "ONBUILD {trigger} may read any of it: {problem}")
            }
        }
    }
}

impl ResolvedDockerfile<'_> {
    /// What of the build context the reachable stages can read, given what `bases` tells of the
    /// images that they are based on, by position in [`image_uses`](Self::image_uses). An image that
    /// it does not know may have triggers that read anything.
    ///
    /// The selection does not depend on anything but the Dockerfile, its arguments and platform, and
    /// what `bases` says.
    ///
    /// # Errors
    ///
    /// What cannot be expanded with these environments, and an `ADD` that fetches from elsewhere.
    pub fn context_inputs(
        &self,
        bases: &dyn Fn(usize) -> Option<ImageConfig>,
    ) -> Result<ContextInputs, DockerfileError> {
        self.inputs_and_config(bases).map(|(inputs, _)| inputs)
    }

    /// What a build on top of the target's image takes over from it, given the same of the images
    /// that it is based on.
    ///
    /// # Errors
    ///
    /// Those of [`context_inputs`](Self::context_inputs).
    pub fn image_config(
        &self,
        bases: &dyn Fn(usize) -> Option<ImageConfig>,
    ) -> Result<ImageConfig, DockerfileError> {
        self.inputs_and_config(bases).map(|(_, config)| config)
    }

    /// [`context_inputs`](Self::context_inputs) and [`image_config`](Self::image_config) at once.
    ///
    /// # Errors
    ///
    /// Those of [`context_inputs`](Self::context_inputs).
    pub fn inputs_and_config(
        &self,
        bases: &dyn Fn(usize) -> Option<ImageConfig>,
    ) -> Result<(ContextInputs, ImageConfig), DockerfileError> {
        let mut follower = Follower {
            resolved: self,
            inputs: ContextInputs { sources: Vec::new(), whole: Vec::new(), secrets: Vec::new() },
            config: ImageConfig::default(),
            environments: BTreeMap::new(),
        };
        // The target comes last: what it needs stands before it in the file.
        for stage in self.stages() {
            follower.stage(stage, bases)?;
        }
        let Follower { inputs, config, .. } = follower;
        Ok((inputs, config))
    }
}

/// Goes through the stages as a build does.
struct Follower<'r> {
    resolved: &'r ResolvedDockerfile<'r>,
    inputs: ContextInputs,
    /// Of the latest stage.
    config: ImageConfig,
    /// Of the stages so far, by position in the file.
    environments: BTreeMap<usize, Environment>,
}

impl Follower<'_> {
    fn stage(
        &mut self,
        stage: &ResolvedStage<'_>,
        bases: &dyn Fn(usize) -> Option<ImageConfig>,
    ) -> Result<(), DockerfileError> {
        let mut environment = match stage.base {
            Reference::Scratch => Environment::default(),
            Reference::Stage(base) => self.environments[&base].inherit(),
            Reference::Image(used) => self.base_image(used, bases(used))?,
        };
        for instruction in stage.triggers.iter().chain(&stage.instructions) {
            self.instruction(instruction, &mut environment)?;
        }
        let unclear = self
            .inputs
            .whole
            .iter()
            .any(|whole| matches!(whole.reason, WholeContextReason::UnclearTrigger { .. }));
        let triggers = stage
            .instructions
            .iter()
            .filter(|instruction| matches!(instruction.arguments, Arguments::Trigger(_)))
            .map(|instruction| instruction.trigger.clone());
        // What cannot be told may be an ONBUILD.
        let triggers = (!unclear).then(|| triggers.collect());
        self.config = ImageConfig::of_stage(environment.clone(), triggers);
        self.environments.insert(stage.index, environment);
        Ok(())
    }

    /// The environment after the triggers of a base image.
    fn base_image(
        &mut self,
        used: usize,
        config: Option<ImageConfig>,
    ) -> Result<Environment, DockerfileError> {
        let used = &self.resolved.image_uses()[used];
        let line = used.line;
        let config = config.unwrap_or_else(ImageConfig::unknown);
        let mut environment = Environment::of_config(&config);
        let Some(triggers) = config.onbuild() else {
            let reason = WholeContextReason::UnknownBase { image: used.name.clone() };
            self.inputs.whole.push(WholeContext { line, reason });
            return Ok(environment);
        };
        for text in triggers {
            let parsed = trigger::parse(text, line, self.resolved.escape());
            let followed = match parsed {
                Ok(trigger) => match self.instruction(&trigger, &mut environment) {
                    // More files in the key would not help.
                    Err(error) if matches!(error.kind(), DockerfileErrorKind::Unsupported(_)) => {
                        return Err(error);
                    }
                    followed => followed.map_err(|error| error.message()),
                },
                Err(problem) => Err(problem),
            };
            if let Err(problem) = followed {
                environment.forget();
                let trigger = text.clone();
                let reason = WholeContextReason::UnclearTrigger { trigger, problem };
                self.inputs.whole.push(WholeContext { line, reason });
            }
        }
        Ok(environment)
    }

    fn instruction(
        &mut self,
        instruction: &Instruction,
        environment: &mut Environment,
    ) -> Result<(), DockerfileError> {
        let resolved = self.resolved;
        Collector::new(resolved.globals(), resolved.given())
            .hiding(resolved.hidden())
            .follow(instruction, environment)?;
        self.inputs.secrets.extend(secret_mounts(instruction, environment));
        for named in named_sources(instruction, environment, Bases::Known)? {
            let reason = match named.source() {
                Some(source) if !source.is_whole() => {
                    self.inputs.sources.push(source);
                    continue;
                }
                Some(_) => WholeContextReason::Reads { instruction: named.describe() },
                None => WholeContextReason::UnknownVariable { instruction: named.describe() },
            };
            self.inputs.whole.push(WholeContext { line: instruction.line, reason });
        }
        Ok(())
    }
}
