//! Addresses of engines, as `DOCKER_HOST` and contexts spell them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The port of an engine without TLS, which `docker` takes where none is written.
const PORT: u16 = 2375;

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineAddress {
    /// `unix://PATH`
    Unix(PathBuf),
    /// `tcp://HOST:PORT`, with or without TLS.
    Tcp {
        /// A name, or an IP address; one of version 6 without its brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `ssh://[USER@]HOST[:PORT][/SOCKET]`: what `docker system dial-stdio` there leads to.
    Ssh(SshAddress),
}

/// An engine that ssh leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshAddress {
    /// The user, unless ssh's configuration says so.
    pub user: Option<String>,
    /// The host, or what ssh's configuration calls it.
    pub host: String,
    /// The port, unless ssh's configuration says so.
    pub port: Option<u16>,
    /// The engine's socket over there; `None`: as `docker` finds it there.
    pub socket: Option<String>,
}

/// Why a text is no address of an engine that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidAddress(String);

impl InvalidAddress {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl FromStr for EngineAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidAddress::new("it is empty"));
        }
        // As `docker` reads it: what has no scheme is TCP.
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if rest.is_empty() => Ok(Self::Unix("/var/run/docker.sock".into())),
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "unix" => Err(InvalidAddress::new(format!("the path {rest:?} is not absolute"))),
            "tcp" | "http" => tcp(rest),
            "ssh" => ssh(text),
            "npipe" => {
                Err(InvalidAddress::new("named pipes (npipe://) are not supported by this version"))
            }
            "fd" => Err(InvalidAddress::new("fd:// is where an engine listens, not where it is")),
            "https" => {
                Err(InvalidAddress::new("https:// is written tcp://, with DOCKER_TLS_VERIFY=1"))
            }
            _ => Err(InvalidAddress::new(format!(
                "no engine is reached by {scheme:?}: it takes unix://, tcp:// or ssh://"
            ))),
        }
    }
}

fn tcp(rest: &str) -> Result<EngineAddress, InvalidAddress> {
    let url = url::Url::parse(&format!("engine://{rest}"))
        .map_err(|error| InvalidAddress::new(format!("no host and port: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidAddress::new("an engine takes no user and password"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidAddress::new("only a host and a port can be written there"));
    }
    let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("127.0.0.1");
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(EngineAddress::Tcp { host, port: url.port().unwrap_or(PORT) })
}

/// The rules of `docker` (`cli/connhelper/ssh/ssh.go`), and none of what could be taken for an option
/// or for a command of a shell.
fn ssh(text: &str) -> Result<EngineAddress, InvalidAddress> {
    let url =
        url::Url::parse(text).map_err(|error| InvalidAddress::new(format!("no host: {error}")))?;
    // Without its text: it may hold a password.
    if url.password().is_some() {
        return Err(InvalidAddress::new("ssh takes no password here: use a key"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidAddress::new("an ssh address has neither query nor fragment"));
    }
    let plain = |text: &str, more: &str| {
        !text.starts_with('-')
            && text
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || more.contains(character))
    };
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || !plain(host, "._-:") {
        return Err(InvalidAddress::new(format!("{host:?} is no host")));
    }
    let user = url.username();
    if !plain(user, "._-@+") {
        return Err(InvalidAddress::new(format!("{user:?} is no user")));
    }
    let socket = url.path();
    if !plain(socket, "/._-") {
        return Err(InvalidAddress::new(format!("{socket:?} is no path of a socket")));
    }
    Ok(EngineAddress::Ssh(SshAddress {
        user: (!user.is_empty()).then(|| user.to_owned()),
        host: host.to_owned(),
        port: url.port(),
        socket: (!socket.trim_matches('/').is_empty()).then(|| socket.to_owned()),
    }))
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => {
                write!(formatter, "tcp://[{host}]:{port}")
            }
            Self::Tcp { host, port } => write!(formatter, "tcp://{host}:{port}"),
            Self::Ssh(SshAddress { user, host, port, socket }) => {
                formatter.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(formatter, "{user}@")?;
                }
                if host.contains(':') {
                    write!(formatter, "[{host}]")?;
                } else {
                    formatter.write_str(host)?;
                }
                if let Some(port) = port {
                    write!(formatter, ":{port}")?;
                }
                formatter.write_str(socket.as_deref().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        for (text, shown) in [
            ("unix:///run/d.sock", "unix:///run/d.sock"),
            ("unix://", "unix:///var/run/docker.sock"),
            ("tcp://10.0.0.1:2376", "tcp://10.0.0.1:2376"),
            ("tcp://engine", "tcp://engine:2375"),
            ("tcp://", "tcp://127.0.0.1:2375"),
            ("tcp://[::1]:2376/", "tcp://[::1]:2376"),
            ("engine:1234", "tcp://engine:1234"),
            ("http://engine:1234", "tcp://engine:1234"),
            (" ssh://engine ", "ssh://engine"),
            ("ssh://me@engine:2222", "ssh://me@engine:2222"),
            ("ssh://me@engine/run/d.sock", "ssh://me@engine/run/d.sock"),
            ("ssh://engine/", "ssh://engine"),
            ("ssh://[::1]:22", "ssh://[::1]:22"),
        ] {
            let address = text.parse::<EngineAddress>();
            assert_eq!(address.map(|address| address.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "it is empty"),
            (" ", "it is empty"),
            ("npipe:////./pipe/docker_engine", "named pipes"),
            ("fd://3", "listens"),
            ("https://engine:2376", "DOCKER_TLS_VERIFY"),
            ("ftp://engine", "\"ftp\""),
            ("unix://relative", "not absolute"),
            ("tcp://engine:99999", "port"),
            ("tcp://engine/path", "only a host"),
            ("tcp://me:secret@engine", "user and password"),
            ("ssh://me:secret@engine", "no password"),
            ("ssh://", "host"),
            ("ssh://-oProxyCommand=x", "no host"),
            ("ssh://-l@engine", "no user"),
            ("ssh://engine/a;b", "no path"),
            ("ssh://engine/a%20b", "no path"),
            ("ssh://engine?x", "query"),
        ] {
            let error = text.parse::<EngineAddress>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
