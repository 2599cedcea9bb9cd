//! What the client makes of connections and replies that go wrong between it and a real registry, and
//! what the registry holds afterwards.

mod copies;
mod downloads;
mod elsewhere;
mod manifests;
mod statuses;
mod streams;
mod tokens;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use dockit_registry::{
    Client, ClientBuilder, Credential, RawManifest, Reference, Repository, RetryPolicy,
};
use dockit_testkit::{
    Auth, Exchange, Fault, FaultProxy, RegistryProcess, Rule, ScriptedServer, TestImage,
};

use crate::Fixed;

/// How often `Front::client` sends a request at most.
const TRIES: u32 = 3;

const MANIFEST: &str = "/v2/team/app/manifests/1";
const MANIFESTS: &str = "/v2/team/app/manifests/*";

/// A registry behind a proxy, with an image at `team/app:1`.
struct Front {
    registry: RegistryProcess,
    proxy: FaultProxy,
    image: TestImage,
    credential: Credential,
}

impl Front {
    /// An open registry.
    fn open() -> Self {
        Self::new(RegistryProcess::start(Auth::None), Credential::Anonymous, None)
    }

    /// One with a password, which has been asked for already.
    fn with_password() -> Self {
        let registry = RegistryProcess::start(Auth::Htpasswd);
        let authorization = RegistryProcess::basic_authorization();
        let credential = crate::basic(dockit_testkit::PASSWORD);
        Self::new(registry, credential, Some(&authorization))
    }

    fn new(registry: RegistryProcess, credential: Credential, authorization: Option<&str>) -> Self {
        let image = TestImage::new("behind a proxy");
        image.push(registry.host(), "team/app", "1", authorization);
        let proxy = FaultProxy::start(registry.host());
        Self { registry, proxy, image, credential }
    }

    fn builder(&self) -> ClientBuilder {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retry = RetryPolicy {
            tries: TRIES,
            base_delay: Duration::from_millis(1),
            ..RetryPolicy::default()
        };
        let credentials = Arc::new(Fixed(self.credential.clone()));
        Client::builder().no_proxy(true).credentials(credentials).retry(retry)
    }

    fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    /// A client that knows the registry, which then forgets that it was asked.
    async fn acquainted_client(&self) -> Client {
        use dockit_registry::{Access, Registry as _};
        let client = self.client();
        client.head_manifest(&self.reference(), Access::PullPush).await.unwrap().unwrap();
        self.proxy.reset();
        client
    }

    fn fault(&self, method: &str, pattern: &str, fault: Fault) {
        self.proxy.add(Rule::on(method, pattern, fault));
    }

    fn fault_once(&self, method: &str, pattern: &str, fault: Fault) {
        self.proxy.add(Rule::on(method, pattern, fault).times(1));
    }

    /// `team/app:1` through the proxy.
    fn reference(&self) -> Reference {
        format!("{}/team/app:1", self.proxy.host()).parse().unwrap()
    }

    fn repository(&self) -> Repository {
        self.reference().repository().clone()
    }

    fn manifest(&self) -> RawManifest {
        RawManifest::new(self.image.media_type, self.image.manifest.clone())
    }

    /// The exchanges of this method.
    fn exchanges(&self, method: &str) -> Vec<Exchange> {
        self.proxy.exchanges().into_iter().filter(|one| one.method == method).collect()
    }

    /// Method and status of every exchange, such as `PUT 201`, or `PUT -` where no reply came.
    fn outline(&self) -> Vec<String> {
        let line = |exchange: &Exchange| match exchange.status {
            Some(status) => format!("{} {status}", exchange.method),
            None => format!("{} -", exchange.method),
        };
        self.proxy.exchanges().iter().map(line).collect()
    }

    /// The status of a HEAD that goes to the registry itself.
    fn held(&self, path: &str) -> u16 {
        let authorization = RegistryProcess::basic_authorization();
        let headers = [("Authorization", &*authorization), ("Accept", self.image.media_type)];
        let reply =
            dockit_testkit::exchange(self.registry.host(), "HEAD", path, &headers, b"").unwrap();
        reply.status()
    }
}

/// Fails if a server was sent a credential.
fn assert_no_credentials(server: &ScriptedServer) {
    for request in server.requests() {
        for header in ["authorization", "cookie", "proxy-authorization"] {
            assert_eq!(request.header(header), None, "{} {}", request.method, request.target);
        }
    }
}
