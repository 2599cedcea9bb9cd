//! From an endpoint to a client of the Engine's API: sockets and plain TCP through bollard itself, TLS
//! and ssh through connectors of ours that it is given as transport.
//!
//! bollard's own TLS wants all three files, adds the system's authorities to the one that is named,
//! reads the client's key when it is too late to say what is wrong with it, and takes a process-wide
//! provider of cryptography; its ssh opens a master connection with options of its own.

pub(in crate::backend) mod ssh;
pub(in crate::backend) mod tls;

use std::path::Path;

use bollard::errors::Error as EngineError;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::Connect;
use hyper_util::rt::TokioExecutor;

use super::REQUEST_TIMEOUT_SECONDS;
use crate::backend::endpoint::{EngineAddress, EngineEndpoint};

/// A client that has not connected yet.
pub(super) fn client(endpoint: &EngineEndpoint) -> Result<Docker, String> {
    let docker = match (&endpoint.address, &endpoint.tls) {
        (EngineAddress::Unix(path), _) => {
            let path = path.to_str().ok_or("its path is not UTF-8")?;
            Docker::connect_with_unix(path, REQUEST_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
        }
        (address @ EngineAddress::Tcp { .. }, None) => {
            let address = address.to_string();
            Docker::connect_with_http(&address, REQUEST_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
        }
        (address @ EngineAddress::Tcp { .. }, Some(files)) => {
            let url = address.to_string().replacen("tcp://", "https://", 1);
            through(tls::connector(files)?, &url)
        }
        // The name is that of `docker`; nobody looks it up.
        (EngineAddress::Ssh(address), _) => {
            through(ssh::Connector::new(address), "http://docker.example.com")
        }
    };
    docker.map_err(|error| match error {
        EngineError::SocketNotFoundError(_) => "there is no such socket".to_owned(),
        error => super::failure::describe(&error),
    })
}

/// A client over a connector.
fn through<C>(connector: C, url: &str) -> Result<Docker, EngineError>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    // As bollard has it: a connection that was kept may be gone when a build is sent over it, and what
    // was sent of a stream cannot be sent again.
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    let transport = move |request: BollardRequest| {
        let client = client.clone();
        async move { client.request(request).await.map_err(EngineError::from) }
    };
    Docker::connect_with_custom_transport(
        transport,
        Some(url),
        REQUEST_TIMEOUT_SECONDS,
        API_DEFAULT_VERSION,
    )
}

/// The file, and what is wrong with it.
fn in_file(path: &Path, reason: impl std::fmt::Display) -> String {
    format!("{}: {reason}", path.display())
}
