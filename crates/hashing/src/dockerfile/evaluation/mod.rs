//! A build's stages, one after the other: what each instruction does once its words are expanded.

mod copying;
mod healthcheck;
mod instruction;
mod ports;
mod signal;
mod words;

use super::arguments::Collector;
use super::environment::Environment;
use super::error::{DockerfileError, DockerfileErrorKind};
use super::image_config::ImageConfig;
use super::instruction::{Arguments, Instruction};
use super::keyword::Keyword;
use super::program::{ProgramStage, StageBase};
use super::resolve::{Reference, ResolvedDockerfile};
use super::steps::Step;
use super::trigger;

/// The variable that is set in every stage, and what it holds where no base sets it.
const PATH: (&str, &str) = ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");

/// Says what the instructions of a Dockerfile do, stage by stage.
///
/// A stage sees the variables of the one that it is based on, so that stages are asked for in order.
#[derive(Debug)]
pub struct Evaluation<'r> {
    resolved: &'r ResolvedDockerfile<'r>,
    stages: Vec<ProgramStage>,
    /// Of the stages so far.
    environments: Vec<Environment>,
}

impl ResolvedDockerfile<'_> {
    /// What the reachable stages do.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use dockit_hashing::dockerfile::{Dockerfile, ImageConfig, ResolveOptions, StepKind};
    ///
    /// let dockerfile = Dockerfile::parse(b"ARG A=b\nFROM scratch\nARG A\nENV X=$A PATH=/bin:$PATH\n")?;
    /// let none = BTreeMap::new();
    /// let resolved =
    ///     dockerfile.resolve(&ResolveOptions { target: None, args: &none, platform_args: &none })?;
    /// let steps = resolved.evaluation().stage(0, &ImageConfig::default())?;
    /// let StepKind::Env(pairs) = &steps[1].kind else { panic!() };
    /// assert_eq!(pairs[0], ("X".to_owned(), "b".to_owned()));
    /// assert!(pairs[1].1.starts_with("/bin:/usr/local/sbin:"));
    /// # Ok::<(), dockit_hashing::dockerfile::DockerfileError>(())
    /// ```
    pub fn evaluation(&self) -> Evaluation<'_> {
        Evaluation { resolved: self, stages: self.program().stages, environments: Vec::new() }
    }

    /// The first `RUN` of a reachable stage, triggers of bases included: its line, and its text without
    /// `RUN`. Nothing is expanded.
    ///
    /// `bases` tells the configuration of images by position in [`image_uses`](Self::image_uses). One
    /// that it does not know, and a trigger that cannot be parsed, count as if they ran nothing.
    pub fn first_command(
        &self,
        bases: &dyn Fn(usize) -> Option<ImageConfig>,
    ) -> Option<(u32, String)> {
        let command = |instruction: &Instruction| {
            let text = || instruction::command_text(instruction);
            (instruction.keyword == Keyword::Run).then(|| (instruction.line, text()))
        };
        self.stages().iter().find_map(|stage| {
            let of_image = match stage.base {
                Reference::Image(used) => {
                    let line = self.image_uses()[used].line;
                    let config = bases(used);
                    let texts = config.as_ref().and_then(ImageConfig::onbuild).unwrap_or_default();
                    texts.iter().find_map(|text| {
                        let trigger = trigger::parse(text, line, self.escape()).ok()?;
                        command(&trigger)
                    })
                }
                Reference::Scratch | Reference::Stage(_) => None,
            };
            let own = || {
                let mut instructions = stage.triggers.iter().chain(&stage.instructions);
                instructions.find_map(|instruction| command(instruction))
            };
            of_image.or_else(own)
        })
    }
}

impl Evaluation<'_> {
    /// The reachable stages, in the order of the file.
    pub fn stages(&self) -> &[ProgramStage] {
        &self.stages
    }

    /// The steps of the stage at this position among the reachable ones. The triggers of its base come
    /// first. `base` is the configuration of the image that it is based on, and means nothing for other
    /// stages.
    ///
    /// # Errors
    ///
    /// What BuildKit refuses too: a variable that is demanded, a port that is none, a signal, a
    /// duration. Besides, what depends on a configuration that is not known, a trigger that cannot be
    /// told, and what engines read differently.
    ///
    /// # Panics
    ///
    /// Unless positions are asked for in order, from 0 on.
    pub fn stage(
        &mut self,
        position: usize,
        base: &ImageConfig,
    ) -> Result<Vec<Step>, DockerfileError> {
        assert_eq!(position, self.environments.len(), "stages are evaluated in order");
        let stage = &self.resolved.stages()[position];
        let mut steps = Vec::new();
        let (mut environment, sets_path) = match self.stages[position].base {
            StageBase::Scratch => (Environment::default(), false),
            StageBase::Stage(base) => (self.environments[base].inherit(), true),
            StageBase::Image(_) => {
                let sets_path = base.may_set_more() || base.env().any(|(name, _)| name == PATH.0);
                (Environment::of_config(base), sets_path)
            }
        };
        if !sets_path {
            environment.set_env(PATH.0.to_owned(), Some(PATH.1.to_owned()));
        }
        if let StageBase::Image(used) = self.stages[position].base {
            for trigger in self.triggers_of_image(used, base)? {
                steps.push(self.step(&trigger, &mut std::iter::empty(), &mut environment)?);
            }
        }
        let mut references = stage.references.iter();
        for instruction in stage.triggers.iter().chain(&stage.instructions) {
            steps.push(self.step(instruction, &mut references, &mut environment)?);
        }
        self.environments.push(environment);
        Ok(steps)
    }

    fn triggers_of_image(
        &self,
        used: usize,
        config: &ImageConfig,
    ) -> Result<Vec<Instruction>, DockerfileError> {
        let used = &self.resolved.image_uses()[used];
        let unsupported = |message: String| {
            DockerfileError::new(used.line, DockerfileErrorKind::Unsupported(message))
        };
        let texts = config.onbuild().ok_or_else(|| {
            unsupported(format!("the configuration of {} is not known", used.name))
        })?;
        let parsed = texts.iter().map(|text| {
            trigger::parse(text, used.line, self.resolved.escape()).map_err(|problem| {
                unsupported(format!("ONBUILD {text} of {} is not supported: {problem}", used.name))
            })
        });
        parsed.collect()
    }

    /// One instruction. `references` are those of its stage that no instruction before it has used.
    fn step(
        &self,
        instruction: &Instruction,
        references: &mut dyn Iterator<Item = &Reference>,
        environment: &mut Environment,
    ) -> Result<Step, DockerfileError> {
        let mut from = None;
        for _ in instruction.flags.iter().filter(|flag| instruction::has_reference(flag)) {
            from = references.next().copied().map(|reference| self.base(reference));
        }
        let mut collector = Collector::new(self.resolved.globals(), self.resolved.given());
        let kind = match instruction.arguments {
            Arguments::Declarations(_) => None,
            _ => Some(instruction::kind(instruction, from, environment)?),
        };
        collector.follow(instruction, environment)?;
        let kind = kind.unwrap_or_else(|| super::StepKind::Arg(collector.into_found()));
        Ok(Step { line: instruction.line, kind })
    }

    fn base(&self, reference: Reference) -> StageBase {
        match reference {
            Reference::Scratch => StageBase::Scratch,
            Reference::Image(used) => StageBase::Image(used),
            Reference::Stage(index) => {
                let earlier = |stage: &super::resolve::ResolvedStage<'_>| stage.index == index;
                let position = self.resolved.stages().iter().position(earlier);
                StageBase::Stage(position.expect("what a reachable stage refers to is reachable"))
            }
        }
    }
}
