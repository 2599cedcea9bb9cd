//! What is to be done, before anything is.

use std::sync::Arc;

use dockit_hashing::dockerfile::{
    DockerfileError, ImageConfig, ProgramStage, StageBase, Step, StepKind,
};
use dockit_registry::Platform;

use super::Assembly;
use crate::config::Config;
use crate::error::{AssembleError, AssembleErrorKind};
use crate::images::BaseImage;

/// A stage, and what its instructions do.
pub(super) struct Stage {
    pub(super) base: Base,
    pub(super) steps: Vec<Step>,
    /// Whether the image consists of its layers, besides others.
    pub(super) in_image: bool,
}

/// What a stage begins with.
pub(super) enum Base {
    Scratch(Config),
    Stage(usize),
    Image { position: usize, image: Arc<BaseImage>, config: Config },
}

/// The stages in their order; the last one is the image.
///
/// # Errors
///
/// A stage needs commands, or an instruction is wrong, or the configuration of a base cannot be had.
pub(super) fn plan(assembly: &Assembly<'_>) -> Result<Vec<Stage>, AssembleError> {
    let mut evaluation = assembly.dockerfile.evaluation();
    let program = evaluation.stages().to_vec();
    let uses = assembly.dockerfile.image_uses();
    let mut stages = Vec::with_capacity(program.len());
    for (index, stage) in program.iter().enumerate() {
        let (base, known) = match stage.base {
            StageBase::Scratch => {
                let config = scratch(assembly, stage).map_err(|error| {
                    match assembly.dockerfile.stage_line(index) {
                        Some(line) => error.at(line),
                        None => error,
                    }
                })?;
                (Base::Scratch(config), None)
            }
            StageBase::Stage(base) => (Base::Stage(base), None),
            StageBase::Image(position) => {
                let line = uses[position].line;
                let image = assembly.images.image(position).map_err(|error| error.at(line))?;
                let read = Config::of_base(&image.config);
                let (config, known) = read.map_err(|error| error.at(line))?;
                image.check(config.layers()).map_err(|error| error.at(line))?;
                (Base::Image { position, image, config }, Some(known))
            }
        };
        let known = known.unwrap_or_else(ImageConfig::default);
        let steps = evaluation.stage(index, &known).map_err(|error| wrong(&error))?;
        if let Some((line, command)) = steps.iter().find_map(command) {
            let message = format!("RUN {command} needs an engine: no command can be run here");
            return Err(AssembleError::new(AssembleErrorKind::NeedsCommands, message).at(line));
        }
        stages.push(Stage { base, steps, in_image: false });
    }
    let mut next = stages.len().checked_sub(1);
    while let Some(stage) = next.and_then(|index| stages.get_mut(index)) {
        stage.in_image = true;
        next = match stage.base {
            Base::Stage(base) => Some(base),
            Base::Scratch(_) | Base::Image { .. } => None,
        };
    }
    Ok(stages)
}

/// The first line of a `RUN`.
fn command(step: &Step) -> Option<(u32, &str)> {
    match &step.kind {
        StepKind::Run(text) => Some((step.line, text.lines().next().unwrap_or_default())),
        _ => None,
    }
}

fn scratch(assembly: &Assembly<'_>, stage: &ProgramStage) -> Result<Config, AssembleError> {
    let Some(platform) = stage.platform.as_deref().filter(|platform| !platform.is_empty()) else {
        return Ok(Config::scratch(assembly.platform));
    };
    let platform = platform.parse::<Platform>().map_err(|error| {
        let message = format!("FROM --platform={platform}: {error}");
        AssembleError::new(AssembleErrorKind::Instruction, message)
    })?;
    Ok(Config::scratch(&platform))
}

fn wrong(error: &DockerfileError) -> AssembleError {
    AssembleError::new(AssembleErrorKind::Instruction, error.message()).at(error.line())
}
