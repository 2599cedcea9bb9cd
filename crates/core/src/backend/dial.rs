//! Connections for BuildKit's client: sockets and plain TCP as that client has them, TLS and ssh as every
//! engine here is reached.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use dockit_buildkit::{Dial, Io, TcpDial, UnixDial};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::docker::connection::{ssh, tls};
use super::endpoint::{EngineAddress, SshAddress, TlsFiles};
use crate::process::Process;

/// What TLS agrees on for gRPC.
const HTTP2: &[u8] = b"h2";

/// How a daemon is connected to.
pub(super) enum EngineDial {
    Unix(UnixDial),
    Tcp(TcpDial),
    Tls { address: String, name: ServerName<'static>, config: Arc<ClientConfig> },
    Ssh(Process),
}

impl EngineDial {
    /// To an engine, which speaks HTTP/1.1. An error is what is wrong with the endpoint.
    pub(super) fn to_engine(
        address: &EngineAddress,
        tls: Option<&TlsFiles>,
    ) -> Result<Self, String> {
        Self::to(address, tls, None, ssh::to_engine)
    }

    /// To a buildkitd. An error is what is wrong with the endpoint; whether anybody answers is not known.
    pub(super) fn to_buildkit(
        address: &EngineAddress,
        tls: Option<&TlsFiles>,
    ) -> Result<Self, String> {
        Self::to(address, tls, Some(HTTP2), ssh::to_buildkit)
    }

    fn to(
        address: &EngineAddress,
        tls: Option<&TlsFiles>,
        protocol: Option<&[u8]>,
        over_ssh: impl Fn(&SshAddress) -> Process,
    ) -> Result<Self, String> {
        match (address, tls) {
            (EngineAddress::Unix(path), _) => Ok(Self::Unix(UnixDial::new(PathBuf::clone(path)))),
            (EngineAddress::Tcp { host, port }, None) => {
                Ok(Self::Tcp(TcpDial::new(host_and_port(host, *port))))
            }
            (EngineAddress::Tcp { host, port }, Some(files)) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| format!("{host:?} cannot be in a certificate"))?;
                let mut config = tls::config(files)?;
                config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
                let address = host_and_port(host, *port);
                Ok(Self::Tls { address, name, config: Arc::new(config) })
            }
            (EngineAddress::Ssh(address), _) => Ok(Self::Ssh(over_ssh(address))),
        }
    }
}

fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[async_trait]
impl Dial for EngineDial {
    async fn dial(&self) -> io::Result<Box<dyn Io>> {
        match self {
            Self::Unix(dial) => dial.dial().await,
            Self::Tcp(dial) => dial.dial().await,
            Self::Tls { address, name, config } => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let connector = TlsConnector::from(Arc::clone(config));
                Ok(Box::new(connector.connect(name.clone(), stream).await?))
            }
            Self::Ssh(process) => Ok(Box::new(process.open().map_err(io::Error::other)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_are_in_brackets() {
        assert_eq!(host_and_port("::1", 1234), "[::1]:1234");
        assert_eq!(host_and_port("box", 1234), "box:1234");
    }
}
