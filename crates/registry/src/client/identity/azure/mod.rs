//! Who this machine or job is to Azure.
//!
//! Entra is asked through `azure_identity`, over connections of our own: those obey the rules of the
//! rest of the client, and tests lead them to loopback. Metadata servers and `az` are asked directly. The
//! crate would read their variables from the process itself, where nobody can pass others in; would
//! repeat for more than a minute what a machine outside Azure answers; and would start `az` through a
//! shell, without a limit on its time.

mod assertion;
mod cli;
mod door;
mod managed;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, ExponentialRetryOptions, RetryOptions, Transport};
use azure_identity::{
    ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};

use super::{AccessToken, TokenIdentity};
use crate::client::credential::{CredentialError, Secret};
use assertion::PipelinesAssertion;
use cli::AzureCli;
use door::Door;
use managed::{AppService, InstanceMetadata};

/// How often Entra is asked before its failure is believed.
const TRIES: u32 = 4;

/// The identity that Azure gives to a machine or a job, or that is configured for it.
///
/// The first that is configured, or there, is used (Azure: *Credential chains*):
///
/// 1. an application with a client secret: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`;
/// 2. an application that trusts another issuer, as in AKS: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, and
///    the file that `AZURE_FEDERATED_TOKEN_FILE` names;
/// 3. a service connection of Azure Pipelines: `AZURESUBSCRIPTION_TENANT_ID`,
///    `AZURESUBSCRIPTION_CLIENT_ID`, `AZURESUBSCRIPTION_SERVICE_CONNECTION_ID`, `SYSTEM_OIDCREQUESTURI`
///    and `SYSTEM_ACCESSTOKEN`, all of them;
/// 4. the managed identity of App Service, Functions or Container Apps: `IDENTITY_ENDPOINT` and
///    `IDENTITY_HEADER`;
/// 5. the managed identity of a virtual machine, from its metadata server, which has a second to say that
///    it is there. That there is none is remembered. `AZURE_CLIENT_ID` says which of several identities;
/// 6. whoever is logged in to `az`, if there is such a program in `PATH`, and `azureProfile.json` in
///    `AZURE_CONFIG_DIR` or `~/.azure` names an account. The program is started, and has 30 seconds.
///
/// `AZURE_AUTHORITY_HOST` is where Entra is asked instead of the place that the scope's cloud has, and
/// `AZURE_POD_IDENTITY_AUTHORITY_HOST` replaces the metadata server's `http://169.254.169.254`. Entra is
/// reached over TLS, but on loopback.
///
/// What is configured and fails is an error; no other identity stands in for it.
pub struct AzureIdentity {
    variables: Variables,
    door: OnceLock<Result<Arc<Door>, String>>,
    instance: InstanceMetadata,
}

/// What was set when the identity was made.
#[derive(Default)]
struct Variables {
    tenant: Option<String>,
    client: Option<String>,
    client_secret: Option<Secret>,
    federated_token_file: Option<PathBuf>,
    authority: Option<String>,
    pipelines: Option<Pipelines>,
    app_service: Option<AppService>,
    cli: Option<AzureCli>,
}

/// A way to be known to Entra, and what to call it in errors.
struct Configured {
    what: &'static str,
    credential: Arc<dyn TokenCredential>,
}

/// A service connection of Azure Pipelines.
struct Pipelines {
    tenant: String,
    client: String,
    assertion: PipelinesAssertion,
}

impl AzureIdentity {
    /// The identity that this process's environment speaks of. This reads the variables that the type
    /// names, and `PATH`, `HOME` or `USERPROFILE`; files are read when a token is asked for.
    #[expect(clippy::disallowed_methods, reason = "it is documented, and the caller's choice")]
    pub fn from_environment() -> Self {
        Self::from_variables(&|name| std::env::var_os(name))
    }

    /// The same, with variables that the caller looks up.
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let raw = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| raw(name).and_then(|value| value.into_string().ok());
        let secret = |name: &str| text(name).map(Secret::new);
        let pipelines = || {
            let connection = text("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID")?;
            let token = secret("SYSTEM_ACCESSTOKEN")?;
            Some(Pipelines {
                tenant: text("AZURESUBSCRIPTION_TENANT_ID")?,
                client: text("AZURESUBSCRIPTION_CLIENT_ID")?,
                assertion: PipelinesAssertion::new(
                    text("SYSTEM_OIDCREQUESTURI")?,
                    connection,
                    token,
                ),
            })
        };
        // With a thumbprint beside it, it is Service Fabric, which wants something else.
        let app_service = || {
            let fabric = raw("IDENTITY_SERVER_THUMBPRINT").is_some();
            let header = secret("IDENTITY_HEADER").filter(|_| !fabric)?;
            Some(AppService { endpoint: text("IDENTITY_ENDPOINT")?, header })
        };
        let home = raw("HOME").or_else(|| raw("USERPROFILE")).map(PathBuf::from);
        let config = raw("AZURE_CONFIG_DIR").map(PathBuf::from);
        let config = config.or_else(|| home.map(|home| home.join(".azure")));
        Self {
            variables: Variables {
                tenant: text("AZURE_TENANT_ID"),
                client: text("AZURE_CLIENT_ID"),
                client_secret: secret("AZURE_CLIENT_SECRET"),
                federated_token_file: raw("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from),
                authority: text("AZURE_AUTHORITY_HOST"),
                pipelines: pipelines(),
                app_service: app_service(),
                cli: raw("PATH").zip(config).map(|(path, config)| AzureCli { path, config }),
            },
            door: OnceLock::new(),
            instance: InstanceMetadata::new(text("AZURE_POD_IDENTITY_AUTHORITY_HOST")),
        }
    }

