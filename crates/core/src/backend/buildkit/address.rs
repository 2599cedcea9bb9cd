//! Where a buildkitd is.

use std::fmt;

use crate::backend::endpoint::{EngineAddress, TlsFiles};

/// Where a buildkitd is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildKitEndpoint {
    /// Where it listens. `ssh://[USER@]HOST[:PORT][/SOCKET]` is what `buildctl dial-stdio` there leads to.
    pub address: EngineAddress,
    /// How it is spoken to over TLS; `None`: without. Only TCP is.
    pub tls: Option<TlsFiles>,
}

/// A text that is no address of a buildkitd.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidBuildKitAddress(String);

impl BuildKitEndpoint {
    /// From an address as `buildctl --addr` takes it: `unix://PATH`, `tcp://HOST:PORT` or `ssh://HOST`.
    ///
    /// # Errors
    ///
    /// It is none, or TLS is wanted where there is none.
    pub fn new(address: &str, tls: Option<TlsFiles>) -> Result<Self, InvalidBuildKitAddress> {
        let invalid = |reason: &str| InvalidBuildKitAddress(reason.to_owned());
        let (scheme, rest) = address
            .split_once("://")
            .ok_or_else(|| invalid("it begins with none of unix://, tcp://, ssh://"))?;
        match scheme {
            "unix" if rest.is_empty() => return Err(invalid("the path is missing")),
            // Which port it is nobody agrees on.
            "tcp" if rest.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) => {
                return Err(invalid("the port is missing: tcp://HOST:PORT"));
            }
            "unix" | "tcp" | "ssh" => {}
            "docker-container" | "podman-container" | "kube-pod" => {
                let reason = format!("{scheme}:// is not supported by this version");
                return Err(InvalidBuildKitAddress(reason));
            }
            _ => return Err(invalid("it begins with none of unix://, tcp://, ssh://")),
        }
        let parsed: EngineAddress =
            address.parse().map_err(|error| invalid(&format!("{error}")))?;
        if tls.is_some() && !matches!(parsed, EngineAddress::Tcp { .. }) {
            return Err(invalid("only tcp:// is spoken to over TLS"));
        }
        Ok(Self { address: parsed, tls })
    }
}

impl fmt::Display for BuildKitEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_buildctl() {
        for text in
            ["unix:///run/b.sock", "tcp://10.0.0.1:1234", "ssh://me@box", "ssh://box/run/b.sock"]
        {
            let endpoint = BuildKitEndpoint::new(text, None).unwrap();
            assert_eq!(endpoint.to_string(), text);
        }
        for (text, reason) in [
            ("unix://", "the path is missing"),
            ("unix://run/b.sock", "is not absolute"),
            ("tcp://10.0.0.1", "the port is missing"),
            ("tcp://[::1]", "the port is missing"),
            ("10.0.0.1:1234", "begins with none of"),
            ("https://10.0.0.1:1234", "begins with none of"),
            ("docker-container://buildkitd", "not supported"),
            ("ssh://me:secret@box", "ssh takes no password"),
        ] {
            let error = BuildKitEndpoint::new(text, None).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("secret"), "{text}: {error}");
        }
        let tls = Some(TlsFiles { ca: None, client: None, verify: true });
        assert!(BuildKitEndpoint::new("tcp://box:1234", tls.clone()).is_ok());
        assert!(BuildKitEndpoint::new("unix:///run/b.sock", tls).is_err());
    }
}
