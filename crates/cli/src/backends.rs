//! The build backends of a project, ready to be connected to.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use dockit_core::Project;
use dockit_core::backend::endpoint::{EndpointSource, EngineEndpoint};
use dockit_core::backend::{
    BackendPlace, BackendSettings, BuildBackend, DockerEngine, NamedBackend,
};
use dockit_registry::Platform;

use crate::diagnostics::{Exit, Failure};

/// Build backends in the order of the configuration; none where this machine's engine is the only one.
pub(crate) struct Backends {
    configured: Vec<Configured>,
}

struct Configured {
    name: String,
    jobs: Option<NonZeroUsize>,
    platforms: BTreeSet<Platform>,
    /// Without one it is this machine's engine.
    elsewhere: Option<DockerEngine>,
}

impl Backends {
    /// The backends of a project, or those of them that a person named. Nothing is connected yet.
    pub(crate) fn of(project: &Project, named: &[String]) -> Result<Self, Failure> {
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
        let configured = project.backends.iter().filter(wanted).map(Configured::of);
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
                let backend: &dyn BuildBackend = configured.elsewhere.as_ref().unwrap_or(engine);
                NamedBackend {
                    jobs: configured.jobs,
                    platforms: (!configured.platforms.is_empty()).then_some(&configured.platforms),
                    ..NamedBackend::new(&configured.name, backend)
                }
            })
            .collect()
    }

    /// Each with its name, for whoever looks at them; `engine` is this machine's.
    pub(crate) fn engines<'a>(
        &'a self,
        engine: &'a DockerEngine,
    ) -> impl Iterator<Item = (&'a str, &'a DockerEngine)> {
        let of = move |configured: &'a Configured| {
            (configured.name.as_str(), configured.elsewhere.as_ref().unwrap_or(engine))
        };
        self.configured.iter().map(of)
    }

    /// Waits until what was begun elsewhere is put away, at most so long.
    pub(crate) async fn settle(&self, limit: Duration) {
        let end = Instant::now() + limit;
        for engine in self.configured.iter().filter_map(|configured| configured.elsewhere.as_ref())
        {
            engine.settle(end.saturating_duration_since(Instant::now())).await;
        }
    }
}

impl Configured {
    fn of(settings: &BackendSettings) -> Result<Self, Failure> {
        let elsewhere = match &settings.place {
            BackendPlace::DefaultEngine => None,
            BackendPlace::Engine { address, tls } => Some(DockerEngine::at(EngineEndpoint {
                address: address.clone(),
                source: EndpointSource::Given,
                tls: tls.clone(),
                overruled_context: None,
                missing: Vec::new(),
            })),
            _ => {
                let message = format!(
                    "{} is no engine, and this version builds with none else",
                    settings.name
                );
                return Err(Failure::new(Exit::Engine, message));
            }
        };
        Ok(Self {
            name: settings.name.to_string(),
            jobs: settings.jobs,
            platforms: settings.platforms.clone(),
            elsewhere,
        })
    }
}
