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
    ///
    /// The APIs of Docker Hub and of GHCR are on hosts of their own, and get the registry's credential.
    /// A registry elsewhere is one of theirs only with an [`api_url`](RegistrySettings::api_url), and
    /// otherwise one of which nothing is known.
    pub fn provider(&self, host: &RegistryHost) -> Option<ProviderKind> {
        let by_name = ProviderKind::of_host(host);
        if by_name == Some(ProviderKind::Layout) {
            return by_name;
        }
        let Some((settings, kind)) =
            self.of(host).and_then(|settings| Some((settings, settings.provider?)))
        else {
            return by_name;
        };
        let elsewhere = matches!(kind, ProviderKind::DockerHub | ProviderKind::Ghcr)
            && by_name != Some(kind)
            && settings.api_url.is_none();
        Some(if elsewhere { ProviderKind::Generic } else { kind })
    }
}

impl FromIterator<(RegistryHost, RegistrySettings)> for Registries {
    fn from_iter<I: IntoIterator<Item = (RegistryHost, RegistrySettings)>>(settings: I) -> Self {
        Self(settings.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_elsewhere_has_an_api_of_docker_hub_or_github_only_where_that_is_said() {
        use ProviderKind::{DockerHub, Generic, Ghcr, Harbor};
        for (host, provider, api_url, expected) in [
            ("docker.io", DockerHub, None, DockerHub),
            ("ghcr.io", Ghcr, None, Ghcr),
            ("mirror.example", DockerHub, None, Generic),
            ("mirror.example", Ghcr, None, Generic),
            ("ghcr.io", DockerHub, None, Generic),
            ("mirror.example", Ghcr, Some("https://api.mirror.example"), Ghcr),
            ("mirror.example", Harbor, None, Harbor),
        ] {
            let host: RegistryHost = host.parse().unwrap();
            let api_url = api_url.map(ToOwned::to_owned);
            let provider = Some(provider);
            let settings = RegistrySettings { provider, api_url, ..RegistrySettings::default() };
            let registries = Registries::from_iter([(host.clone(), settings)]);
            assert_eq!(registries.provider(&host), Some(expected), "{host} {provider:?}");
        }
    }
}
