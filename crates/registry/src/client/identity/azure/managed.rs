//! Managed identities, from the metadata servers that hand out their tokens (Azure: *How to use managed
//! identities on an Azure VM to acquire an access token*, *REST endpoint reference* of App Service).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use super::super::presence::Presence;
use super::door::{Door, Refused, ask};
use crate::client::credential::{CredentialError, Secret};
use crate::client::identity::AccessToken;

/// How long a metadata server has to say that it is there.
const PROBE: Duration = Duration::from_secs(1);

/// What it is asked again after: it fails while the machine is being set up, or when it is busy.
const PAUSES: [u64; 3] = [1, 2, 4];

/// That of App Service, Functions and Container Apps.
pub(super) struct AppService {
    pub(super) endpoint: String,
    pub(super) header: Secret,
}

impl AppService {
    pub(super) async fn token(
        &self,
        door: &Door,
        scope: &str,
        client: Option<&str>,
    ) -> Result<AccessToken, CredentialError> {
        let what = "IDENTITY_ENDPOINT";
        let url = Url::parse(&self.endpoint)
            .map_err(|_| CredentialError::new(format!("{what} is no URL")))?;
        let url = with_query(url, "2019-08-01", scope, client);
        let mut header = reqwest::header::HeaderValue::from_str(self.header.expose())
            .map_err(|_| CredentialError::new("IDENTITY_HEADER cannot be a header"))?;
        header.set_sensitive(true);
        let request = || door.near().get(url.clone()).header("X-IDENTITY-HEADER", header.clone());
        repeated(what, request).await?.map_err(|refused| refused.error(what))
    }
}

/// That of a virtual machine.
pub(super) struct InstanceMetadata {
    address: Option<String>,
    presence: Mutex<Option<Presence>>,
}

impl InstanceMetadata {
    pub(super) fn new(address: Option<String>) -> Self {
        Self { address, presence: Mutex::default() }
    }

    /// A token for the machine's identity; `None` if this is no machine of Azure, or it has none.
    pub(super) async fn token(
        &self,
        door: &Door,
        scope: &str,
        client: Option<&str>,
    ) -> Result<Option<AccessToken>, CredentialError> {
        let what = "the managed identity of this machine";
        let address = self.address.as_deref().unwrap_or("http://169.254.169.254");
        let url = Url::parse(address).and_then(|url| url.join("/metadata/identity/oauth2/token"));
        let url = url.map_err(|_| {
            CredentialError::new("AZURE_POD_IDENTITY_AUTHORITY_HOST is no URL".to_owned())
        })?;
        if !self.is_there(door, &url).await {
            return Ok(None);
        }
        let url = with_query(url, "2018-02-01", scope, client);
        let request = || door.near().get(url.clone()).header("Metadata", "true");
        match repeated(what, request).await? {
            Ok(token) => Ok(Some(token)),
            // Nobody said that it has one.
            Err(refused) if refused.is_nobody() && client.is_none() => Ok(None),
            Err(refused) => Err(refused.error(what)),
        }
    }

    async fn is_there(&self, door: &Door, url: &Url) -> bool {
        // Whoever comes while it is asked waits for it.
        let mut presence = self.presence.lock().await;
        let known = match presence.filter(Presence::is_known) {
            Some(known) => known,
            None => *presence.insert(probe(door, url).await),
        };
        matches!(known, Presence::There)
    }
}

/// Other clouds have other servers at the same address. Azure's refuses what lacks its header, and
/// nothing else answers so.
async fn probe(door: &Door, url: &Url) -> Presence {
    let mut url = url.clone();
    url.query_pairs_mut().append_pair("api-version", "2018-02-01");
    match door.near().get(url).timeout(PROBE).send().await {
        Ok(reply) => match reply.status().as_u16() {
            400 => Presence::There,
            // It may be Azure's, and busy.
            429 | 500..=599 => Presence::Silent(Instant::now()),
            _ => Presence::Elsewhere,
        },
        Err(error) => Presence::unanswered(&error),
    }
}

async fn repeated(
    what: &str,
    request: impl Fn() -> reqwest::RequestBuilder,
) -> Result<Result<AccessToken, Refused>, CredentialError> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let reply = ask::<Reply>(what, request()).await?;
        let passes = |refused: &Refused| matches!(refused.status, 404 | 410 | 429 | 500..=599);
        match (reply, pauses.next()) {
            (Err(refused), Some(pause)) if passes(&refused) => {
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            (reply, _) => return Ok(reply.map(AccessToken::from)),
        }
    }
}

fn with_query(mut url: Url, version: &str, scope: &str, client: Option<&str>) -> Url {
    url.query_pairs_mut()
        .append_pair("api-version", version)
        .append_pair("resource", scope.strip_suffix("/.default").unwrap_or(scope))
        .extend_pairs(client.map(|client| ("client_id", client)));
    url
}

impl Refused {
    /// Whether there is no identity on this machine.
    fn is_nobody(&self) -> bool {
        self.status == 400 && self.description.contains("Identity not found")
    }

    fn error(&self, what: &str) -> CredentialError {
        let Self { status, description } = self;
        let message = format!("{what}: no token ({status} {description})");
        CredentialError::new(message.replace(" )", ")"))
    }
}

#[derive(Deserialize)]
struct Reply {
    access_token: String,
    /// Seconds since 1970, as text or, by some versions, as a number.
    expires_on: Option<Value>,
}

impl From<Reply> for AccessToken {
    fn from(reply: Reply) -> Self {
        let seconds = reply.expires_on.and_then(|value| match value {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64(),
        });
        let expires: Option<SystemTime> =
            seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        Self { token: Secret::new(reply.access_token), expires }
    }
}

#[cfg(test)]
mod tests {
    use dockit_testkit::{Reply, ScriptedServer};

    use super::super::super::presence::SILENCE_MEMORY;
    use super::*;

    #[tokio::test]
    async fn a_server_that_was_silent_is_asked_again_after_a_while_and_another_one_is_not() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (answer, later) in [
            (Reply::new(400).delay(Duration::from_secs(3)), true),
            (Reply::new(429), true),
            (Reply::new(404), false),
        ] {
            let token = Reply::new(200).body(r#"{"access_token":"t"}"#);
            let server = ScriptedServer::script([answer, Reply::new(400), token]);
            let instance = InstanceMetadata::new(Some(format!("http://{}", server.host())));
            let door = Door::new().unwrap();
            let ask = async || instance.token(&door, "s", None).await.unwrap().is_some();
            assert!(!ask().await && !ask().await);
            assert_eq!(server.requests().len(), 1);
            if let Some(Presence::Silent(since)) = &mut *instance.presence.lock().await {
                *since = since.checked_sub(SILENCE_MEMORY).unwrap();
            }
            assert_eq!(ask().await, later);
        }
    }
}
