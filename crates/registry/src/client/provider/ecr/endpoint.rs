//! Where ECR's API is (*Amazon ECR endpoints and quotas*; the endpoint rules that AWS publishes with its
//! clients).

use url::Url;

use crate::client::transport::Api;
use crate::error::Error;
use crate::provider::EcrHost;
use crate::reference::RegistryHost;

/// The only region in which the API of public registries makes and changes anything.
pub(super) const PUBLIC_REGION: &str = "us-east-1";

/// Which of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Private,
    Public,
}

impl Service {
    /// The name that signatures are made for.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Private => "ecr",
            Self::Public => "ecr-public",
        }
    }

    /// What the names of actions begin with.
    pub(super) fn target(self) -> &'static str {
        match self {
            Self::Private => "AmazonEC2ContainerRegistry_V20150921",
            Self::Public => "SpencerFrontendService",
        }
    }
}

/// The API about one registry.
pub(super) struct Endpoint {
    pub(super) service: Service,
    pub(super) url: Url,
    pub(super) region: String,
    /// The account whose registry it is, if the registry's name says it.
    pub(super) account: Option<String>,
}

impl Endpoint {
    pub(super) fn of(service: Service, api: &Api, region: &str) -> Result<Self, Error> {
        let host = EcrHost::parse(api.host()).filter(|_| service == Service::Private);
        let usual = match service {
            Service::Private => usual(host.as_ref(), region),
            Service::Public => format!("https://api.ecr-public.{region}.amazonaws.com/"),
        };
        Ok(Self {
            service,
            url: api.base(&usual)?,
            region: region.to_owned(),
            account: host.map(|host| host.account.to_owned()),
        })
    }
}

/// The region that the registry's name says.
pub(super) fn region_of(service: Service, host: &RegistryHost) -> Option<&str> {
    match service {
        Service::Private => EcrHost::parse(host).map(|host| host.region),
        Service::Public => Some(PUBLIC_REGION),
    }
}

/// The API in the registry's own partition, by the same kind of network.
fn usual(host: Option<&EcrHost<'_>>, region: &str) -> String {
    let fips = if host.is_some_and(|host| host.fips) { "-fips" } else { "" };
    let domain = host.map_or_else(|| domain_of(region), |host| host.domain);
    // Networks with IPv6 have names of another form.
    match domain.strip_prefix("on.") {
        Some(domain) => format!("https://ecr{fips}.{region}.api.{domain}/"),
        None => format!("https://api.ecr{fips}.{region}.{domain}/"),
    }
}

/// The domain of the partition that a region is in.
fn domain_of(region: &str) -> &'static str {
    const DOMAINS: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("eusc-", "amazonaws.eu"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("us-isof-", "csp.hci.ic.gov"),
    ];
    let found = DOMAINS.iter().find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("amazonaws.com", |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_in_the_registrys_own_region_and_partition() {
        for (host, url) in [
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "https://api.ecr.eu-west-1.amazonaws.com/",
            ),
            (
                "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                "https://api.ecr-fips.us-gov-west-1.amazonaws.com/",
            ),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", "https://ecr.eu-west-1.api.aws/"),
            ("123456789012.dkr-ecr-fips.us-east-2.on.aws", "https://ecr-fips.us-east-2.api.aws/"),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "https://api.ecr.cn-north-1.amazonaws.com.cn/",
            ),
            (
                "123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
                "https://ecr.cn-north-1.api.amazonwebservices.com.cn/",
            ),
            (
                "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov",
                "https://api.ecr.us-iso-east-1.c2s.ic.gov/",
            ),
        ] {
            let host: RegistryHost = host.parse().unwrap();
            let parsed = EcrHost::parse(&host).unwrap();
            assert_eq!(usual(Some(&parsed), parsed.region), url);
        }
        assert_eq!(usual(None, "eu-west-1"), "https://api.ecr.eu-west-1.amazonaws.com/");
        assert_eq!(usual(None, "cn-north-1"), "https://api.ecr.cn-north-1.amazonaws.com.cn/");
        assert_eq!(usual(None, "eusc-de-east-1"), "https://api.ecr.eusc-de-east-1.amazonaws.eu/");
    }
}
