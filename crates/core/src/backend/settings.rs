//! Build backends as a project configures them.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use dockit_registry::Platform;

use super::endpoint::{EngineAddress, TlsFiles};

/// One `[backends.NAME]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSettings {
    /// What messages and reports call it.
    pub name: BackendName,
    /// What it is, and where.
    pub place: BackendPlace,
    /// How many images it works on at a time; `None`: as many as the run says.
    pub jobs: Option<NonZeroUsize>,
    /// The platforms that it builds for; empty: those that it names itself.
    pub platforms: BTreeSet<Platform>,
}

/// What a build backend is, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendPlace {
    /// The engine that Docker's own tools would use on this machine.
    DefaultEngine,
    /// No engine: images without `RUN` are put together by dockit itself.
    Assemble,
    /// A Docker Engine, or what speaks its API.
    Engine {
        /// Where it listens.
        address: EngineAddress,
        /// How it is spoken to over TLS; `None`: without.
        tls: Option<TlsFiles>,
    },
    /// A buildkitd, which keeps no images.
    BuildKit {
        /// Where it listens.
        address: EngineAddress,
        /// How it is spoken to over TLS; `None`: without.
        tls: Option<TlsFiles>,
    },
}

/// The name of a build backend: letters, digits, `.`, `_` and `-`, and a letter or digit first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendName(String);

impl BackendName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a text is no name of a build backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a build backend: letters, digits, \".\", \"_\" and \"-\" make one")]
pub struct InvalidBackendName(String);

impl FromStr for BackendName {
    type Err = InvalidBackendName;

    fn from_str(text: &str) -> Result<Self, InvalidBackendName> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidBackendName(text.to_owned()))
        }
    }
}
