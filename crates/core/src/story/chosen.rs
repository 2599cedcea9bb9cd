//! Which of the configured backends take part in a run, and where images stay that it does not push.

use super::settled::Settled;
use super::{ImageGraph, Services};
use crate::backend::{AssembleInto, Engine, NamedBackend};

/// What takes part in a run.
pub(super) struct Chosen<'a> {
    services: Services<'a>,
    builders: Builders<'a>,
}

enum Builders<'a> {
    /// Everything that is configured: what they build is pushed.
    All,
    /// One, which keeps what it builds.
    One(NamedBackend<'a>),
    /// One that keeps what it builds, and one that assembles and leaves images with it.
    Two { engine: NamedBackend<'a>, assembler: NamedBackend<'a>, into: AssembleInto<'a> },
}

impl<'a> Chosen<'a> {
    /// Chooses for a run. Images that are not pushed stay where they are built, and what depends on them
    /// finds them nowhere else: then one engine keeps everything, the first that is configured for the
    /// platforms of all that may be built. One that nobody named has to answer; where none does, images
    /// stay in the store of what assembles.
    pub(super) async fn new(
        settled: &Settled,
        graph: &ImageGraph,
        services: &Services<'a>,
    ) -> Chosen<'a> {
        let everything = Self { services: *services, builders: Builders::All };
        if settled.keeps_nothing(graph) {
            return everything;
        }
        let nodes = graph.with_dependencies(&settled.plan.selected);
        let builds_all = |named: &NamedBackend<'_>| {
            let mut images =
                nodes.iter().map(|node| node.image()).filter(|image| !image.is_index());
            images.all(|image| named.may_build(&image.platform))
        };
        let assembler = services.backends.iter().find(|named| named.backend.assembler().is_some());
        let keeps = |named: &&NamedBackend<'a>| {
            named.backend.engine().is_some() && named.backend.assembler().is_none()
        };
        let mut engines: Vec<&NamedBackend<'a>> = services.backends.iter().filter(keeps).collect();
        // Where none keeps images, or none builds them all, it depends on the plan whether that is an
        // error.
        while let Some(position) = engines
            .iter()
            .position(|named| builds_all(named))
            .or((!engines.is_empty()).then_some(0))
        {
            let named = engines.remove(position);
            if named.optional && assembler.is_some() && is_absent(named).await {
                continue;
            }
            let engine = named.backend.engine().expect("only those with an engine were taken");
            let services = Services { engine, ..*services };
            let builders = match assembler {
                None => Builders::One(*named),
                Some(assembler) => Builders::Two {
                    engine: *named,
                    assembler: *assembler,
                    into: AssembleInto::new(
                        assembler.backend.assembler().expect("it was chosen for it"),
                        engine,
                    ),
                },
            };
            return Self { services, builders };
        }
        match assembler.and_then(|named| Some((named, named.backend.engine()?))) {
            Some((named, engine)) => {
                Self { services: Services { engine, ..*services }, builders: Builders::One(*named) }
            }
            None => everything,
        }
    }

    /// Where images stay that are not pushed.
    pub(super) fn engine(&self) -> &'a dyn Engine {
        self.services.engine
    }

    /// The backends that take part.
    pub(super) fn backends(&self) -> Vec<NamedBackend<'_>> {
        match &self.builders {
            Builders::All => self.services.backends.to_vec(),
            Builders::One(named) => vec![*named],
            Builders::Two { engine, assembler, into } => {
                vec![*engine, NamedBackend { backend: into, ..*assembler }]
            }
        }
    }

    /// The services with these [backends](Self::backends).
    pub(super) fn services<'b>(&'b self, backends: &'b [NamedBackend<'b>]) -> Services<'b> {
        let Services { registry, engine, observer, .. } = self.services;
        Services { registry, engine, backends, observer }
    }
}

/// Whether there is no engine where nobody named one.
async fn is_absent(named: &NamedBackend<'_>) -> bool {
    named.backend.platforms().await.is_err_and(|error| error.is_absent())
}
