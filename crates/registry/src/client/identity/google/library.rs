//! Tokens by Google's own library, for what takes more than one exchange: federations (AIP-4117),
//! impersonation, and gcloud's logins.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use google_cloud_auth::credentials::{
    AccessTokenCredentials, external_account, impersonated, user_account,
};
use google_cloud_auth::errors::CredentialsError;
use tokio::runtime::{Handle, Id};

use super::configuration::File;
use super::service_account::refusal;
use crate::client::credential::{CredentialError, Secret};
use crate::client::identity::AccessToken;

/// How long the library's tokens are good at least: it does not tell, and replaces them four minutes
/// before they expire.
const LIFETIME: Duration = Duration::from_secs(4 * 60);

/// How often a token is asked for.
const TRIES: u32 = 3;

/// What the library keeps.
#[derive(Default)]
pub(super) struct Library {
    held: Option<Held>,
}

struct Held {
    /// The library replaces tokens in a task, which ends with the runtime.
    runtime: Id,
    scope: String,
    credentials: AccessTokenCredentials,
}

impl Library {
    /// Whether it has given a token.
    pub(super) fn is_used(&self) -> bool {
        self.held.is_some()
    }

    pub(super) async fn token(
        &mut self,
        file: &File,
        scope: &str,
    ) -> Result<AccessToken, CredentialError> {
        let mut pause = Duration::from_millis(200);
        let mut tried = 1;
        loop {
            let runtime = Handle::current().id();
            let held = self.held.take();
            let held = held.filter(|held| held.runtime == runtime && held.scope == scope);
            let (held, is_new) = match held {
                Some(held) => (held, false),
                None => {
                    let credentials = credentials(file, scope)?;
                    (Held { runtime, scope: scope.to_owned(), credentials }, true)
                }
            };
            // What has failed is not kept: the library would give the same error for ever.
            match held.credentials.access_token().await {
                Ok(token) => {
                    self.held = Some(held);
                    let expires = SystemTime::now() + LIFETIME;
                    return Ok(AccessToken {
                        token: Secret::new(token.token),
                        expires: Some(expires),
                    });
                }
                // It may have failed long ago, when the library wanted to replace a token.
                Err(_) if !is_new => continue,
                Err(error) if error.is_transient() && tried < TRIES => {
                    tracing::debug!(error = %told(file, &error), "a token is asked for again");
                }
                Err(error) => return Err(told(file, &error)),
            }
            tried += 1;
            tokio::time::sleep(pause).await;
            pause *= 4;
        }
    }
}

fn credentials(file: &File, scope: &str) -> Result<AccessTokenCredentials, CredentialError> {
    let content = file.content.clone();
    let built = match file.text("type") {
        Some("external_account") => external_account::Builder::new(content)
            .with_scopes([scope])
            .build_access_token_credentials(),
        Some("impersonated_service_account") => impersonated::Builder::new(content)
            .with_scopes([scope])
            .build_access_token_credentials(),
        // The scopes are those of the login.
        _ => user_account::Builder::new(content).build_access_token_credentials(),
    };
    built.map_err(|error| file.error(parts(&error).join(": ")))
}

/// What failed, with the reason in the words of whoever refused. The rest of what was answered may be
/// anything, and what the library says of its own working helps nobody.
fn told(file: &File, error: &CredentialsError) -> CredentialError {
    let parts = parts(error);
    let bodies = parts.iter().filter_map(|part| {
        let body = part.split_once("body=<").map(|(_, body)| body);
        json_at(body.or_else(|| part.find('{').map(|start| &part[start..]))?)
    });
    let reason: String = bodies.map(|body| refusal(body.as_bytes())).collect();
    let parts = parts.iter().filter_map(|part| {
        const SAID_OF_ITSELF: [&str; 3] =
            ["Request to fetch", "Fetching the token", "cannot create"];
        const ENDS: [&str; 2] =
            [" but future attempts may succeed", " and future attempts will not succeed"];
        let end = [part.find("body=<"), part.find('{')].into_iter().flatten().min();
        let part = end.map_or(part.as_str(), |end| &part[..end]);
        let part = ENDS.iter().fold(part, |part, end| part.trim_end_matches(end));
        let part = part.trim_end_matches([' ', ',', ':']);
        let part = match SAID_OF_ITSELF.iter().any(|start| part.starts_with(start)) {
            true => part.rsplit_once(" headers").map_or("", |(_, rest)| rest.trim_start()),
            false => part,
        };
        (!part.is_empty()).then_some(part)
    });
    let parts: Vec<&str> = parts.collect();
    // That a file cannot be read is said without its name.
    let named = file.content["credential_source"]["file"].as_str();
    let named = named.filter(|_| is_io(error)).map_or(String::new(), |name| format!("{name}: "));
    file.error(format!("{named}{}{reason}", parts.join(": ")))
}

fn is_io(error: &(dyn StdError + 'static)) -> bool {
    error.is::<std::io::Error>() || error.source().is_some_and(is_io)
}

/// The JSON that a text begins with.
fn json_at(text: &str) -> Option<&str> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    values.next()?.ok()?;
    Some(&text[..values.byte_offset()])
}

/// All that an error says, from the outermost to the innermost, without what was said before.
fn parts(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts
}
