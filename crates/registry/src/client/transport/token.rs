//! Asking a token server (Docker's token authentication specification, and its OAuth2 form).

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::Http;
use super::authority::{basic_header, bearer_header};
use super::challenge::Challenge;
use super::endpoint::{is_link_local, is_loopback, redacted};
use super::jwt::Claims;
use super::reply::{Asked, Reason, read, refusal};
use super::scope::ScopeSet;
use crate::client::credential::{Credential, Secret};
use crate::error::{Error, ErrorKind};
use crate::reference::RegistryHost;

/// Largest reply that is read, in bytes.
const MAX_REPLY_SIZE: u64 = 1024 * 1024;

/// The lifetime of a token whose reply names none, in seconds (Docker's specification).
const DEFAULT_LIFETIME: f64 = 60.0;

/// A day: longer lifetimes are not believed.
const MAX_LIFETIME: f64 = 86_400.0;

/// A token is not used in its last seconds, in which it could expire under way.
const MARGIN: Duration = Duration::from_secs(10);

const CLIENT_ID: &str = "dockit";

/// Where a registry sends its clients for tokens.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TokenServer {
    realm: Url,
    service: Option<String>,
}

/// A token as it is sent, and how long.
pub(super) struct Token {
    header: HeaderValue,
    expires: Instant,
    anonymous: bool,
}

impl TokenServer {
    /// The server that a challenge names. Credentials will be sent there, so it has to be reached
    /// over TLS, unless the registry itself is not.
    pub(super) fn of(
        challenge: &Challenge,
        plain_registry: Option<&RegistryHost>,
    ) -> Result<Self, String> {
        let realm = challenge.get("realm").ok_or("the challenge names no token server")?;
        let realm =
            Url::parse(realm).map_err(|_| "the challenge's token server is no URL".to_owned())?;
        let shown = redacted(&realm);
        if is_link_local(&realm) {
            return Err(format!("the token server {shown} is a link-local address"));
        }
        let safe = match realm.scheme() {
            "https" => true,
            "http" => plain_registry.is_some_and(|registry| is_beside(&realm, registry)),
            _ => false,
        };
        if !safe {
            return Err(format!("the token server {shown} is not reached over https"));
        }
        if !realm.username().is_empty() || realm.password().is_some() {
            return Err(format!("the address of the token server {shown} holds credentials"));
        }
        Ok(Self { realm, service: challenge.get("service").map(ToOwned::to_owned) })
    }

    pub(super) fn realm(&self) -> &Url {
        &self.realm
    }
}

impl Token {
    pub(super) fn header(&self) -> &HeaderValue {
        &self.header
    }

    pub(super) fn is_fresh(&self) -> bool {
        Instant::now() < self.expires
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.anonymous
    }
}

/// Asks for a token. The server may grant less than was asked for, which shows only when the token is
/// used.
pub(super) async fn fetch(
    http: Http,
    host: RegistryHost,
    server: TokenServer,
    scopes: ScopeSet,
    credential: Credential,
) -> Result<Arc<Token>, Error> {
    let request = TokenRequest { http: &http, host: &host, server: &server, scopes: &scopes };
    match &credential {
        Credential::Basic { username, password } => request.get(Some((username, password))).await,
        Credential::IdentityToken { username, token } => {
            match request.post(token).await? {
                Some(token) => Ok(token),
                // A server that knows no OAuth2 takes the token as a password.
                None => request.get(Some((username.as_deref().unwrap_or("<token>"), token))).await,
            }
        }
        Credential::Anonymous | Credential::Bearer(_) => request.get(None).await,
    }
}

struct TokenRequest<'a> {
    http: &'a Http,
    host: &'a RegistryHost,
    server: &'a TokenServer,
    scopes: &'a ScopeSet,
}

impl TokenRequest<'_> {
    async fn get(&self, login: Option<(&str, &Secret)>) -> Result<Arc<Token>, Error> {
        let mut url = self.server.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            query.extend_pairs(self.server.service.iter().map(|service| ("service", service)));
            query.extend_pairs(self.scopes.texts().map(|scope| ("scope", scope)));
            query.append_pair("client_id", CLIENT_ID);
            query.extend_pairs(login.map(|(username, _)| ("account", username)));
        }
        let reason = Reason::new(&Method::GET, &url, self.host);
        let mut request = self.http.client(&url).get(url);
        if let Some((username, password)) = login {
            request = request.header(AUTHORIZATION, basic_header(username, password));
        }
        let start = Instant::now();
        let response = request.send().await.map_err(|error| reason.unsent(error))?;
        token(response, &reason, start, login.is_none()).await
    }

    /// `None`: the server knows no such request.
    async fn post(&self, refresh_token: &Secret) -> Result<Option<Arc<Token>>, Error> {
        let url = self.server.realm.clone();
        let scope = self.scopes.texts().collect::<Vec<_>>().join(" ");
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .extend_pairs(self.server.service.iter().map(|service| ("service", service)))
            .append_pair("client_id", CLIENT_ID)
            .append_pair("scope", &scope)
            .append_pair("refresh_token", refresh_token.expose())
            .finish();
        let reason = Reason::new(&Method::POST, &url, self.host);
        let request = self
            .http
            .client(&url)
            .post(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(form));
        let start = Instant::now();
        let response = request.send().await.map_err(|error| reason.unsent(error))?;
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
            _ => token(response, &reason, start, false).await.map(Some),
        }
    }
}

