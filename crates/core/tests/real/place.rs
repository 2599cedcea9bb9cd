//! A project, and what a run of it is made of.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use dockit_core::backend::{
    BuildBackend, BuildEvent, BuildKitEndpoint, DockerEngine, NamedBackend, RemoteBuildKit,
};
use dockit_core::ci::CiRun;
use dockit_core::config::{self, LoadOptions};
use dockit_core::events::{Event, Observer};
use dockit_core::execute::{ImageReport, RunReport, Status};
use dockit_core::story::{self, Request, Services};
use dockit_core::{Error, PushPolicy};
use dockit_registry::{
    Client, ClientBuilder, Credential, CredentialError, CredentialSource, Issued, Reference,
    RegistryHost, Secret,
};
use dockit_testkit::{PASSWORD, USERNAME};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

#[expect(clippy::disallowed_methods, reason = "tests are told what to use")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The Debian image of `scripts/setup`.
pub(crate) fn base_image() -> String {
    told("DOCKIT_TEST_BASE").expect("DOCKIT_TEST_BASE names an image: run scripts/test")
}

/// The buildkitd that `DOCKIT_BUILDKIT` names, with somebody's credentials.
pub(crate) fn remote(client: &Client) -> RemoteBuildKit {
    at(&buildkitd(), client)
}

pub(crate) fn buildkitd() -> String {
    told("DOCKIT_BUILDKIT").expect("DOCKIT_BUILDKIT is a buildkitd's address")
}

pub(crate) fn at(address: &str, client: &Client) -> RemoteBuildKit {
    let endpoint = BuildKitEndpoint::new(address, None).expect("an address");
    RemoteBuildKit::at(endpoint, Arc::new(client.clone()))
}

/// The engine of this machine.
pub(crate) fn engine() -> DockerEngine {
    let default = "unix:///var/run/docker.sock".to_owned();
    DockerEngine::new(&told("DOCKER_HOST").unwrap_or(default))
}

/// A text that no other test and no other run has: what is built with it is in no cache.
pub(crate) fn nonce() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("n{:x}-{count}", now.as_nanos())
}

/// The testkit's user, at one registry.
struct Known(String);

#[async_trait::async_trait]
impl CredentialSource for Known {
    async fn credential(&self, host: &RegistryHost) -> Result<Issued, CredentialError> {
        Ok(if host.to_string() == self.0 {
            let password = Secret::new(PASSWORD);
            Credential::Basic { username: USERNAME.to_owned(), password }.into()
        } else {
            Credential::Anonymous.into()
        })
    }
}

/// A registry client that nobody knows.
pub(crate) fn anonymous() -> Client {
    client(Client::builder())
}

fn client(builder: ClientBuilder) -> Client {
    // Only the first one of the process can.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder.build().unwrap()
}

/// One that is let in at `host`.
pub(crate) fn known_at(host: &str) -> Client {
    client(Client::builder().credentials(Arc::new(Known(host.to_owned()))))
}

/// A project in a temporary directory.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (path, content) in files {
            place.write(path, content);
        }
        place
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Builds with this one backend; all images, and pushes them.
    pub(crate) async fn build(
        &self,
        client: &Client,
        backend: &dyn BuildBackend,
        change: impl FnOnce(&mut Request),
    ) -> Result<Ran, Error> {
        let project = config::load(&self.0.path().join("dockit.toml"), &LoadOptions::default())?;
        let branch = Some("main".to_owned());
        let mut request = Request {
            push: Some(PushPolicy::Always),
            ci: CiRun { ci: true, branch, ..CiRun::default() },
            ..Request::default()
        };
        change(&mut request);
        let heard = Heard::default();
        let engine = engine();
        let services = Services {
            registry: client,
            engine: &engine,
            backends: &[NamedBackend::new("remote", backend)],
            observer: &heard,
        };
        let cancel = CancellationToken::new();
        let built = story::build(&project, &request, &services, &cancel).await?;
        Ok(Ran { report: built.report, events: heard.0.into_inner().unwrap() })
    }
}

/// What happened in a run.
pub(crate) struct Ran {
    pub(crate) report: RunReport,
    events: Vec<Event>,
}

impl Ran {
    pub(crate) fn image(&self, name: &str) -> &ImageReport {
        self.report.images.iter().find(|image| image.image.as_str() == name).unwrap()
    }

    pub(crate) fn statuses(&self) -> Vec<Status> {
        self.report.images.iter().map(|image| image.status).collect()
    }

    /// By digest, as the report says it.
    pub(crate) fn reference(&self, name: &str) -> Reference {
        let image = self.image(name);
        let digest = image.digest.clone().unwrap_or_else(|| panic!("{:?}", image.error));
        image.reference.repository().with_digest(digest)
    }

    /// Steps whose name holds this, and whether the layer cache had them.
    pub(crate) fn steps(&self, text: &str) -> Vec<bool> {
        let steps = self.events.iter().filter_map(|event| match event {
            Event::Build { event: BuildEvent::StepFinished { name, cached, .. }, .. } => {
                name.contains(text).then_some(*cached)
            }
            _ => None,
        });
        steps.collect()
    }

    /// Everything that was told, as a text.
    pub(crate) fn told(&self) -> String {
        let told = self.events.iter().map(|event| match event {
            Event::Build { event: BuildEvent::Output { bytes, .. }, .. } => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            event => format!("{event:?}\n"),
        });
        format!("{:?}\n{}", self.report, told.collect::<String>())
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Observer for Heard {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}
