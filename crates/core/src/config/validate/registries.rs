//! `[registries."HOST"]`: what is said about one registry.

use std::collections::BTreeMap;

use dockit_registry::{ProviderKind, Registries, RegistryHost, RegistrySettings};

use super::super::problem::nearest;
use super::super::reader::Located;
use super::super::schema::RegistryTable;
use super::Validator;

impl Validator<'_> {
    pub(super) fn registries(
        &mut self,
        tables: BTreeMap<String, Located<RegistryTable>>,
    ) -> Registries {
        let mut registries = Vec::new();
        for (host, Located { value: table, line }) in tables {
            let Some(host) = self.parsed::<RegistryHost>(Located { value: host, line }) else {
                continue;
            };
            let api_url = table.api_url.and_then(|url| self.api_url(&host, url));
            let has_api = api_url.is_some();
            let provider =
                table.provider.and_then(|provider| self.provider(&host, &provider, has_api));
            let number =
                |number: Option<std::num::NonZeroU32>| number.map(|number| number.get() as usize);
            let settings = RegistrySettings {
                provider,
                api_url,
                create_repositories: table.create_repositories.unwrap_or(false),
                questions: number(table.questions),
                downloads: number(table.downloads),
                uploads: number(table.uploads),
                requests_per_second: table.requests_per_second,
                ..RegistrySettings::default()
            };
            registries.push((host, settings));
        }
        registries.into_iter().collect()
    }

    /// Vendors are reached over TLS, and credentials for them open more than a registry.
    pub(super) fn insecure_registry(&mut self, host: Located<String>) -> Option<RegistryHost> {
        let line = host.line;
        let host = self.parsed::<RegistryHost>(host)?;
        if let Some(provider) = ProviderKind::of_host(&host) {
            let message = format!("{host} is a registry of {provider}, which speaks TLS");
            self.problem(line, message);
            return None;
        }
        Some(host)
    }

    fn provider(
        &mut self,
        host: &RegistryHost,
        provider: &Located<String>,
        has_api: bool,
    ) -> Option<ProviderKind> {
        let Ok(kind) = provider.value.parse() else {
            let known: Vec<&str> = ProviderKind::all().map(ProviderKind::name).collect();
            let message =
                format!("provider must be one of {}, not {:?}", known.join(", "), provider.value);
            self.suggest(provider.line, message, nearest(&provider.value, known));
            return None;
        };
        match ProviderKind::of_host(host) {
            Some(by_name) if by_name != kind => {
                self.problem(provider.line, format!("{host} is a registry of {by_name}"));
                None
            }
            None if is_elsewhere(kind) && !has_api && !host.is_loopback() => {
                let message = format!(
                    "{host} is no host of {kind}, whose API would get the credentials for it"
                );
                self.problem(provider.line, message);
                None
            }
            _ => Some(kind),
        }
    }

    /// The API is asked with the registry's credentials, so it has to be of the same owner: on the
    /// registry's own host, or below the domain that the registry is below.
    fn api_url(&mut self, host: &RegistryHost, url: Located<String>) -> Option<String> {
        let Located { value, line } = url;
        let Some((scheme, rest)) = value.split_once("://") else {
            self.problem(line, "api-url must be a URL: https://HOST");
            return None;
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let Ok(api) = authority.parse::<RegistryHost>() else {
            self.problem(line, format!("api-url: {authority:?} is no host"));
            return None;
        };
        let of_loopback = host.is_loopback() && api.is_loopback();
        if scheme != "https" && !(scheme == "http" && of_loopback) {
            self.problem(line, "api-url must begin with https://");
            return None;
        }
        if !of_loopback && !is_beside(host, &api) {
            let message = format!(
                "api-url: {api} would get the credentials for {host}, so it has to be below the same \
                 domain"
            );
            self.problem(line, message);
            return None;
        }
        Some(value)
    }
}

/// Whether a vendor's API is on a host of the vendor's own, and not on that of the registry.
fn is_elsewhere(kind: ProviderKind) -> bool {
    use ProviderKind::{DockerHub, Ecr, EcrPublic, Ghcr, Google};
    matches!(kind, DockerHub | Ecr | EcrPublic | Ghcr | Google)
}

/// Whether an API is on a registry's own host, or that is below the API's, or both are below one domain
/// that belongs to one owner (Mozilla's list of public suffixes, with those of companies).
fn is_beside(host: &RegistryHost, api: &RegistryHost) -> bool {
    let is_address = |host: &RegistryHost| {
        host.name().starts_with('[') || host.name().parse::<std::net::Ipv4Addr>().is_ok()
    };
    if host.name() == api.name() {
        return true;
    }
    // What many share says nothing of who owns it.
    if is_address(host) || is_address(api) || ProviderKind::of_host(host).is_some() {
        return false;
    }
    let owned = |host: &RegistryHost| psl::domain_str(host.name()).map(ToOwned::to_owned);
    owned(host).is_some_and(|domain| owned(api) == Some(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_below_the_domain_of_its_registry() {
        for (host, api, beside) in [
            ("registry.example.com", "gitlab.example.com", true),
            ("registry.example.com", "registry.example.com", true),
            ("git.example.com:5050", "git.example.com", true),
            ("registry.ci.example.com", "git.ci.example.com", true),
            ("registry.ci.example.com", "git.example.com", true),
            ("containers.git.example.com", "git.example.com", true),
            ("registry.co.uk", "evil.co.uk", false),
            ("reg.fly.dev", "evil.fly.dev", false),
            ("reg-x.a.run.app", "evil-y.a.run.app", false),
            ("registry.internal", "git.internal", false),
            ("registry.team.internal", "git.team.internal", true),
            ("registry.example.com", "example.org", false),
            ("registry.example.com", "evilexample.com", false),
            ("registry.example.com", "example.com.evil.org", false),
            ("example.com", "other.com", false),
            ("10.0.0.1:5000", "10.0.0.1", true),
            ("10.0.0.1", "9.0.0.1", false),
            ("registry", "registry:8443", true),
            ("registry", "other", false),
            ("team.azurecr.io", "other.azurecr.io", false),
            ("europe-docker.pkg.dev", "evil.pkg.dev", false),
            ("ghcr.io", "api.github.com", false),
        ] {
            let (host, api) = (host.parse().unwrap(), api.parse().unwrap());
            assert_eq!(is_beside(&host, &api), beside, "{host} {api}");
        }
    }
}
