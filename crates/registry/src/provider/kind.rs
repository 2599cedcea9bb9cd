//! The vendors, by the names of their hosts.

use std::fmt;
use std::str::FromStr;

use crate::capabilities::{Capabilities, ManifestDeletion, TagDeletion};
use crate::reference::RegistryHost;

/// A vendor's registry service, or a program that teams run as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProviderKind {
    /// Google Artifact Registry, also behind the host names of Container Registry.
    Google,
    /// Amazon ECR, private registries.
    Ecr,
    /// Amazon ECR Public.
    EcrPublic,
    /// Azure Container Registry.
    Acr,
    /// GitLab's container registry, on gitlab.com or elsewhere.
    Gitlab,
    /// Docker Hub.
    DockerHub,
    /// GitHub's container registry.
    Ghcr,
    /// Quay, on quay.io or elsewhere.
    Quay,
    /// Harbor.
    Harbor,
    /// Any other that follows the distribution spec.
    Generic,
    /// A directory that holds an OCI layout. No host is one.
    Layout,
}

/// Every provider with its name in `dockit.toml`.
const NAMES: [(ProviderKind, &str); 10] = [
    (ProviderKind::Google, "google"),
    (ProviderKind::Ecr, "ecr"),
    (ProviderKind::EcrPublic, "ecr-public"),
    (ProviderKind::Acr, "acr"),
    (ProviderKind::Gitlab, "gitlab"),
    (ProviderKind::DockerHub, "docker-hub"),
    (ProviderKind::Ghcr, "ghcr"),
    (ProviderKind::Quay, "quay"),
    (ProviderKind::Harbor, "harbor"),
    (ProviderKind::Generic, "generic"),
];

impl ProviderKind {
    /// All that a host can be.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(kind, _)| kind)
    }

    /// The name in configuration files.
    pub fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(kind, _)| *kind == self);
        found.map_or("layout", |(_, name)| name)
    }

    /// Whose registry this is, if the name of the host tells. Programs that teams run themselves tell
    /// only when they are asked.
    pub fn of_host(host: &RegistryHost) -> Option<Self> {
        if host.layout().is_some() {
            return Some(Self::Layout);
        }
        if host.is_docker_hub() {
            return Some(Self::DockerHub);
        }
        let name = host.name();
        let ends = |suffixes: &[&str]| suffixes.iter().any(|suffix| name.ends_with(suffix));
        match name {
            "public.ecr.aws" => Some(Self::EcrPublic),
            "ghcr.io" => Some(Self::Ghcr),
            "quay.io" => Some(Self::Quay),
            "registry.gitlab.com" => Some(Self::Gitlab),
            "gcr.io" => Some(Self::Google),
            // The same that Google's own client library goes by.
            _ if ends(&[".gcr.io", ".pkg.dev", ".google.com"]) => Some(Self::Google),
            _ if ends(&[".azurecr.io", ".azurecr.cn", ".azurecr.us"]) => Some(Self::Acr),
            _ if EcrHost::parse(host).is_some() => Some(Self::Ecr),
            _ => None,
        }
    }

    /// What this provider's registries can do, as its documentation says.
    pub fn capabilities(self) -> Capabilities {
        let generic = Capabilities::generic();
        let removes_tags = ManifestDeletion::RemovesTags;
        match self {
            Self::Google => Capabilities {
                delete_tag: TagDeletion::Native,
                delete_manifest: ManifestDeletion::RefusedWhileTagged,
                push_times: true,
                chunked_uploads: false,
                creates_repositories: false,
                tags_page: 10_000,
                ..generic
            },
            Self::Ecr => Capabilities {
                delete_tag: TagDeletion::RemovesLast,
                delete_manifest: removes_tags,
                delete_batch: 100,
                push_times: true,
                pull_times: true,
                creates_repositories: false,
                tags_page: 1000,
                ..generic
            },
            Self::EcrPublic => Capabilities {
                delete_tag: TagDeletion::RemovesLast,
                delete_manifest: removes_tags,
                delete_batch: 100,
                push_times: true,
                creates_repositories: false,
                tags_page: 1000,
                ..generic
            },
            Self::Acr => Capabilities {
                delete_tag: TagDeletion::Native,
                delete_manifest: removes_tags,
                push_times: true,
                ..generic
            },
            Self::Gitlab => Capabilities {
                delete_tag: TagDeletion::Native,
                delete_manifest: removes_tags,
                // Of registries with the metadata database.
                push_times: true,
                ..generic
            },
            Self::DockerHub => Capabilities {
                delete_tag: TagDeletion::Native,
                delete_manifest: ManifestDeletion::Unsupported,
                push_times: true,
                pull_times: true,
                ..generic
            },
            Self::Ghcr => Capabilities {
                delete_tag: TagDeletion::Unsupported,
                delete_manifest: removes_tags,
                // To whoever has a token that may read packages.
                push_times: true,
                ..generic
            },
            Self::Quay => Capabilities {
                delete_tag: TagDeletion::Native,
                delete_manifest: removes_tags,
                // To whoever has a token of an OAuth application.
                push_times: true,
                ..generic
            },
            Self::Harbor => Capabilities {
                delete_tag: TagDeletion::Native,
                delete_manifest: removes_tags,
                push_times: true,
                pull_times: true,
                ..generic
            },
            Self::Generic => generic,
            Self::Layout => Capabilities {
                delete_tag: TagDeletion::Native,
                delete_manifest: removes_tags,
                delete_batch: usize::MAX,
                push_times: true,
                ..generic
            },
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A name that is none of a provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no provider is called {0:?}")]
pub struct UnknownProvider(String);

impl FromStr for ProviderKind {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, UnknownProvider> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(kind, _)| *kind).ok_or_else(|| UnknownProvider(text.to_owned()))
    }
}

