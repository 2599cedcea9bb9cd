//! Credentials where Docker's own tools keep them.

mod file;
mod helper;
mod keep;
mod locations;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

pub(super) use file::login;
pub use keep::{Erased, Keeper};
pub use locations::ConfigLocation;

use super::credential::{Credential, CredentialError, CredentialSource, Issued};
use crate::reference::RegistryHost;
use file::Stored;

/// How long a credential helper may take.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);

/// Credentials from Docker's and containers' configuration files, and from the credential helpers
/// that these name.
///
/// The first location that has a credential for a host decides. Within a file, a helper for this host
/// (`credHelpers`) goes before the general one (`credsStore`), which goes before `auths`. Entries for
/// a part of a registry only (`host/namespace`) are not used: nobody else should get what was meant
/// for them.
///
/// A location that is not there is passed over; one that cannot be read, or a helper that fails, is an
/// error, and never taken for "no credentials".
#[derive(Clone, Debug)]
pub struct DockerConfig {
    locations: Vec<ConfigLocation>,
    helper_directory: Option<PathBuf>,
    helper_timeout: Duration,
}

impl DockerConfig {
    /// Reads these locations, in this order, each time a credential is asked for.
    pub fn new(locations: impl IntoIterator<Item = ConfigLocation>) -> Self {
        Self {
            locations: locations.into_iter().collect(),
            helper_directory: None,
            helper_timeout: HELPER_TIMEOUT,
        }
    }

    /// Looks for `docker-credential-*` programs here, and not in the search path.
    #[must_use]
    pub fn helper_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.helper_directory = Some(directory.into());
        self
    }

    /// How long a helper may take; 30 seconds by default.
    #[must_use]
    pub fn helper_timeout(mut self, timeout: Duration) -> Self {
        self.helper_timeout = timeout;
        self
    }

    /// The credential for a registry, and who keeps it.
    ///
    /// # Errors
    ///
    /// As [`credential`](CredentialSource::credential).
    pub async fn find(
        &self,
        host: &RegistryHost,
    ) -> Result<Option<(Credential, Keeper)>, CredentialError> {
        for location in &self.locations {
            let Some(file) = location.read().await? else {
                continue;
            };
            let here = || match location {
                ConfigLocation::File(path) => Keeper::File(path.clone()),
                ConfigLocation::Content { name, .. } => Keeper::Variable(name.clone()),
            };
            let helper = |name: &str| Keeper::Helper(name.to_owned());
            let found = match file.stored(host)? {
                Stored::InHelper(name) => (self.in_helper(name, host).await?, helper(name)),
                Stored::InStore(name, beside) => match self.in_helper(name, host).await? {
                    Credential::Anonymous => (beside, here()),
                    found => (found, helper(name)),
                },
                Stored::Here(credential) => (credential, here()),
            };
            if found.0 != Credential::Anonymous {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn in_helper(
        &self,
        name: &str,
        host: &RegistryHost,
    ) -> Result<Credential, CredentialError> {
        let program = helper::program(name, self.helper_directory.as_deref())?;
        helper::get(&program, file::server_name(host), self.helper_timeout).await
    }
}

#[async_trait]
impl CredentialSource for DockerConfig {
    async fn credential(&self, host: &RegistryHost) -> Result<Issued, CredentialError> {
        let found = self.find(host).await?;
        Ok(found.map_or(Credential::Anonymous, |(credential, _)| credential).into())
    }
}
