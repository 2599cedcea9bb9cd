//! Tokens for the key of a service account (*Using OAuth 2.0 for Server to Server Applications*).
//!
//! Google's library signs tokens of its own instead, which Google's APIs take; that the registry takes
//! them as a password is documented nowhere. So its key signs a request for a token of Google's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use google_cloud_auth::credentials::service_account::Builder;
use serde::Deserialize;
use serde_json::{Value, json};
use url::{Host, Url};

use super::configuration::File;
use crate::client::credential::{CredentialError, Secret};
use crate::client::identity::AccessToken;
use crate::client::transport::innermost;

/// Where keys that do not say it get tokens.
const TOKEN_SERVER: &str = "https://oauth2.googleapis.com/token";

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long a token is good; Google allows no longer time.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Clocks differ, and what was signed in the future is refused.
const SKEW: u64 = 10;

const ANSWER: Duration = Duration::from_secs(20);

/// How often a token is asked for.
const TRIES: u32 = 3;

#[derive(Deserialize)]
struct Reply {
    access_token: String,
    expires_in: Option<u64>,
}

pub(super) async fn token(file: &File, scope: &str) -> Result<AccessToken, CredentialError> {
    let server = file.text("token_uri").unwrap_or(TOKEN_SERVER);
    let url = checked(server).ok_or_else(|| {
        file.error(format!("token_uri {server:?} is no address that is reached over https"))
    })?;
    let http =
        reqwest::Client::builder().timeout(ANSWER).redirect(reqwest::redirect::Policy::none());
    // No proxy leads to loopback.
    let http = if url.scheme() == "http" { http.no_proxy() } else { http };
    let http = http.build().map_err(|error| file.error(innermost(&error)))?;
    let mut pause = Duration::from_millis(200);
    let mut tried = 1;
    loop {
        let assertion = assertion(file, server, scope).await?;
        match ask(file, &http, &url, &assertion).await {
            Err((error, true)) if tried < TRIES => {
                tracing::debug!(%error, "a token is asked for again");
            }
            Err((error, _)) => return Err(error),
            Ok(token) => return Ok(token),
        }
        tried += 1;
        tokio::time::sleep(pause).await;
        pause *= 4;
    }
}

/// What is signed with the key is shown to nobody on the way.
fn checked(server: &str) -> Option<Url> {
    let url = Url::parse(server).ok()?;
    let on_loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    };
    (url.scheme() == "https" || (url.scheme() == "http" && on_loopback)).then_some(url)
}

/// A JWT that asks for a token.
async fn assertion(file: &File, audience: &str, scope: &str) -> Result<String, CredentialError> {
    let issuer = file.required("client_email")?;
    let key = file.required("private_key_id")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() - SKEW;
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": key});
    let claims = json!({
        "iss": issuer,
        "scope": scope,
        "aud": audience,
        "iat": now,
        "exp": now + LIFETIME.as_secs(),
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let mut content = file.content.clone();
    // The library wants it, and does nothing with it.
    if content.get("project_id").is_none() {
        content["project_id"] = json!("");
    }
    let signer = Builder::new(content).build_signer();
    let signer = signer.map_err(|_| file.error("it is no key of a service account"))?;
    let signature = signer
        .sign(&signed)
        .await
        .map_err(|_| file.error("private_key is no RSA key in PKCS #8 that can sign"))?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// A token, or an error and whether it may pass.
async fn ask(
    file: &File,
    http: &reqwest::Client,
    url: &Url,
    assertion: &str,
) -> Result<AccessToken, (CredentialError, bool)> {
    let broken = |error: reqwest::Error| {
        let why = if error.is_timeout() { "no answer in time".into() } else { innermost(&error) };
        (file.error(format!("no token from {url}: {why}")), true)
    };
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", GRANT)
        .append_pair("assertion", assertion)
        .finish();
    let request = http
        .post(url.clone())
        .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form);
    let reply = request.send().await.map_err(broken)?;
    let status = reply.status();
    let bytes = reply.bytes().await.map_err(broken)?;
    if !status.is_success() {
        let why = refusal(&bytes);
        let passes = status.is_server_error() || status.as_u16() == 429;
        return Err((file.error(format!("no token from {url}: {status}{why}")), passes));
    }
    let reply: Reply = serde_json::from_slice(&bytes).map_err(|_| {
        (file.error(format!("{url} answers with something else than a token")), false)
    })?;
    let lifetime = reply.expires_in.map_or(LIFETIME, Duration::from_secs);
    Ok(AccessToken {
        token: Secret::new(reply.access_token),
        expires: SystemTime::now().checked_add(lifetime),
    })
}

/// What a token server says of its refusal: OAuth 2's error and description, or those of Google's APIs.
pub(super) fn refusal(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let code = error.as_str().or(error["status"].as_str());
    let text = body["error_description"].as_str().or(error["message"].as_str());
    [code, text].into_iter().flatten().map(|text| format!(", {text}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_signs_goes_over_https_or_stays_here() {
        for (server, good) in [
            (TOKEN_SERVER, true),
            ("http://127.0.0.1:1/token", true),
            ("http://localhost/token", true),
            ("http://oauth2.googleapis.com/token", false),
            ("http://127.0.0.1.example.com/token", false),
            ("file:///token", false),
            ("token", false),
        ] {
            assert_eq!(checked(server).is_some(), good, "{server}");
        }
    }

    #[test]
    fn refusals_of_both_kinds_are_told() {
        for (body, told) in [
            (r#"{"error":"invalid_grant","error_description":"bad"}"#, ", invalid_grant, bad"),
            (r#"{"error":{"code":403,"message":"no","status":"DENIED"}}"#, ", DENIED, no"),
            ("<html>", ""),
            ("[]", ""),
        ] {
            assert_eq!(refusal(body.as_bytes()), told);
        }
    }
}
