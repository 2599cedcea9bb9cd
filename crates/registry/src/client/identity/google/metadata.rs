//! The metadata server of machines of Google's (*About VM metadata*, *Authenticate workloads using service
//! accounts*).
//!
//! Google's library asks it as well, but through a proxy if one is configured, and it does not tell how
//! long a token is good.

use std::time::{Duration, SystemTime};

use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;

use super::GoogleMetadata;
use crate::client::credential::{CredentialError, Secret};
use crate::client::identity::AccessToken;
use crate::client::identity::presence::Presence;
use crate::client::transport::innermost;

/// Where it is. By its name it would have to be looked up, which takes long where there is none.
pub(super) const ADDRESS: &str = "169.254.169.254";

const FLAVOR: &str = "Metadata-Flavor";

/// How long a machine may take to say that it is Google's, if nothing else says so, and if something does.
const PROBE: Duration = Duration::from_secs(1);
const LONG_PROBE: Duration = Duration::from_secs(5);

/// How long one may take that is. The first token of a new machine may take a while.
const ANSWER: Duration = Duration::from_secs(10);

/// How often a token is asked for.
const TRIES: u32 = 3;

pub(super) struct MetadataServer {
    host: String,
    http: reqwest::Client,
    presence: Option<Presence>,
}

/// What came back.
pub(super) enum Asked {
    Token(AccessToken),
    /// No such server, or no account of this machine.
    Nobody,
    /// No answer for now.
    Silence,
}

#[derive(Deserialize)]
struct Reply {
    access_token: String,
    expires_in: Option<u64>,
}

impl MetadataServer {
    pub(super) fn new(metadata: GoogleMetadata) -> Result<Self, CredentialError> {
        let (host, presence) = match metadata {
            GoogleMetadata::At(host) => (host, Some(Presence::There)),
            GoogleMetadata::IfAt(host) => (host, None),
            GoogleMetadata::Never => (String::new(), Some(Presence::Elsewhere)),
        };
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| CredentialError::new(innermost(&error)))?;
        Ok(Self { host, http, presence })
    }

    pub(super) async fn token(&mut self, scope: &str) -> Result<Asked, CredentialError> {
        let presence = match self.presence.filter(Presence::is_known) {
            Some(known) => known,
            None => self.probe().await,
        };
        self.presence = Some(presence);
        match presence {
            Presence::There => {}
            Presence::Elsewhere => return Ok(Asked::Nobody),
            Presence::Silent(_) => return Ok(Asked::Silence),
        }
        let mut pause = Duration::from_millis(200);
        let mut tried = 1;
        loop {
            match self.ask(scope).await {
                Err((error, true)) if tried < TRIES => {
                    tracing::debug!(%error, "the metadata server is asked again");
                }
                Err((error, _)) => return Err(error),
                Ok(asked) => return Ok(asked),
            }
            tried += 1;
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
    }

    /// Other clouds have servers at the same address.
    async fn probe(&self) -> Presence {
        let patience = if self.host == ADDRESS && is_googles() { LONG_PROBE } else { PROBE };
        match self.get("/").timeout(patience).send().await {
            Ok(reply) if is_flavored(&reply) => Presence::There,
            Ok(_) => Presence::Elsewhere,
            Err(error) => Presence::unanswered(&error),
        }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("http://{}{path}", self.host)).header(FLAVOR, "Google")
    }

    /// A token, or an error and whether it may pass.
    async fn ask(&self, scope: &str) -> Result<Asked, (CredentialError, bool)> {
        let fail = |message: String, passes: bool| {
            let message = format!("the metadata server {} {message}", self.host);
            (CredentialError::new(message), passes)
        };
        let broken = |error: reqwest::Error| {
            let why =
                if error.is_timeout() { "no answer in time".into() } else { innermost(&error) };
            fail(format!("cannot be asked for a token: {why}"), true)
        };
        let path = "/computeMetadata/v1/instance/service-accounts/default/token";
        let request = self.get(path).query(&[("scopes", scope)]).timeout(ANSWER);
        let reply = request.send().await.map_err(broken)?;
        if !is_flavored(&reply) {
            return Err(fail("is none of Google's".to_owned(), false));
        }
        match reply.status() {
            StatusCode::OK => {}
            // The machine has no account.
            StatusCode::NOT_FOUND => return Ok(Asked::Nobody),
            status => {
                let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                return Err(fail(format!("gives no token ({status})"), passes));
            }
        }
        let bytes = reply.bytes().await.map_err(broken)?;
        let reply: Reply = serde_json::from_slice(&bytes)
            .map_err(|_| fail("answers with something else than a token".to_owned(), false))?;
        let lifetime = reply.expires_in.map(Duration::from_secs);
        Ok(Asked::Token(AccessToken {
            token: Secret::new(reply.access_token),
            expires: lifetime.and_then(|lifetime| SystemTime::now().checked_add(lifetime)),
        }))
    }
}

fn is_flavored(reply: &reqwest::Response) -> bool {
    reply.headers().get(FLAVOR).is_some_and(|value| value == "Google")
}

/// Whether the firmware says so, as that of Compute Engine does.
fn is_googles() -> bool {
    let name = std::fs::read_to_string("/sys/class/dmi/id/product_name").unwrap_or_default();
    matches!(name.trim(), "Google" | "Google Compute Engine")
}

#[cfg(test)]
mod tests {
    use dockit_testkit::{Reply, ScriptedServer};

    use super::*;
    use crate::client::identity::presence::SILENCE_MEMORY;

    #[tokio::test]
    async fn a_server_that_was_silent_is_asked_again_after_a_while_and_another_one_is_not() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let flavored = || Reply::new(200).header(FLAVOR, "Google");
        for (answer, later) in
            [(flavored().delay(Duration::from_secs(3)), true), (Reply::new(404), false)]
        {
            let token = flavored().body(r#"{"access_token":"t"}"#);
            let server = ScriptedServer::script([answer, flavored(), token]);
            let metadata = GoogleMetadata::IfAt(server.host());
            let mut metadata = MetadataServer::new(metadata).unwrap();
            for _ in 0..2 {
                let asked = metadata.token("s").await.unwrap();
                assert!(!matches!(asked, Asked::Token(_)));
            }
            assert_eq!(server.requests().len(), 1);
            if let Some(Presence::Silent(since)) = &mut metadata.presence {
                *since = since.checked_sub(SILENCE_MEMORY).unwrap();
            }
            let asked = metadata.token("s").await.unwrap();
            assert_eq!(matches!(asked, Asked::Token(_)), later);
        }
    }
}
