//! Doing the steps, stage by stage.

use std::sync::Arc;
use std::time::Instant;

use dockit_hashing::dockerfile::{CopySource, CopyStep, StageBase, Step, StepKind};
use dockit_registry::manifest::Descriptor;

use super::files::{Files, Sources};
use super::plan::{Base, Stage};
use super::{Assembly, AssemblyEvent};
use crate::config::Config;
use crate::copy::{Below, Copy, changes, is_linked, make_workdir};
use crate::error::AssembleError;
use crate::images::BaseLayer;
use crate::layer::pack;
use crate::tree::{Change, Tree};

/// A stage when its steps are done.
#[derive(Clone)]
pub(super) struct Done {
    files: Files,
    pub(super) config: Config,
    /// Of the image that is the lowest base.
    pub(super) base_layers: Vec<BaseLayer>,
    /// Those on top, if they are part of the image.
    pub(super) layers: Vec<Descriptor>,
}

pub(super) struct Work<'a> {
    assembly: &'a Assembly<'a>,
    stages: &'a [Stage],
    sources: Sources<'a>,
    done: Vec<Done>,
    /// Counts steps.
    number: usize,
}

impl<'a> Work<'a> {
    pub(super) fn new(assembly: &'a Assembly<'a>, stages: &'a [Stage]) -> Self {
        let sources = Sources::new(assembly);
        Self { assembly, stages, sources, done: Vec::new(), number: 0 }
    }

    /// Does everything; returns the last stage.
    pub(super) fn image(mut self) -> Result<Done, AssembleError> {
        for stage in self.stages {
            let done = self.stage(stage)?;
            self.done.push(done);
        }
        Ok(self.done.pop().expect("a Dockerfile without a stage is not resolved"))
    }

    fn stage(&mut self, stage: &Stage) -> Result<Done, AssembleError> {
        let mut done = match &stage.base {
            Base::Scratch(config) => Done::new(Files::scratch(), config.clone()),
            Base::Image { position, image, config } => {
                let base_layers = image.layers.clone();
                Done { base_layers, ..Done::new(Files::of_image(*position), config.clone()) }
            }
            Base::Stage(base) => {
                let base = &self.done[*base];
                Done { config: base.config.of_stage(), ..base.clone() }
            }
        };
        for step in &stage.steps {
            self.step(step, stage.in_image, &mut done).map_err(|error| error.at(step.line))?;
        }
        Ok(done)
    }

    fn step(&mut self, step: &Step, in_image: bool, done: &mut Done) -> Result<(), AssembleError> {
        let began = Instant::now();
        let number = self.number;
        self.number += 1;
        let mut after = done.config.clone();
        let text = after.wording(&step.kind).unwrap_or_default();
        (self.assembly.observer)(AssemblyEvent::StepStarted { number, text: &text });
        let layer = match &step.kind {
            StepKind::Add(copy) => Some(self.copy(copy, true, done)?),
            StepKind::Copy(copy) => Some(self.copy(copy, false, done)?),
            StepKind::Workdir(_) => {
                after.apply(step, None);
                match after.workdir() {
                    "/" => None,
                    workdir => Some(self.workdir(workdir, done)?),
                }
            }
            _ => None,
        };
        let mut diff_id = None;
        if let Some(changes) = layer.filter(|_| in_image) {
            let Assembly { compression, threads, output, .. } = *self.assembly;
            let packed = pack(&changes, compression, threads, output)?;
            done.layers.push(packed.descriptor);
            diff_id = Some(packed.diff_id);
        }
        done.config.apply(step, diff_id.as_ref());
        let seconds = began.elapsed().as_secs_f64();
        (self.assembly.observer)(AssemblyEvent::StepFinished { number, text: &text, seconds });
        Ok(())
    }

    /// What a `COPY` or `ADD` changes.
    fn copy(
        &mut self,
        step: &CopyStep,
        add: bool,
        done: &mut Done,
    ) -> Result<Arc<Vec<Change>>, AssembleError> {
        let has_paths = step.sources.iter().any(|source| matches!(source, CopySource::Path(_)));
        let source = match step.from {
            _ if !has_paths => Tree::default(),
            None => self.sources.context()?,
            Some(StageBase::Scratch) => Tree::default(),
            Some(StageBase::Image(position)) => self.sources.image(position)?,
            Some(StageBase::Stage(stage)) => {
                self.done[stage].files.tree(&mut self.sources)?.clone()
            }
        };
        let spools = self.sources.spools().to_owned();
        let archives = step.unpack.unwrap_or(add).then_some(spools.as_path());
        let copy = Copy { step, archives, source: &source, workdir: done.config.workdir() };
        if is_linked(step) {
            let after = copy.onto(Below::Nothing)?;
            let layer = Arc::new(changes(Below::Nothing, &after));
            done.files.put(layer.clone());
            return Ok(layer);
        }
        let (layer, after) = done.files.look(&mut self.sources, |below| copy.onto(below))?;
        done.files.become_tree(after);
        Ok(layer)
    }

    /// What a `WORKDIR` changes.
    fn workdir(
        &mut self,
        workdir: &str,
        done: &mut Done,
    ) -> Result<Arc<Vec<Change>>, AssembleError> {
        let user = done.config.user();
        let make = |below: Below<'_>| make_workdir(workdir, user, below);
        let (layer, after) = done.files.look(&mut self.sources, make)?;
        done.files.become_tree(after);
        Ok(layer)
    }
}

impl Files {
    /// What a change of these files makes of them, and what it changes.
    fn look(
        &mut self,
        sources: &mut Sources<'_>,
        change: impl FnOnce(Below<'_>) -> Result<Tree, AssembleError>,
    ) -> Result<(Arc<Vec<Change>>, Tree), AssembleError> {
        let nothing = self.are_nothing();
        let tree = self.tree(sources)?;
        let below = if nothing { Below::Nothing } else { Below::Tree(tree) };
        let after = change(below)?;
        Ok((Arc::new(changes(below, &after)), after))
    }
}

impl Done {
    fn new(files: Files, config: Config) -> Self {
        Self { files, config, base_layers: Vec::new(), layers: Vec::new() }
    }
}
