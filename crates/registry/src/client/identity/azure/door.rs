//! Connections to those who hand tokens out.

use std::error::Error as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use serde::de::DeserializeOwned;
use url::{Host, Url};

use crate::client::credential::CredentialError;

/// Longest that anybody has for a whole answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Largest answer that is read, in bytes.
const MAX_REPLY_SIZE: usize = 1024 * 1024;

/// Two pools, since what is on this machine, or beside it, is not asked through a proxy.
#[derive(Debug)]
pub(super) struct Door {
    remote: reqwest::Client,
    near: reqwest::Client,
}

/// A status that is no success, with what was said about it.
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) description: String,
}

impl Door {
    pub(super) fn new() -> Result<Self, String> {
        // reqwest panics without one.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err("no TLS provider: the program has to install one first".to_owned());
        }
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(10))
                .timeout(TIMEOUT)
                .redirect(reqwest::redirect::Policy::none())
        };
        let made = |builder: reqwest::ClientBuilder| {
            let made = builder.build();
            made.map_err(|error| format!("cannot set TLS up: {}", innermost(&error)))
        };
        Ok(Self { remote: made(builder())?, near: made(builder().no_proxy())? })
    }

    pub(super) fn near(&self) -> &reqwest::Client {
        &self.near
    }

    pub(super) fn remote(&self, url: &Url) -> &reqwest::Client {
        if is_loopback(url) { &self.near } else { &self.remote }
    }
}

/// What a server that is asked directly answers in JSON.
pub(super) async fn ask<T: DeserializeOwned>(
    what: &str,
    request: reqwest::RequestBuilder,
) -> Result<Result<T, Refused>, CredentialError> {
    let unsent =
        |error: reqwest::Error| CredentialError::new(format!("{what}: {}", innermost(&error)));
    let mut reply = request.send().await.map_err(unsent)?;
    let status = reply.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = reply.chunk().await.map_err(unsent)? {
        if bytes.len() + chunk.len() > MAX_REPLY_SIZE {
            return Err(CredentialError::new(format!("{what}: the answer is too long")));
        }
        bytes.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        return Ok(Err(Refused { status: status.as_u16(), description: description(&bytes) }));
    }
    // What serde says could quote a token.
    let reply = serde_json::from_slice(&bytes)
        .map_err(|_| CredentialError::new(format!("{what}: the answer holds no token")))?;
    Ok(Ok(reply))
}

/// What an error body says, in one line.
fn description(body: &[u8]) -> String {
    const MAX_LENGTH: usize = 200;

    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(alias = "message")]
        error_description: String,
    }
    let said = serde_json::from_slice::<Body>(body).map(|body| body.error_description);
    let clean = |character: char| if character.is_control() { ' ' } else { character };
    said.unwrap_or_default().chars().take(MAX_LENGTH).map(clean).collect()
}

#[async_trait]
impl HttpClient for Door {
    /// `azure_identity` wants TLS everywhere; on loopback nobody has it.
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if !is_loopback(request.url()) {
            return self.remote.execute_request(request).await;
        }
        let mut request = request.clone();
        // Fails only for addresses of other kinds.
        let _ = request.url_mut().set_scheme("http");
        self.near.execute_request(&request).await
    }
}

/// The address of an authority as `azure_identity` takes it.
pub(super) fn as_tls(authority: &str) -> String {
    let url = Url::parse(authority).ok().filter(|url| url.scheme() == "http" && is_loopback(url));
    let address = url.and_then(|_| authority.strip_prefix("http://"));
    address.map_or_else(|| authority.to_owned(), |address| format!("https://{address}"))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address == Ipv4Addr::LOCALHOST || address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_on_loopback_an_authority_may_do_without_tls() {
        for (authority, taken) in [
            ("http://127.0.0.1:1/", "https://127.0.0.1:1/"),
            ("http://localhost:1", "https://localhost:1"),
            ("http://login.example", "http://login.example"),
            ("https://login.example", "https://login.example"),
            ("login.example", "login.example"),
        ] {
            assert_eq!(as_tls(authority), taken);
        }
    }
}
