//! Who this machine or job is to Google: Application Default Credentials.

mod configuration;
mod library;
mod metadata;
mod service_account;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{AccessToken, TokenIdentity};
use crate::client::credential::CredentialError;
use configuration::Configuration;
use library::Library;
use metadata::{Asked, MetadataServer};

/// A token is replaced in its last minutes: metadata servers have no newer one before.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// How long anybody who gives tokens may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The identity of a machine or a job by Google's Application Default Credentials, in this order (*How
/// Application Default Credentials works*):
///
/// 1. a file with credentials, which has to be there: the key of a service account, what `gcloud auth
///    application-default login` writes (`authorized_user`, `impersonated_service_account`), or a
///    workload identity federation (`external_account`: a token of GitHub, GitLab, AWS and others for
///    one of Google's, with or without impersonation);
/// 2. such a file at the place where gcloud writes it, if it is there;
/// 3. the metadata server of Compute Engine, Kubernetes Engine, Cloud Run and Cloud Build.
///
/// Who has none of these has no identity. That is found out in a second at most (in five on a machine
/// whose firmware says that it is Google's), and only once; where nobody answers, again after half a minute. What is configured and does not work is an
/// error.
///
/// Tokens are kept, and replaced before they expire. The files are read when the first token is asked
/// for, in a tokio runtime; the program has to have installed a rustls `CryptoProvider`.
pub struct GoogleIdentity {
    settings: GoogleSettings,
    state: Mutex<State>,
}

/// Where an identity is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoogleSettings {
    /// A file with credentials, which has to be there.
    pub file: Option<PathBuf>,
    /// Another one, which is used if it is there.
    pub optional_file: Option<PathBuf>,
    /// Where to ask for an identity that the machine itself has.
    pub metadata: GoogleMetadata,
}

/// Where to ask for the identity that a machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoogleMetadata {
    /// Nowhere.
    #[default]
    Never,
    /// A metadata server at this `host[:port]`, if there is one.
    IfAt(String),
    /// A metadata server at this `host[:port]`, which has to be there.
    At(String),
}

impl GoogleMetadata {
    /// Where Google's machines have it, if this is one.
    pub fn usual() -> Self {
        Self::IfAt(metadata::ADDRESS.to_owned())
    }
}

#[derive(Default)]
struct State {
    configuration: Option<Configuration>,
    /// The token that was had last, and for what.
    token: Option<(String, AccessToken)>,
    /// Why there was no token, and when that was known.
    failure: Option<(Instant, String)>,
    library: Library,
    server: Option<MetadataServer>,
}

impl GoogleIdentity {
    /// The identity in these places.
    pub fn new(settings: GoogleSettings) -> Self {
        Self { settings, state: Mutex::default() }
    }

    /// The identity in the places that Google's own libraries look at, for
    /// [`ClientBuilder::google`](crate::ClientBuilder::google).
    ///
    /// Reads these variables of the environment: `GOOGLE_APPLICATION_CREDENTIALS` names the file with
    /// credentials, `CLOUDSDK_CONFIG` the directory of gcloud, which otherwise is `.config/gcloud` in
    /// `HOME` (`gcloud` in `APPDATA` on Windows), where `application_default_credentials.json` is
    /// looked for; `GCE_METADATA_HOST` the metadata server; `NO_GCE_CHECK=true` says that there is
    /// none. Empty ones count as missing. Google's library reads `GCE_METADATA_HOST`, and for what a
    /// federation is configured with `GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES` and the variables of
    /// AWS, by itself. On Linux, `/sys/class/dmi/id/product_name` says whose machine it is.
    ///
    /// Requests obey `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, but for those to the metadata server.
    #[expect(clippy::disallowed_methods, reason = "the one place that does so, which says so")]
    pub fn from_environment() -> Self {
        Self::new(GoogleSettings::of(|name| std::env::var_os(name)))
    }
}

impl GoogleSettings {
    /// What these variables mean.
    fn of(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| set(name).map(PathBuf::from);
        let home = || match path("APPDATA") {
            Some(data) if cfg!(windows) => Some(data.join("gcloud")),
            _ => path("HOME").map(|home| home.join(".config/gcloud")),
        };
        let directory = path("CLOUDSDK_CONFIG").or_else(home);
        let host = set("GCE_METADATA_HOST").and_then(|host| host.into_string().ok());
        let never = set("NO_GCE_CHECK").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Self {
            file: path("GOOGLE_APPLICATION_CREDENTIALS"),
            optional_file: directory
                .map(|directory| directory.join("application_default_credentials.json")),
            metadata: match host {
                Some(host) => GoogleMetadata::At(host),
                None if never => GoogleMetadata::Never,
                None => GoogleMetadata::usual(),
            },
        }
    }
}

