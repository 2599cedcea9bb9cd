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
use super::endpoint::{EngineAddress, TlsFiles};
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
    /// To a buildkitd. An error is what is wrong with the endpoint; whether anybody answers is not known.
    pub(super) fn to_buildkit(
        address: &EngineAddress,
        tls: Option<&TlsFiles>,
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
                config.alpn_protocols = vec![HTTP2.to_vec()];
                let address = host_and_port(host, *port);
                Ok(Self::Tls { address, name, config: Arc::new(config) })
            }
            (EngineAddress::Ssh(address), _) => Ok(Self::Ssh(ssh::to_buildkit(address))),
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
