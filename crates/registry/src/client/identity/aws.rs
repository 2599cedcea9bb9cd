//! Who this machine or job is to AWS, as AWS's own crates find out.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::imds::client::Client as MetadataClient;
use aws_config::imds::client::error::ImdsError;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider as Tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use tokio::sync::Mutex;
use tracing::instrument::{WithDispatch, WithSubscriber as _};
use tracing::subscriber::NoSubscriber;

use super::presence::SILENCE_MEMORY;
use super::{AwsIdentity, AwsKeys};
use crate::client::credential::{CredentialError, Secret, is_fresh};
use crate::client::transport::one_line;

/// How long the metadata service of a machine may be silent. Where there is none, nobody answers.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);

/// How long it is not tried again what failed.
const FAILURE_MEMORY: Duration = Duration::from_secs(10);

/// The AWS identity of this machine or job, found where AWS's own tools look for it.
///
/// Keys are read once, and again when they are about to expire. That there are none is remembered for half
/// a minute, since the metadata service of EC2 may be busy or being set up; to find it out takes about a
/// second where that is not disabled, and nobody answers in its place.
pub struct AwsEnvironment {
    places: Mutex<Option<Arc<Places>>>,
    keys: Mutex<Option<Held>>,
}

/// Where keys and region come from.
struct Places {
    keys: CredentialsProviderChain,
    region: Option<String>,
    at: Instant,
}

/// What was read when.
struct Held {
    keys: Result<Option<AwsKeys>, String>,
    at: Instant,
    since: SystemTime,
}

impl AwsEnvironment {
    /// Reads, when it is first asked, the environment of this process and the files in its home directory
    /// (*AWS SDKs and Tools Reference Guide*, *Standardized credential providers*); the first of these
    /// that is there decides:
    ///
    /// 1. `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`;
    /// 2. the profile `AWS_PROFILE`, or `default`, in the files `AWS_CONFIG_FILE` and
    ///    `AWS_SHARED_CREDENTIALS_FILE`, or `~/.aws/config` and `~/.aws/credentials`: keys, a role with the
    ///    source of its keys, or a program (`credential_process`), which is started;
    /// 3. `AWS_WEB_IDENTITY_TOKEN_FILE` with `AWS_ROLE_ARN` and `AWS_ROLE_SESSION_NAME`, as EKS and the
    ///    OpenID Connect tokens of CI services use them, with the STS of the region or
    ///    `AWS_ENDPOINT_URL_STS`;
    /// 4. `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `AWS_CONTAINER_CREDENTIALS_FULL_URI`, with
    ///    `AWS_CONTAINER_AUTHORIZATION_TOKEN` or `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`;
    /// 5. the metadata service of EC2 (version 2), at `AWS_EC2_METADATA_SERVICE_ENDPOINT` or where it
    ///    usually is, unless `AWS_EC2_METADATA_DISABLED` is `true`.
    ///
    /// Profiles of single sign-on (`aws sso login`: `sso_session`, `sso_start_url`) are not supported, and are
    /// an error. `eval "$(aws configure export-credentials --profile NAME --format env)"` puts keys of such a
    /// profile into the environment, where they come first; a profile with
    /// `credential_process = aws configure export-credentials --profile NAME` gets them when they are
    /// needed. Who has a stored password for a registry of ECR needs neither: what only ECR's API can do is
    /// then left out.
    ///
    /// The region is that of `AWS_REGION` or `AWS_DEFAULT_REGION`, the profile, or the metadata service.
    /// STS is asked through the proxies that `HTTPS_PROXY` and its kin name; containers' and machines' own
    /// services are not. AWS's crates also read settings about retries and time limits.
    pub fn from_environment() -> Self {
        Self { places: Mutex::default(), keys: Mutex::default() }
    }

    async fn places(&self) -> Arc<Places> {
        // Whoever comes while they are looked for waits for it.
        let mut places = self.places.lock().await;
        match places.take().filter(|places| places.are_good()) {
            Some(good) => Arc::clone(places.insert(good)),
            None => Arc::clone(places.insert(Arc::new(untraced(Places::find()).await))),
        }
    }

    async fn read(&self) -> Result<Option<AwsKeys>, String> {
        match untraced(self.places().await.keys.provide_credentials()).await {
            Ok(credentials) => Ok(Some(keys(&credentials))),
            Err(CredentialsError::CredentialsNotLoaded(_)) => Ok(None),
            Err(error) => Err(causes(&error)),
        }
    }
}

#[async_trait]
impl AwsIdentity for AwsEnvironment {
    async fn keys(&self) -> Result<Option<AwsKeys>, CredentialError> {
        // Whoever comes while it is read waits for it.
        let mut held = self.keys.lock().await;
        let held = match held.take().filter(Held::is_good) {
            Some(good) => held.insert(good),
            None => {
                let keys = self.read().await;
                held.insert(Held { keys, at: Instant::now(), since: SystemTime::now() })
            }
        };
        held.keys.clone().map_err(CredentialError::new)
    }