#[async_trait]
impl TokenIdentity for GoogleIdentity {
    async fn access_token(&self, scope: &str) -> Result<Option<AccessToken>, CredentialError> {
        let asked = Instant::now();
        // Held while a token is fetched, so that it is fetched once.
        let mut state = self.state.lock().await;
        // What failed for one fails for all who have waited for it.
        if let Some((failed, message)) = &state.failure
            && *failed > asked
        {
            return Err(CredentialError::new(message.clone()));
        }
        if let Some((of, token)) = &state.token
            && of == scope
            && token.expires.is_none_or(|expires| SystemTime::now() + MARGIN < expires)
        {
            return Ok(Some(token.clone()));
        }
        let token = tokio::time::timeout(PATIENCE, state.fetch(&self.settings, scope)).await;
        let token = token.unwrap_or_else(|_| {
            let message = format!("Google gave no token in {} s", PATIENCE.as_secs());
            Err(CredentialError::new(message))
        });
        state.failure = token.as_ref().err().map(|error| (Instant::now(), error.to_string()));
        state.token = match &token {
            // Google's library keeps its own.
            Ok(Some(token)) if !state.library.is_used() => Some((scope.to_owned(), token.clone())),
            _ => None,
        };
        token
    }
}

impl State {
    async fn fetch(
        &mut self,
        settings: &GoogleSettings,
        scope: &str,
    ) -> Result<Option<AccessToken>, CredentialError> {
        // reqwest and Google's library panic without one.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let message =
                "no TLS provider: the program has to install a rustls CryptoProvider first";
            return Err(CredentialError::new(message));
        }
        if self.configuration.is_none() {
            self.configuration = Some(Configuration::find(settings)?);
        }
        match &self.configuration {
            None | Some(Configuration::Nobody) => Ok(None),
            Some(Configuration::ServiceAccount(file)) => {
                service_account::token(file, scope).await.map(Some)
            }
            Some(Configuration::Other(file)) => self.library.token(file, scope).await.map(Some),
            Some(Configuration::Machine(metadata)) => {
                let server = match &mut self.server {
                    Some(server) => server,
                    server => server.insert(MetadataServer::new(metadata.clone())?),
                };
                match server.token(scope).await? {
                    Asked::Token(token) => Ok(Some(token)),
                    // Asked once: a machine does not become one of Google's.
                    Asked::Nobody => {
                        self.configuration = Some(Configuration::Nobody);
                        Ok(None)
                    }
                    Asked::Silence => Ok(None),
                }
            }
        }
    }
}

impl std::fmt::Debug for GoogleIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GoogleIdentity").field("settings", &self.settings).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> GoogleSettings {
        GoogleSettings::of(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).into())
        })
    }

    #[test]
    fn variables_say_where_to_look() {
        assert_eq!(
            settings(&[]),
            GoogleSettings { metadata: GoogleMetadata::usual(), ..GoogleSettings::default() }
        );
        let home = settings(&[("HOME", "/h"), ("GOOGLE_APPLICATION_CREDENTIALS", "")]);
        assert_eq!(home.file, None);
        let file = "/h/.config/gcloud/application_default_credentials.json";
        assert_eq!(home.optional_file, Some(file.into()));
        let all = settings(&[
            ("GOOGLE_APPLICATION_CREDENTIALS", "/key.json"),
            ("CLOUDSDK_CONFIG", "/cloud"),
            ("HOME", "/h"),
            ("GCE_METADATA_HOST", "127.0.0.1:8080"),
            ("NO_GCE_CHECK", "true"),
        ]);
        let expected = GoogleSettings {
            file: Some("/key.json".into()),
            optional_file: Some("/cloud/application_default_credentials.json".into()),
            metadata: GoogleMetadata::At("127.0.0.1:8080".to_owned()),
        };
        assert_eq!(all, expected);
        assert_eq!(settings(&[("NO_GCE_CHECK", "True")]).metadata, GoogleMetadata::Never);
    }
}
