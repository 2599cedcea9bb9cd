//! Files with what TLS to an engine takes.

use std::io;
use std::path::{Path, PathBuf};

use super::EndpointError;

pub(super) const CA: &str = "ca.pem";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

/// What TLS to an engine takes. The files are read when a connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that vouch for the engine, in PEM; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// The client's certificates and its private key, in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
    /// Whether the engine's certificate has to fit.
    pub verify: bool,
}

impl TlsFiles {
    /// The files that are there of `ca.pem`, `cert.pem` and `key.pem`.
    pub(super) fn in_directory(
        directory: Option<&Path>,
        verify: bool,
    ) -> Result<Self, EndpointError> {
        let there = |name: &str| match directory.map(|directory| directory.join(name)) {
            Some(path) => there(path),
            None => Ok(None),
        };
        let client = match (there(CERTIFICATE)?, there(KEY)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(path), None) | (None, Some(path)) => {
                let reason = format!("{CERTIFICATE} and {KEY} go together, and only one is there");
                return Err(EndpointError::Unreadable { path, reason });
            }
        };
        Ok(Self { ca: there(CA)?, client, verify })
    }

    /// Whether no file is there.
    pub(super) fn is_empty(&self) -> bool {
        self.ca.is_none() && self.client.is_none()
    }
}

/// The path, if something is there. A directory that cannot be looked into may hold what makes the
/// difference between TLS and none, so only the system's "no such file" counts as one. A link that leads
/// nowhere is there, and an error when it is read.
fn there(path: PathBuf) -> Result<Option<PathBuf>, EndpointError> {
    match std::fs::symlink_metadata(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EndpointError::Unreadable { path, reason: error.to_string() }),
    }
}
