//! Clients, and what scripted registries answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dockit_registry::{
    Client, ClientBuilder, Credential, CredentialError, CredentialSource, Issued, Reference,
    RegistryHost, RetryPolicy, Secret,
};
use dockit_testkit::{Reply, Request, ScriptedServer, TestImage};

/// Retries are off; proxies of the machine are ignored.
pub(crate) fn builder() -> ClientBuilder {
    // A second installation fails, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy(true).retry(RetryPolicy::none())
}

pub(crate) fn client() -> Client {
    builder().build().unwrap()
}

pub(crate) fn client_with(credential: Credential) -> Client {
    builder().credentials(Arc::new(Fixed::new(credential))).build().unwrap()
}

pub(crate) fn quick_retries(tries: u32) -> RetryPolicy {
    RetryPolicy { tries, base_delay: Duration::from_millis(1), ..RetryPolicy::default() }
}

/// The same credential for every host, and how often it was asked for.
pub(crate) struct Fixed {
    credential: Credential,
    pub(crate) asked: AtomicUsize,
}

impl Fixed {
    pub(crate) fn new(credential: Credential) -> Self {
        Self { credential, asked: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl CredentialSource for Fixed {
    async fn credential(&self, _: &RegistryHost) -> Result<Issued, CredentialError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.credential.clone().into())
    }
}

pub(crate) fn basic() -> Credential {
    Credential::Basic { username: "user".into(), password: Secret::new("hunter2") }
}

/// What `basic()` is in a header.
pub(crate) const BASIC_HEADER: &str = "Basic dXNlcjpodW50ZXIy";

/// `team/app:1` of a server.
pub(crate) fn reference(server: &ScriptedServer) -> Reference {
    format!("{}/team/app:1", server.host()).parse().unwrap()
}

/// The path that a lookup of `reference()` asks.
pub(crate) const MANIFEST: &str = "/v2/team/app/manifests/1";

/// What a registry answers for a manifest that it holds.
pub(crate) fn present(image: &TestImage) -> Reply {
    Reply::new(200)
        .header("Content-Type", image.media_type)
        .header("Docker-Content-Digest", image.digest())
        .header("Content-Length", image.manifest.len().to_string())
        .body(image.manifest.clone())
}

/// A 401 that names a token server at this `host:port`.
pub(crate) fn challenge(token_host: &str, scope: &str, error: &str) -> Reply {
    let error = if error.is_empty() { String::new() } else { format!(",error=\"{error}\"") };
    let value = format!(
        "Bearer realm=\"http://{token_host}/token\",service=\"svc\",scope=\"{scope}\"{error}"
    );
    Reply::new(401).header("WWW-Authenticate", value)
}

pub(crate) fn host_of(request: &Request) -> String {
    request.header("host").unwrap().to_owned()
}

/// A registry that holds `image`, wants the token `good`, and issues what `tokens` says.
pub(crate) fn token_registry(
    image: &TestImage,
    tokens: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> ScriptedServer {
    let image = image.clone();
    ScriptedServer::start(move |request| {
        if request.path() == "/token" {
            tokens(request)
        } else if request.header("authorization") == Some("Bearer good") {
            present(&image)
        } else {
            challenge(&host_of(request), "repository:team/app:pull", "")
        }
    })
}

pub(crate) fn good_token() -> Reply {
    Reply::new(200).body(r#"{"token":"good","expires_in":300}"#)
}

/// The requests of the token endpoint.
pub(crate) fn token_requests(server: &ScriptedServer) -> Vec<Request> {
    server.requests().into_iter().filter(|request| request.path() == "/token").collect()
}