    fn door(&self) -> Result<&Arc<Door>, CredentialError> {
        let door = self.door.get_or_init(|| Door::new().map(Arc::new));
        door.as_ref().map_err(|problem| CredentialError::new(problem.as_str()))
    }

    /// What is configured for Entra.
    fn configured(&self, scope: &str) -> Result<Option<Configured>, CredentialError> {
        let Variables { client_secret, federated_token_file, pipelines, .. } = &self.variables;
        let options = || self.client_options(scope);
        let application = |what: &str| {
            let Variables { tenant, client, .. } = &self.variables;
            let missing = |name| CredentialError::new(format!("{what} is set, but not {name}"));
            let tenant = tenant.clone().ok_or_else(|| missing("AZURE_TENANT_ID"))?;
            Ok((tenant, client.clone().ok_or_else(|| missing("AZURE_CLIENT_ID"))?))
        };
        if let Some(secret) = client_secret {
            let what = "AZURE_CLIENT_SECRET";
            let (tenant, client) = application(what)?;
            let secret = azure_core::credentials::Secret::new(secret.expose().to_owned());
            let options = ClientSecretCredentialOptions { client_options: options()? };
            let made = ClientSecretCredential::new(&tenant, client, secret, Some(options));
            return Ok(Some(Configured {
                what,
                credential: made.map_err(|error| failure(what, &error))?,
            }));
        }
        if let Some(file) = federated_token_file {
            let what = "AZURE_FEDERATED_TOKEN_FILE";
            let (tenant, client) = application(what)?;
            let mut workload = WorkloadIdentityCredentialOptions::default();
            workload.credential_options.client_options = options()?;
            workload.tenant_id = Some(tenant);
            workload.client_id = Some(client);
            workload.token_file_path = Some(file.clone());
            let made = WorkloadIdentityCredential::new(Some(workload));
            return Ok(Some(Configured {
                what,
                credential: made.map_err(|error| failure(what, &error))?,
            }));
        }
        if let Some(Pipelines { tenant, client, assertion }) = pipelines {
            let what = "the service connection of Azure Pipelines";
            let assertion = assertion.through(Arc::clone(self.door()?));
            let options = ClientAssertionCredentialOptions { client_options: options()? };
            let (tenant, client) = (tenant.clone(), client.clone());
            let made = ClientAssertionCredential::new(tenant, client, assertion, Some(options));
            return Ok(Some(Configured {
                what,
                credential: made.map_err(|error| failure(what, &error))?,
            }));
        }
        Ok(None)
    }

    fn client_options(&self, scope: &str) -> Result<ClientOptions, CredentialError> {
        let authority = match &self.variables.authority {
            Some(authority) => door::as_tls(authority),
            None => authority_of(scope).to_owned(),
        };
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = authority;
        let door: Arc<Door> = Arc::clone(self.door()?);
        Ok(ClientOptions {
            transport: Some(Transport::new(door)),
            cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
            retry: RetryOptions::exponential(ExponentialRetryOptions {
                max_retries: TRIES - 1,
                ..ExponentialRetryOptions::default()
            }),
            ..ClientOptions::default()
        })
    }
}

#[async_trait]
impl TokenIdentity for AzureIdentity {
    async fn access_token(&self, scope: &str) -> Result<Option<AccessToken>, CredentialError> {
        if let Some(Configured { what, credential }) = self.configured(scope)? {
            let token = credential.get_token(&[scope], None).await;
            let token = token.map_err(|error| failure(what, &error))?;
            return Ok(Some(AccessToken {
                token: Secret::new(token.token.secret()),
                expires: Some(token.expires_on.into()),
            }));
        }
        let client = self.variables.client.as_deref();
        if let Some(app_service) = &self.variables.app_service {
            return app_service.token(self.door()?, scope, client).await.map(Some);
        }
        if let Some(token) = self.instance.token(self.door()?, scope, client).await? {
            return Ok(Some(token));
        }
        match &self.variables.cli {
            Some(cli) => cli.token(scope).await,
            None => Ok(None),
        }
    }
}

/// Where Entra is in the cloud that a scope is of (Azure: *National clouds*).
fn authority_of(scope: &str) -> &'static str {
    let resource = scope.split('/').nth(2).unwrap_or_default();
    if resource.ends_with(".chinacloudapi.cn") {
        "https://login.chinacloudapi.cn"
    } else if resource.ends_with(".usgovcloudapi.net") {
        "https://login.microsoftonline.us"
    } else {
        "https://login.microsoftonline.com"
    }
}

/// What Entra says of a failure, in one line. What a parser says of a reply could quote a token.
fn failure(what: &str, error: &azure_core::Error) -> CredentialError {
    const MAX_LENGTH: usize = 300;

    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if cause.is::<serde_json::Error>() {
            return CredentialError::new(format!("{what}: the answer is none that Entra gives"));
        }
        source = cause.source();
    }
    let text = error.to_string();
    let clean = |character: char| if character.is_control() { ' ' } else { character };
    let text: String = text.trim().chars().take(MAX_LENGTH).map(clean).collect();
    CredentialError::new(format!("{what}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cloud_has_its_entra() {
        for (scope, authority) in [
            ("https://containerregistry.azure.net/.default", "https://login.microsoftonline.com"),
            ("https://management.chinacloudapi.cn/.default", "https://login.chinacloudapi.cn"),
            ("https://management.usgovcloudapi.net/.default", "https://login.microsoftonline.us"),
            ("nonsense", "https://login.microsoftonline.com"),
        ] {
            assert_eq!(authority_of(scope), authority, "{scope}");
        }
    }
}
