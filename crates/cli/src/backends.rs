//! The build backends of a project, ready to be connected to.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dockit_core::Project;
use dockit_core::backend::endpoint::{EndpointSource, EngineEndpoint};
use dockit_core::backend::{
    Assembler, BackendPlace, BackendSettings, BuildBackend, BuildKitEndpoint, DockerEngine,
    NamedBackend, RemoteBuildKit,
};
use dockit_registry::{Client, Platform};

use crate::diagnostics::{Exit, Failure};
use crate::session;

/// What this machine's engine is called where no configuration names it.
const ENGINE: &str = "engine";

/// The same of what needs none.
const ASSEMBLE: &str = "assemble";

/// Build backends in the order of the configuration. Without one there are this machine's engine, and beside
/// it what puts together the images that need none.
pub(crate) struct Backends {
    configured: Vec<Configured>,
    /// Whether a person named them: then none of them is dispensable.
    named: bool,
}

struct Configured {
    name: String,
    jobs: Option<NonZeroUsize>,
    platforms: BTreeSet<Platform>,
    what: What,
}

enum What {
    /// This machine's engine.
    Default,
    Assemble(Assembler),
    Engine(Box<DockerEngine>),
    BuildKit(Box<RemoteBuildKit>),
}

impl What {
    fn engine(&self) -> Option<&DockerEngine> {
        match self {
            Self::Engine(engine) => Some(engine),
            Self::Default | Self::Assemble(_) | Self::BuildKit(_) => None,
        }
    }
}

/// A build backend to be looked at.
pub(crate) enum AnyBackend<'a> {
    Engine(&'a DockerEngine),
    /// What needs no engine, and leaves images in this store.
    Assemble(&'a Assembler),
    BuildKit(&'a RemoteBuildKit),
}

impl Backends {
    /// The backends of a project, or those of them that a person named. Nothing is connected yet. Those that
    /// push by themselves get the credentials that `registry` has.
    pub(crate) fn of(
        project: &Project,
        named: &[String],
        registry: &Client,
    ) -> Result<Self, Failure> {
        let builtin = builtin();
        let names = |backends: &'_ [BackendSettings]| -> Vec<String> {
            backends.iter().map(|backend| backend.name.to_string()).collect()
        };
        let mut known = names(&project.backends);
        // A configuration can give these names to others.
        let builtin: Vec<BackendSettings> =
            builtin.into_iter().filter(|it| !known.contains(&it.name.to_string())).collect();
        known.extend(names(&builtin));
        if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
            let message = format!("no build backend is called {unknown:?}");
            let failure = Failure::new(Exit::Usage, message);
            return Err(failure.hint(format!(
                "there are {}; [backends.NAME] in dockit.toml names others",
                known.join(", ")
            )));
        }
        let of_nobody = if project.backends.is_empty() { builtin.iter() } else { [].iter() };
        let chosen: Vec<&BackendSettings> = if named.is_empty() {
            project.backends.iter().chain(of_nobody).collect()
        } else {
            let all = project.backends.iter().chain(&builtin);
            all.filter(|backend| named.iter().any(|name| name == backend.name.as_str())).collect()
        };
        let configured = chosen.into_iter();
        let configured = configured.map(|settings| Configured::of(settings, project, registry));
        let configured = configured.collect::<Result<_, _>>()?;
        Ok(Self { configured, named: !named.is_empty() })
    }

    /// The backends of a run; `engine` is this machine's.
    pub(crate) fn named<'a>(&'a self, engine: &'a DockerEngine) -> Vec<NamedBackend<'a>> {
        let configured = self.configured.iter();
        configured
            .map(|configured| {
                let backend: &dyn BuildBackend = match &configured.what {
                    What::Default => engine,
                    What::Assemble(assembler) => assembler,
                    What::Engine(same) if address(same) == address(engine) => engine,
                    What::Engine(elsewhere) => elsewhere.as_ref(),
                    What::BuildKit(buildkit) => buildkit.as_ref(),
                };
                NamedBackend {
                    jobs: configured.jobs,
                    optional: !self.named
                        && matches!(configured.what, What::Default)
                        && is_optional(engine),
                    platforms: (!configured.platforms.is_empty()).then_some(&configured.platforms),
                    ..NamedBackend::new(&configured.name, backend)
                }
            })
            .collect()
    }

    /// Each with its name, for whoever looks at them; `engine` is this machine's.
    pub(crate) fn each<'a>(
        &'a self,
        engine: &'a DockerEngine,
    ) -> impl Iterator<Item = (&'a str, AnyBackend<'a>)> {
        let of = move |configured: &'a Configured| {
            let what = match &configured.what {
                What::Default => AnyBackend::Engine(engine),
                What::Assemble(assembler) => AnyBackend::Assemble(assembler),
                What::Engine(elsewhere) => AnyBackend::Engine(elsewhere),
                What::BuildKit(buildkit) => AnyBackend::BuildKit(buildkit),
            };
            (configured.name.as_str(), what)
        };
        self.configured.iter().map(of)
    }

    /// Waits until what was begun elsewhere is put away, at most so long.
    pub(crate) async fn settle(&self, limit: Duration) {
        let end = Instant::now() + limit;
        for engine in self.configured.iter().filter_map(|configured| configured.what.engine()) {
            engine.settle(end.saturating_duration_since(Instant::now())).await;
        }
    }
}

/// What there is without a configuration.
fn builtin() -> Vec<BackendSettings> {
    let of = |name: &str, place| BackendSettings {
        name: name.parse().expect("a valid name"),
        place,
        jobs: None,
        platforms: BTreeSet::new(),
    };
    vec![of(ENGINE, BackendPlace::DefaultEngine), of(ASSEMBLE, BackendPlace::Assemble)]
}

/// Whether nobody named this machine's engine: then a run can do without it.
pub(crate) fn is_optional(engine: &DockerEngine) -> bool {
    use EndpointSource::{Default, Podman, WellKnown};
    let source = engine.endpoint().map(|endpoint| &endpoint.source);
    matches!(source, Some(Default | Podman | WellKnown))
}

fn address(engine: &DockerEngine) -> Option<String> {
    engine.endpoint().map(|endpoint| endpoint.address.to_string())
}

impl Configured {
    fn of(
        settings: &BackendSettings,
        project: &Project,
        registry: &Client,
    ) -> Result<Self, Failure> {
        let what = match &settings.place {
            BackendPlace::DefaultEngine => What::Default,
            BackendPlace::Assemble => {
                What::Assemble(Assembler::new(session::store(project, registry)))
            }
            BackendPlace::BuildKit { address, tls } => {
                let endpoint = BuildKitEndpoint { address: address.clone(), tls: tls.clone() };
                What::BuildKit(Box::new(RemoteBuildKit::at(endpoint, Arc::new(registry.clone()))))
            }
            BackendPlace::Engine { address, tls } => {
                let engine = DockerEngine::at(EngineEndpoint {
                    address: address.clone(),
                    source: EndpointSource::Given,
                    tls: tls.clone(),
                    overruled_context: None,
                    missing: Vec::new(),
                });
                What::Engine(Box::new(engine.with_layouts(session::store(project, registry))))
            }
            _ => {
                let message =
                    format!("{} is of a kind that this version does not build with", settings.name);
                return Err(Failure::new(Exit::Engine, message));
            }
        };
        Ok(Self {
            name: settings.name.to_string(),
            jobs: settings.jobs,
            platforms: settings.platforms.clone(),
            what,
        })
    }
}
