//! Clients, and what scripted registries answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use dockit_registry::{
    Client, ClientBuilder, Credential, CredentialError, CredentialSource, ErrorKind, Issued,
    ListEntry, ProviderKind, Reference, Registries, RegistryHost, RegistrySettings, Repository,
    RetryPolicy, Secret,
};
use dockit_testkit::{Reply, Request, ScriptedServer, TestImage};
use futures_util::TryStreamExt as _;

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

/// A client for which this server is a registry of a vendor, and its API below `api` as well.
pub(crate) fn vendor_client(
    server: &ScriptedServer,
    provider: ProviderKind,
    api: &str,
    credential: Credential,
) -> Client {
    let settings = RegistrySettings {
        provider: Some(provider),
        api_url: Some(format!("http://{}{api}", server.host())),
        ..RegistrySettings::default()
    };
    let registries = Registries::from_iter([(server.host().parse().unwrap(), settings)]);
    let source = Arc::new(Fixed::new(credential));
    builder().credentials(source).registries(registries).build().unwrap()
}

/// A password for this user.
pub(crate) fn password(username: &str, password: &str) -> Credential {
    Credential::Basic { username: username.to_owned(), password: Secret::new(password) }
}

/// A reply in JSON.
pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply::new(status).header("Content-Type", "application/json").body(body)
}

/// `sha256:` and 64 times this digit.
pub(crate) fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// All that a list says, or how it ends.
pub(crate) async fn entries(
    client: &Client,
    repository: &Repository,
) -> Result<Vec<ListEntry>, ErrorKind> {
    let listed: Result<Vec<ListEntry>, _> = client.entries(repository).try_collect().await;
    listed.map_err(|error| error.kind().clone())
}

/// An entry in one line: tag, last digit of the digest, size, source and seconds of the time, seconds of
/// the last pull, and whether it is locked.
pub(crate) fn line(entry: &ListEntry) -> String {
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs()).to_string()
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let time = entry.time.map(|time| format!("{}@{}", time.source.name(), seconds(time.at)));
    format!(
        "{} {} {} {} {}{}",
        or_dash(entry.tag.as_ref().map(ToString::to_string)),
        entry.digest.as_str().chars().last().unwrap(),
        or_dash(entry.size.map(|size| size.to_string())),
        or_dash(time),
        or_dash(entry.last_pulled.map(seconds)),
        if entry.locked { " locked" } else { "" }
    )
}

/// A vendor's token server, and the challenges of its registry.
pub(crate) struct TokenRules {
    /// The path of the token server.
    pub(crate) realm: &'static str,
    pub(crate) service: &'static str,
    /// What it can be asked for in repositories.
    pub(crate) actions: &'static [&'static str],
    /// It refuses the whole request for a scope that it cannot read, instead of granting less.
    pub(crate) strict: bool,
    /// What the registry wants for a deletion.
    pub(crate) deletion: &'static str,
}

impl TokenRules {
    /// The answer of the token server, or of the registry to whoever has no token for this. The token is
    /// what it allows.
    pub(crate) fn answer(&self, request: &Request) -> Option<Reply> {
        if request.path() == self.realm {
            return Some(self.token(request));
        }
        let needed = match (request.method.as_str(), request.path().strip_prefix("/v2/")?) {
            (_, "" | "_catalog") => "",
            ("DELETE", _) => self.deletion,
            _ => "pull",
        };
        let granted =
            request.header("authorization").and_then(|text| text.strip_prefix("Bearer t,"));
        let has = |action: &str| {
            action.is_empty() || granted.is_some_and(|all| all.split(',').any(|one| one == action))
        };
        if granted.is_some() && needed.split(',').all(has) {
            return None;
        }
        let (host, Self { realm, service, .. }) = (host_of(request), self);
        let mut challenge = format!("Bearer realm=\"http://{host}{realm}\",service=\"{service}\"");
        if !needed.is_empty() {
            challenge.push_str(&format!(",scope=\"repository:team/app:{needed}\""));
        }
        let error = r#"{"errors":[{"code":"UNAUTHORIZED","message":"access denied","detail":{}}]}"#;
        Some(json(401, error).header("WWW-Authenticate", challenge))
    }

    fn token(&self, request: &Request) -> Reply {
        let mut granted = String::new();
        for scope in request.query("scope") {
            let scope = scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
            let actions = scope.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':'));
            let actions = actions.map_or("", |(_, actions)| actions);
            for action in actions.split(',') {
                if self.actions.contains(&action) {
                    granted.push(',');
                    granted.push_str(action);
                } else if self.strict {
                    let message = format!("Unable to decode repository and actions: {scope}");
                    return json(400, serde_json::json!({"error": message}).to_string());
                }
            }
        }
        json(200, serde_json::json!({"token": format!("t,{granted}")}).to_string())
    }
}