async fn token(
    response: Response,
    reason: &Reason,
    start: Instant,
    anonymous: bool,
) -> Result<Arc<Token>, Error> {
    tracing::debug!(
        request = reason.request(),
        status = response.status().as_u16(),
        "token server"
    );
    if response.status() != StatusCode::OK {
        return Err(refusal(response, reason, Asked::TokenServer { anonymous }).await);
    }
    let body = read(response, MAX_REPLY_SIZE, reason).await?;
    let invalid = |message: &str| reason.error(ErrorKind::Invalid, message);
    // What serde says about a reply could quote the token.
    let reply: TokenReply = serde_json::from_slice(&body)
        .map_err(|_| invalid("the token server's reply is not what its specification says"))?;
    let text =
        [reply.access_token, reply.token].into_iter().flatten().find(|text| !text.is_empty());
    let text = text.ok_or_else(|| invalid("the token server's reply holds no token"))?;
    // ACR says only in the token itself how long it is good.
    let lifetime = reply.expires_in.or_else(|| Claims::of(&text).lifetime());
    let header = bearer_header(&Secret::new(text)).map_err(invalid)?;
    let lifetime = lifetime.unwrap_or(DEFAULT_LIFETIME).clamp(0.0, MAX_LIFETIME);
    let lifetime = Duration::from_secs_f64(lifetime);
    let expires = start + lifetime.saturating_sub(MARGIN.min(lifetime / 2));
    Ok(Arc::new(Token { header, expires, anonymous }))
}

#[derive(Deserialize)]
struct TokenReply {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

/// Whether a token server is on the registry's own machine: a registry that is spoken to without TLS
/// must not be able to have a password sent in clear text to any other.
fn is_beside(realm: &Url, registry: &RegistryHost) -> bool {
    let name = match registry.port() {
        Some(_) => registry.as_str().rsplit_once(':').map_or(registry.as_str(), |(name, _)| name),
        None => registry.as_str(),
    };
    realm.host_str() == Some(name) || (registry.is_loopback() && is_loopback(realm))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

    use super::*;

    fn server(realm: &str, plain_registry: Option<&str>) -> Result<TokenServer, String> {
        let challenge = HeaderValue::from_str(&format!("Bearer realm=\"{realm}\"")).unwrap();
        let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, challenge)]);
        let registry = plain_registry.map(|host| host.parse().unwrap());
        TokenServer::of(&Challenge::all(&headers)[0], registry.as_ref())
    }

    #[test]
    fn credentials_go_only_to_token_servers_that_are_safe() {
        for (realm, plain_registry, allowed) in [
            ("https://auth.example/token", None, true),
            ("https://auth.example/token", Some("localhost:5000"), true),
            ("http://auth.example/token", None, false),
            ("http://auth.example/token", Some("localhost:5000"), false),
            ("http://auth.example/token", Some("registry.example:5000"), false),
            ("http://registry.example:5001/token", Some("registry.example:5000"), true),
            ("http://registry.example/token", Some("registry.example"), true),
            ("http://127.0.0.1:1/token", Some("localhost:5000"), true),
            ("http://[::1]:1/token", Some("127.0.0.1:5000"), true),
            ("http://127.0.0.1:1/token", Some("registry.example:5000"), false),
            ("http://127.0.0.1:1/token", None, false),
            ("https://169.254.169.254/token", None, false),
            ("http://169.254.169.254/latest", Some("localhost:5000"), false),
            ("https://[::ffff:a9fe:a9fe]/", None, false),
            ("ftp://auth.example/", Some("auth.example"), false),
            ("https://user:pass@auth.example/", None, false),
            ("/token", None, false),
        ] {
            assert_eq!(
                server(realm, plain_registry).is_ok(),
                allowed,
                "{realm} {plain_registry:?}"
            );
        }
    }
}
