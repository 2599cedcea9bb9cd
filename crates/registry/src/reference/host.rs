//! Hosts of registries.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;

use super::ReferenceError;
use crate::text::serde_as_text;

/// Where a registry is: the host part of a reference, `host[:port]`, in lower case; or a directory of
/// this machine that holds an OCI layout, `oci:DIR`.
///
/// `index.docker.io`, an old name of Docker Hub, is read as `docker.io`, as Docker does. No text of a
/// reference is read as a layout, because `oci:latest` is an image of Docker Hub: that form has
/// [`in_layout`](Self::in_layout) and [`from_written`](Self::from_written).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost {
    text: String,
    is_layout: bool,
}

/// How the text of a layout begins.
const LAYOUT: &str = "oci:";

impl RegistryHost {
    fn named(text: String) -> Self {
        Self { text, is_layout: false }
    }

    /// The OCI layout in a directory, as a registry. The path stays as it is written, a relative one
    /// relative; but where its first part is a number, which would read as a port, it begins with `./`.
    ///
    /// # Errors
    ///
    /// The path is empty, no Unicode, or holds a colon or a control character.
    pub fn in_layout(directory: impl AsRef<Path>) -> Result<Self, ReferenceError> {
        let path = directory.as_ref();
        let directory = path.to_str().unwrap_or_default();
        if directory.is_empty() || directory.contains(|c: char| c == ':' || c.is_control()) {
            return Err(ReferenceError::new(
                "directory",
                &path.to_string_lossy(),
                "cannot be that of a layout: it must be Unicode without \":\" and control characters",
            ));
        }
        let here = if is_port(first_part(directory)) { "./" } else { "" };
        Ok(Self { text: format!("{LAYOUT}{here}{directory}"), is_layout: true })
    }

    /// Reads what [`Display`](fmt::Display) wrote, also of a layout.
    ///
    /// # Errors
    ///
    /// The text is neither a host nor a layout.
    pub fn from_written(text: &str) -> Result<Self, ReferenceError> {
        match written_layout(text) {
            Some(directory) => Self::in_layout(directory),
            None => text.parse(),
        }
    }

    /// The layout's directory as it is written, if this is no host but a layout.
    pub fn layout(&self) -> Option<&Path> {
        self.is_layout.then(|| Path::new(&self.text[LAYOUT.len()..]))
    }

    /// Docker Hub, the host of references that name none.
    pub fn docker_hub() -> Self {
        Self::named("docker.io".to_owned())
    }

    /// The text, `host[:port]` or `oci:DIR`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where the registry's API is: the same host, but for Docker Hub, whose API is on
    /// `registry-1.docker.io`. A layout has none, and this is its text.
    pub fn api_host(&self) -> &str {
        if self.is_docker_hub() { "registry-1.docker.io" } else { &self.text }
    }

    /// The host without its port; of a layout, its whole text.
    pub fn name(&self) -> &str {
        if self.is_layout { &self.text } else { split_port(&self.text).0 }
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        let port = if self.is_layout { None } else { split_port(&self.text).1 };
        port.and_then(|port| port.parse().ok())
    }

    /// Whether this is Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        self.text == "docker.io"
    }

    /// Whether the name itself says that the host is this machine: `localhost`, 127.0.0.0/8, `[::1]`.
    /// A layout is no host.
    pub fn is_loopback(&self) -> bool {
        if self.is_layout {
            return false;
        }
        let (name, _) = split_port(&self.text);
        let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        name == "localhost"
            || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || v6.is_some_and(|name| {
                name.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
            })
    }
}

/// What follows `oci:` in the text of a layout. A host that is called `oci` has a port, which ends the
/// text or is followed by a slash.
pub(super) fn written_layout(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(LAYOUT)?;
    (!is_port(first_part(rest))).then_some(rest)
}

fn first_part(path: &str) -> &str {
    path.split_once('/').map_or(path, |(first, _)| first)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
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
        Ok(if host == "index.docker.io" { Self::docker_hub() } else { Self::named(host) })
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
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
    fn a_layout_is_no_host_whatever_its_directory_is_called() {
        for (directory, text) in [
            ("out", "oci:out"),
            ("/a/B c", "oci:/a/B c"),
            ("docker.io", "oci:docker.io"),
            ("localhost", "oci:localhost"),
            ("team.azurecr.io", "oci:team.azurecr.io"),
            ("5000", "oci:./5000"),
            ("5000/a", "oci:./5000/a"),
            ("./5000", "oci:./5000"),
        ] {
            let host = RegistryHost::in_layout(directory).unwrap();
            assert_eq!((host.as_str(), host.name(), host.port()), (text, text, None));
            assert_eq!(host.layout(), Some(Path::new(&text[4..])));
            assert!(!host.is_loopback() && !host.is_docker_hub());
            assert_eq!(RegistryHost::from_written(text), Ok(host.clone()));
            assert!(text.parse::<RegistryHost>().is_err(), "{text}");
        }
        for text in ["oci:5000", "localhost:5000", "docker.io"] {
            let host = RegistryHost::from_written(text).unwrap();
            assert_eq!((host.layout(), &host), (None, &text.parse().unwrap()));
        }
        for directory in ["", "a:b", "a\nb"] {
            assert!(RegistryHost::in_layout(directory).is_err(), "{directory:?}");
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
