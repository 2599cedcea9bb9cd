//! Hosts of registries.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::ReferenceError;
use crate::text::serde_as_text;

/// The host part of a reference, `host[:port]`, in lower case.
///
/// `index.docker.io`, an old name of Docker Hub, is read as `docker.io`, as Docker does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost(String);

impl RegistryHost {
    /// Docker Hub, the host of references that name none.
    pub fn docker_hub() -> Self {
        Self("docker.io".to_owned())
    }

    /// The text, `host[:port]`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the registry's API is: the same host, but for Docker Hub, whose API is on
    /// `registry-1.docker.io`.
    pub fn api_host(&self) -> &str {
        if self.is_docker_hub() { "registry-1.docker.io" } else { &self.0 }
    }

    /// The host without its port.
    pub fn name(&self) -> &str {
        split_port(&self.0).0
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        split_port(&self.0).1.and_then(|port| port.parse().ok())
    }

    /// Whether this is Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        self.0 == "docker.io"
    }

    /// Whether the name itself says that the host is this machine: `localhost`, 127.0.0.0/8, `[::1]`.
    pub fn is_loopback(&self) -> bool {
        let (name, _) = split_port(&self.0);
        let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        name == "localhost"
            || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || v6.is_some_and(|name| {
                name.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
            })
    }
}

/// Splits at the port's colon, which comes after the brackets of an IPv6 address.
fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}

fn valid_name(name: &str) -> bool {
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    name.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

impl FromStr for RegistryHost {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (name, port) = split_port(text);
        let valid_port = port.is_none_or(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !valid_port || !valid_name(name) {
            return Err(ReferenceError::new(
                "host",
                text,
                "must be a host name with an optional port",
            ));
        }
        let host = text.to_ascii_lowercase();
        Ok(if host == "index.docker.io" { Self::docker_hub() } else { Self(host) })
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

serde_as_text!(RegistryHost);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for (text, port) in [
            ("ghcr.io", None),
            ("registry.example.com:5000", Some(5000)),
            ("localhost:5000", Some(5000)),
            ("[::1]:5000", Some(5000)),
            ("[fe80::1]", None),
            ("10.0.0.1", None),
        ] {
            let host: RegistryHost = text.parse().unwrap();
            assert_eq!((host.as_str(), host.port()), (text, port));
        }
        for text in [
            "",
            ":5000",
            "a:",
            "a:b",
            "a:0",
            "a:65536",
            "a:+1",
            "a_b.c",
            "-a.b",
            "a..b",
            "a/b",
            "u@a.b",
            "[::1",
            "[x]",
            "::1",
            "https://a.b",
        ] {
            assert!(text.parse::<RegistryHost>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for (text, loopback) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.255.0.3", true),
            ("[::1]:5000", true),
            ("localhost.example", false),
            ("128.0.0.1", false),
            ("127.0.0.1.example", false),
            ("[::2]:5000", false),
        ] {
            assert_eq!(text.parse::<RegistryHost>().unwrap().is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn docker_hub_has_one_name_and_another_api_host() {
        for text in ["docker.io", "index.docker.io", "Docker.IO"] {
            let host: RegistryHost = text.parse().unwrap();
            assert_eq!((host.as_str(), host.api_host()), ("docker.io", "registry-1.docker.io"));
        }
        assert_eq!("ghcr.io".parse::<RegistryHost>().unwrap().api_host(), "ghcr.io");
    }
}