    async fn region(&self) -> Option<String> {
        self.places().await.region.clone()
    }
}

impl Held {
    fn is_good(&self) -> bool {
        match &self.keys {
            Ok(Some(keys)) => is_fresh(keys.expires, self.since),
            Ok(None) => self.at.elapsed() < SILENCE_MEMORY,
            Err(_) => self.at.elapsed() < FAILURE_MEMORY,
        }
    }
}

impl Places {
    /// Where there is no region, the metadata service did not answer.
    fn are_good(&self) -> bool {
        self.region.is_some() || self.at.elapsed() < SILENCE_MEMORY
    }

    async fn find() -> Self {
        let at = Instant::now();
        let near = config(ProxyConfig::disabled);
        let metadata = MetadataClient::builder()
            .configure(&near)
            .connect_timeout(METADATA_TIMEOUT)
            .read_timeout(METADATA_TIMEOUT)
            .operation_attempt_timeout(METADATA_TIMEOUT)
            .max_attempts(2)
            .build();
        let of_machine = ImdsCredentialsProvider::builder()
            .configure(&near)
            .imds_client(metadata.clone())
            .build();
        let mut of_machine = Some(OfMachine(of_machine));
        let configured = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::builder().configure(&near).build());
        let mut region = configured.region().await;
        if region.is_none() {
            let its_region =
                ImdsRegionProvider::builder().configure(&near).imds_client(metadata).build();
            // Both at once, so that there is one second to wait where nobody answers.
            let (found, keys) = tokio::join!(its_region.region(), async {
                match &of_machine {
                    Some(of_machine) => of_machine.provide_credentials().await.map(|_| ()),
                    None => Ok(()),
                }
            });
            region = found;
            if let Err(CredentialsError::CredentialsNotLoaded(_)) = keys {
                of_machine = None;
            }
        }
        let far = config(ProxyConfig::from_env).with_region(region.clone());
        let profile = ProfileFileCredentialsProvider::builder().configure(&far).build();
        let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(&far).build();
        let container = EcsCredentialsProvider::builder().configure(&near).build();
        let keys = CredentialsProviderChain::first_try(
            "Environment",
            EnvironmentVariableCredentialsProvider::new(),
        )
        .or_else("Profile", profile)
        .or_else("WebIdentityToken", web_identity)
        .or_else("Container", container);
        let keys = match of_machine {
            Some(of_machine) => keys.or_else("Machine", of_machine),
            None => keys,
        };
        Self { keys, region: region.map(|region| region.as_ref().to_owned()), at }
    }
}

/// The keys of the machine's own role.
#[derive(Debug)]
struct OfMachine(ImdsCredentialsProvider);

impl OfMachine {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let error = match self.0.provide_credentials().await {
            Ok(credentials) => return Ok(credentials),
            Err(error) => error,
        };
        let of_service = error.source().and_then(|source| source.downcast_ref::<ImdsError>());
        match of_service {
            // Nobody, or another cloud's service at the same address.
            Some(ImdsError::FailedToLoadToken(_) | ImdsError::IoError(_)) => {
                Err(CredentialsError::not_loaded("no metadata service of EC2"))
            }
            _ => Err(error),
        }
    }
}

impl ProvideCredentials for OfMachine {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

/// What is asked over the same TLS library that the rest of this crate uses.
fn config(proxy: fn() -> ProxyConfig) -> ProviderConfig {
    let http = Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = ConnectorBuilder::default().tls_provider(Tls::Rustls(CryptoMode::Ring));
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.set_proxy_config(Some(proxy()));
        connector.build()
    });
    ProviderConfig::without_region().with_http_client(http)
}

/// AWS's crates trace requests with their headers, in some of which are tokens.
fn untraced<F: Future>(future: F) -> WithDispatch<F> {
    future.with_subscriber(NoSubscriber::default())
}

fn keys(credentials: &Credentials) -> AwsKeys {
    AwsKeys {
        access_key_id: credentials.access_key_id().to_owned(),
        secret_access_key: Secret::new(credentials.secret_access_key()),
        session_token: credentials.session_token().map(Secret::new),
        expires: credentials.expiry(),
    }
}

/// What the errors in a chain say, each once. Their `Debug`, which could hold a reply, is not looked at, and
/// neither is what a program wrote.
fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    let text = text.split(" Stderr:").next().unwrap_or_default();
    one_line(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_there_are_no_keys_is_remembered_for_a_while() {
        let held = |age| {
            let at = Instant::now().checked_sub(age).unwrap();
            Held { keys: Ok(None), at, since: SystemTime::now() }
        };
        assert!(held(Duration::ZERO).is_good());
        assert!(!held(SILENCE_MEMORY).is_good());
    }
}
