//! The build backends of a project, ready to be connected to.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dockit_core::Project;
use dockit_core::backend::endpoint::{EndpointSource, EngineEndpoint};
use dockit_core::backend::{
    BackendPlace, BackendSettings, BuildBackend, BuildKitEndpoint, DockerEngine, NamedBackend,
    RemoteBuildKit,
};
use dockit_registry::{Client, Platform};

use crate::diagnostics::{Exit, Failure};

/// Build backends in the order of the configuration; none where this machine's engine is the only one.
pub(crate) struct Backends {
    configured: Vec<Configured>,
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
    Engine(DockerEngine),
    BuildKit(RemoteBuildKit),
}

impl What {
    fn engine(&self) -> Option<&DockerEngine> {
        match self {
            Self::Engine(engine) => Some(engine),
            Self::Default | Self::BuildKit(_) => None,
        }
    }
}

/// A build backend to be looked at.
pub(crate) enum AnyBackend<'a> {
    Engine(&'a DockerEngine),
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
        let known: Vec<&str> =
            project.backends.iter().map(|backend| backend.name.as_str()).collect();
        if let Some(unknown) = named.iter().find(|name| !known.contains(&name.as_str())) {
            let message = format!("no build backend is called {unknown:?}");
            let failure = Failure::new(Exit::Usage, message);
            return Err(match known.as_slice() {
                [] => failure.hint("[backends.NAME] in dockit.toml names them"),
                known => failure.hint(format!("there are {}", known.join(", "))),
            });
        }
        let wanted = |backend: &&BackendSettings| {
            named.is_empty() || named.iter().any(|name| name == backend.name.as_str())
        };
        let configured = project.backends.iter().filter(wanted);
        let configured = configured.map(|settings| Configured::of(settings, registry));
        Ok(Self { configured: configured.collect::<Result<_, _>>()? })
    }

    /// The backends of a run; `engine` is this machine's.
    pub(crate) fn named<'a>(&'a self, engine: &'a DockerEngine) -> Vec<NamedBackend<'a>> {
        if self.configured.is_empty() {
            return vec![NamedBackend::only(engine)];
        }
        let configured = self.configured.iter();
        configured
            .map(|configured| {
                let backend: &dyn BuildBackend = match &configured.what {
                    What::Default => engine,
                    What::Engine(same) if address(same) == address(engine) => engine,
                    What::Engine(elsewhere) => elsewhere,
                    What::BuildKit(buildkit) => buildkit,
                };
                NamedBackend {
                    jobs: configured.jobs,
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

fn address(engine: &DockerEngine) -> Option<String> {
    engine.endpoint().map(|endpoint| endpoint.address.to_string())
}

impl Configured {
    fn of(settings: &BackendSettings, registry: &Client) -> Result<Self, Failure> {
        let what = match &settings.place {
            BackendPlace::DefaultEngine => What::Default,
            BackendPlace::BuildKit { address, tls } => {
                let endpoint = BuildKitEndpoint { address: address.clone(), tls: tls.clone() };
                What::BuildKit(RemoteBuildKit::at(endpoint, Arc::new(registry.clone())))
            }
            BackendPlace::Engine { address, tls } => {
                What::Engine(DockerEngine::at(EngineEndpoint {
                    address: address.clone(),
                    source: EndpointSource::Given,
                    tls: tls.clone(),
                    overruled_context: None,
                    missing: Vec::new(),
                }))
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
