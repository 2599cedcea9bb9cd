//! `--prepare`: an option of commands that otherwise run nothing of the project.

use std::time::Duration;

use clap::Args;
use dockit_core::{Error, ImageGraph, Project, prepare};

use super::GlobalArgs;
use crate::diagnostics::Failure;
use crate::{interrupt, ui};

/// How long a cancelled command may take to say so: what it started has been ended by then.
const GRACE: Duration = Duration::from_millis(500);

/// Whether to prepare.
#[derive(Args, Debug)]
pub(super) struct PrepareArgs {
    /// Run the prepare commands of the images first, as `build` does
    #[arg(long)]
    prepare: bool,
}

impl PrepareArgs {
    /// Whether it was asked for.
    pub(super) fn is_asked_for(&self) -> bool {
        self.prepare
    }

    /// Prepares these images and what they depend on, if that was asked for; with what depends on them,
    /// that too.
    pub(super) async fn run(
        &self,
        global: &GlobalArgs,
        project: &Project,
        images: &[String],
        with_dependents: bool,
    ) -> Result<(), Failure> {
        if !self.prepare {
            return Ok(());
        }
        let graph = ImageGraph::new(project).map_err(Error::from)?;
        let mut selected = graph.select(images).map_err(Error::from)?;
        if with_dependents {
            selected = graph.with_dependents(&selected);
        }
        let display = ui::progress::start(global);
        let cancel = interrupt::cancellation(GRACE);
        let ran = prepare::prepare(project, &graph, &selected, &*display, &cancel).await;
        display.finish();
        match ran {
            Err(_) if cancel.is_cancelled() => Err(interrupt::failure()),
            ran => ran.map(|_| ()).map_err(|error| Error::from(error).into()),
        }
    }
}
