//! Doing what a plan says: dependencies first, as parallel as allowed.

mod asking;
mod assignment;
mod cache;
pub(crate) mod checks;
mod image;
mod index;
pub(crate) mod load;
mod moving;
mod publish;
mod push;
mod replace;
mod report;
mod schedule;
mod unfinished;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use dockit_registry::{Registries, Registry};
use tokio_util::sync::CancellationToken;

pub use checks::Checks;
pub use report::{
    ImageError, ImageErrorKind, ImageReport, ProjectTests, RunReport, Skipped, Status,
};
pub use unfinished::Unfinished;

use crate::backend::{Engine, NamedBackend};
use crate::events::Observer;
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::inputs::Document;
use crate::key::Keys;
use crate::layer_cache::CacheSources;
use crate::masking::MaskedObserver;
use crate::moving_tags::History;
use crate::plan::Plan;
use crate::secrets::BuildSecrets;
use crate::source::Commit;

/// How a plan is executed.
#[derive(Clone, Copy, Debug)]
pub struct ExecuteOptions {
    /// Whether what is built is pushed, for images that have a registry.
    pub push: bool,
    /// How many images are worked on at the same time.
    pub jobs: NonZeroUsize,
    /// Stop everything after the first failure.
    pub fail_fast: bool,
    /// Afterwards each selected image is in the engine, under its content tag, its short name and its
    /// aliases.
    pub load: bool,
    /// The images are recorded afterwards, if all is well: then the tests of the project run also if
    /// nothing else changes.
    pub pin: bool,
}

impl Default for ExecuteOptions {
    fn default() -> Self {
        Self {
            push: false,
            jobs: NonZeroUsize::new(2).expect("two is not zero"),
            fail_fast: false,
            load: false,
            pin: false,
        }
    }
}

/// What a run works with.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The images and their edges.
    pub graph: &'a ImageGraph,
    /// The keys that the plan was made from.
    pub keys: &'a Keys,
    /// The registries.
    pub registry: &'a dyn Registry,
    /// The engine of this machine: what is loaded is there.
    pub engine: &'a dyn Engine,
    /// What builds; at least one.
    pub backends: &'a [NamedBackend<'a>],
    /// What is configured about registries.
    pub registries: &'a Registries,
    /// Who is told what happens.
    pub observer: &'a dyn Observer,
    /// What builds may mount, and what is masked in all that is told.
    pub secrets: &'a BuildSecrets,
    /// Where builds may take layers over from.
    pub cache: &'a CacheSources,
    /// What is published with the images that are pushed, if anything is.
    pub publishing: Option<Publishing<'a>>,
    /// What tests need, and the project's own. Without it no test runs at all.
    pub checks: Option<Checks<'a>>,
    /// Tells which revisions are newer than the run's.
    pub history: History<'a>,
    /// How to do it.
    pub options: ExecuteOptions,
}

/// What is published with images.
#[derive(Clone, Copy, Debug)]
pub struct Publishing<'a> {
    /// The inputs of the images whose inputs are to be published, with nothing in them that is not.
    pub documents: &'a BTreeMap<ImageName, Document>,
    /// The source revision, if the work tree is as it says.
    pub revision: Option<&'a Commit>,
    /// Where it is noted while something is pushed and nothing published with it yet.
    pub unfinished: &'a Unfinished,
}

impl Run<'_> {
    /// Executes a plan that was made from the same graph and keys.
    ///
    /// Never fails as a whole: each image's report says how it ended. When `cancel` fires, running
    /// builds are cut off from the engine, which ends them, and everything unfinished is reported
    /// as cancelled. Moving tags are put when every image has ended, on those that ended well.
    pub async fn execute(&self, plan: &Plan, cancel: &CancellationToken) -> RunReport {
        let observer = MaskedObserver::new(self.observer, self.secrets.masks());
        let run = Run { observer: &observer, ..*self };
        checks::announce_project(&run, plan);
        let mut report = schedule::execute(&run, plan, cancel).await;
        moving::finish(&run, plan, &mut report, cancel).await;
        report
    }
}