/// What the host of a private ECR registry says: `ACCOUNT.dkr.ecr.REGION.amazonaws.com`, and the forms
/// of dual-stack, FIPS and other partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EcrHost<'a> {
    pub(crate) account: &'a str,
    pub(crate) region: &'a str,
    pub(crate) fips: bool,
    /// The domain behind the region.
    pub(crate) domain: &'a str,
}

/// Domains under which AWS runs ECR, of all partitions.
const ECR_DOMAINS: [&str; 10] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "on.aws",
    "on.amazonwebservices.com.cn",
    "on.amazonwebservices.eu",
    "c2s.ic.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
    "sc2s.sgov.gov",
];

impl<'a> EcrHost<'a> {
    pub(crate) fn parse(host: &'a RegistryHost) -> Option<Self> {
        let (account, rest) = host.as_str().split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let rest = rest.strip_prefix("dkr.ecr").or_else(|| rest.strip_prefix("dkr-ecr"))?;
        let (fips, rest) = match rest.strip_prefix("-fips.") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix('.')?),
        };
        let (region, domain) = rest.split_once('.')?;
        let known = ECR_DOMAINS.contains(&domain) && !region.is_empty();
        known.then_some(Self { account, region, fips, domain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_known_by_their_hosts() {
        use ProviderKind::{Acr, DockerHub, Ecr, EcrPublic, Ghcr, Gitlab, Google, Quay};
        for (host, kind) in [
            ("docker.io", Some(DockerHub)),
            ("index.docker.io", Some(DockerHub)),
            ("gcr.io", Some(Google)),
            ("eu.gcr.io", Some(Google)),
            ("europe-west1-docker.pkg.dev", Some(Google)),
            ("marketplace.google.com", Some(Google)),
            ("agcr.io", None),
            ("gcr.io.example.com", None),
            ("team.azurecr.io", Some(Acr)),
            ("azurecr.io", None),
            ("team.azurecr.cn:443", Some(Acr)),
            ("public.ecr.aws", Some(EcrPublic)),
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Some(Ecr)),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", Some(Ecr)),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", Some(Ecr)),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Some(Ecr)),
            ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", Some(Ecr)),
            ("12345678901.dkr.ecr.eu-west-1.amazonaws.com", None),
            ("123456789012.dkr.ecr.eu-west-1.example.com", None),
            ("123456789012.dkr.ecrx.eu-west-1.amazonaws.com", None),
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.com", None),
            ("ghcr.io", Some(Ghcr)),
            ("quay.io", Some(Quay)),
            ("registry.gitlab.com", Some(Gitlab)),
            ("registry.example.com", None),
            ("localhost:5000", None),
        ] {
            assert_eq!(ProviderKind::of_host(&host.parse().unwrap()), kind, "{host}");
        }
    }

    #[test]
    fn a_layout_is_nobodys_registry() {
        for directory in ["docker.io", "x.azurecr.io", "a/ghcr.io", "out"] {
            let host = RegistryHost::in_layout(directory).unwrap();
            assert_eq!(ProviderKind::of_host(&host), Some(ProviderKind::Layout));
        }
        assert!("layout".parse::<ProviderKind>().is_err(), "nothing to configure");
    }

    #[test]
    fn the_host_of_ecr_says_account_and_region() {
        let host = "123456789012.dkr.ecr-fips.us-east-2.amazonaws.com".parse().unwrap();
        let (account, region, domain) = ("123456789012", "us-east-2", "amazonaws.com");
        let expected = EcrHost { account, region, fips: true, domain };
        assert_eq!(EcrHost::parse(&host), Some(expected));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in ProviderKind::all() {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!("gcr".parse::<ProviderKind>(), Err(UnknownProvider("gcr".to_owned())));
    }
}
