//! What is configured about registries.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::ProviderKind;
use crate::reference::RegistryHost;

/// What is configured about one registry. Whatever is left out is found out, or the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Whose it is.
    pub provider: Option<ProviderKind>,
    /// Where the vendor's own API is, instead of where it usually is: `https://host[/path]`, or plain
    /// HTTP on loopback. Of a registry of Google behind a name of one's own, it ends in
    /// `/locations/LOCATION`, which the names of Google's hosts say otherwise.
    pub api_url: Option<String>,
    /// Whether what this machine or job is to a cloud may be told to a registry whose name is not that
    /// cloud's. A token of a cloud opens more than one registry: whoever merely writes a configuration
    /// must not be able to have it sent anywhere.
    pub vouched: bool,
    /// Whether a repository that is missing may be made, where pushing does not make it.
    pub create_repositories: bool,
    /// Requests about manifests, tags and other short things at a time.
    pub questions: Option<usize>,
    /// Blobs that are read at a time.
    pub downloads: Option<usize>,
    /// Blobs that are written at a time.
    pub uploads: Option<usize>,
    /// Requests that are begun in a second.
    pub requests_per_second: Option<NonZeroU32>,
}

/// What is configured about registries, by host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries(BTreeMap<RegistryHost, RegistrySettings>);

impl Registries {
    /// What is configured about this one.
    pub fn of(&self, host: &RegistryHost) -> Option<&RegistrySettings> {
        self.0.get(host)
    }

    /// Whose registry this is, as far as it is configured or the host's name tells.
    pub fn provider(&self, host: &RegistryHost) -> Option<ProviderKind> {
        let configured = self.of(host).and_then(|settings| settings.provider);
        configured.or_else(|| ProviderKind::of_host(host))
    }
}

impl FromIterator<(RegistryHost, RegistrySettings)> for Registries {
    fn from_iter<I: IntoIterator<Item = (RegistryHost, RegistrySettings)>>(settings: I) -> Self {
        Self(settings.into_iter().collect())
    }
}
