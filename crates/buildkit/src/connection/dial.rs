//! How a connection comes about.

use std::io;
#[cfg(unix)]
use std::path::PathBuf;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes in both directions.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Opens connections to one daemon.
///
/// This crate has [`UnixDial`] and [`TcpDial`]; TLS, ssh and everything else are the embedder's, who
/// knows where keys are. What it encrypts has to be ready to use: no protocol is negotiated here.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Opens another connection. An error of the kind [`io::ErrorKind::PermissionDenied`] is told apart
    /// from others.
    async fn dial(&self) -> io::Result<Box<dyn Io>>;
}

/// Connects to a unix socket.
#[cfg(unix)]
#[derive(Clone, Debug)]
pub struct UnixDial {
    path: PathBuf,
}

#[cfg(unix)]
impl UnixDial {
    /// The socket at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

#[cfg(unix)]
#[async_trait]
impl Dial for UnixDial {
    async fn dial(&self) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(tokio::net::UnixStream::connect(&self.path).await?))
    }
}

/// Connects over TCP, without encryption.
#[derive(Clone, Debug)]
pub struct TcpDial {
    address: String,
}

impl TcpDial {
    /// `HOST:PORT`.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }
}

#[async_trait]
impl Dial for TcpDial {
    async fn dial(&self) -> io::Result<Box<dyn Io>> {
        let stream = tokio::net::TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}
