//! Finding the engine as Docker's own tools find it.
//!
//! The order is that of `docker` (`resolveContextName` and `ParseHost` in
//! <https://github.com/docker/cli>): `DOCKER_HOST`, `DOCKER_CONTEXT`, the `currentContext` of
//! `config.json`, the default socket. Where nobody named an engine and there is no default socket, the
//! sockets of engines without root and of Podman are looked for. An engine that was named is never
//! replaced by another one.

mod address;
mod contexts;
mod error;
mod tls;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

pub use address::{EngineAddress, InvalidAddress, SshAddress};
pub use error::EndpointError;
pub use tls::TlsFiles;

/// Where an engine is, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEndpoint {
    /// Where it is.
    pub address: EngineAddress,
    /// Who said so.
    pub source: EndpointSource,
    /// How it is spoken to over TLS; `None`: without. Only TCP is.
    pub tls: Option<TlsFiles>,
    /// A context that does not count, because `DOCKER_HOST` is set as well.
    pub overruled_context: Option<String>,
    /// Sockets that were looked for and are not there, in their order; empty if an engine was named.
    pub missing: Vec<PathBuf>,
}

/// Who says where an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointSource {
    /// The program that links this crate.
    Given,
    /// `DOCKER_HOST`.
    DockerHost,
    /// A Docker context.
    Context {
        /// Its name.
        name: String,
        /// What names it: `DOCKER_CONTEXT`, or the path of `config.json`.
        named_by: String,
    },
    /// Nobody: it is Docker's default, also for TLS.
    Default,
    /// Nobody: it is where Docker without root, or Docker's desktop programs, listen.
    WellKnown,
    /// Nobody: it is where Podman listens.
    Podman,
}

impl fmt::Display for EndpointSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given => formatter.write_str("given"),
            Self::DockerHost => formatter.write_str("from DOCKER_HOST"),
            Self::Context { name, named_by } => {
                write!(formatter, "from the context {name:?}, named by {named_by}")
            }
            Self::Default => formatter.write_str("the default"),
            Self::WellKnown => formatter.write_str("a well-known socket"),
            Self::Podman => formatter.write_str("Podman's socket"),
        }
    }
}

impl fmt::Display for EngineEndpoint {
    /// The address and who said so, for messages.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.address, self.source)?;
        if let [first, rest @ ..] = self.missing.as_slice() {
            write!(formatter, "; not there: {}", first.display())?;
            for path in rest {
                write!(formatter, ", {}", path.display())?;
            }
        }
        Ok(())
    }
}

/// What an engine is looked for with. Nothing else is read but files that these values lead to.
pub struct EngineSearch<'a> {
    /// Looks up a variable of the environment: `DOCKER_HOST`, `DOCKER_CONTEXT`, `DOCKER_CONFIG`,
    /// `DOCKER_TLS_VERIFY`, `DOCKER_TLS`, `DOCKER_CERT_PATH`, `XDG_RUNTIME_DIR`.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The home directory.
    pub home: Option<PathBuf>,
    /// The user's number, for the sockets below `/run/user` where `XDG_RUNTIME_DIR` is not set.
    pub user: Option<u32>,
    /// What `/var/run/docker.sock` and the other absolute paths are below: `/`.
    pub root: PathBuf,
}

impl EngineSearch<'_> {
    /// Finds the engine. Connects to nothing: whether one answers is another question.
    ///
    /// # Errors
    ///
    /// What names the engine cannot be read or understood, or a context is named that is not there.
    pub fn find(&self) -> Result<EngineEndpoint, EndpointError> {
        let host = self.text("DOCKER_HOST")?;
        let context = self.text("DOCKER_CONTEXT")?;
        if let Some(host) = host {
            let address = address_of("DOCKER_HOST", &host)?;
            let mut endpoint = self.default_endpoint(address, EndpointSource::DockerHost)?;
            endpoint.overruled_context = context.filter(|name| name != contexts::DEFAULT);
            return Ok(endpoint);
        }
        let (name, named_by) = match context {
            Some(name) => (Some(name), "DOCKER_CONTEXT".to_owned()),
            None => match self.docker_directory().map(|directory| directory.join("config.json")) {
                Some(file) => (contexts::current(&file)?, file.display().to_string()),
                None => (None, String::new()),
            },
        };
        match name {
            Some(name) if name != contexts::DEFAULT => self.context(name, named_by),
            _ => self.unnamed(),
        }
    }

    fn context(&self, name: String, named_by: String) -> Result<EngineEndpoint, EndpointError> {
        let store = self.docker_directory().map(|directory| directory.join("contexts"));
        let context = contexts::read(store.as_deref(), &name, &named_by)?;
        let address = address_of(&format!("the context {name:?}"), &context.host)?;
        let tls = match address {
            EngineAddress::Tcp { .. } => context.tls,
            _ => None,
        };
        let source = EndpointSource::Context { name, named_by };
        Ok(EngineEndpoint { address, source, tls, overruled_context: None, missing: Vec::new() })
    }

    /// Nobody named an engine.
    fn unnamed(&self) -> Result<EngineEndpoint, EndpointError> {
        // As `docker` does: who asks for TLS means TCP.
        if self.wants_tls() {
            let address = EngineAddress::Tcp { host: "localhost".to_owned(), port: 2376 };
            return self.default_endpoint(address, EndpointSource::Default);
        }
        let mut missing = Vec::new();
        for (path, source) in self.sockets() {
            if path.exists() {
                return self.default_endpoint(EngineAddress::Unix(path), source);
            }
            if !missing.contains(&path) {
                missing.push(path);
            }
        }
        let default = EngineAddress::Unix(missing.remove(0));
        let endpoint = self.default_endpoint(default, EndpointSource::Default)?;
        Ok(EngineEndpoint { missing, ..endpoint })
    }

    /// The sockets that are looked for where nobody named an engine; the default is the first.
    fn sockets(&self) -> Vec<(PathBuf, EndpointSource)> {
        let runtime = (self.variable)("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .or_else(|| self.user.map(|user| self.root.join("run/user").join(user.to_string())));
        let in_runtime = |name: &str| runtime.as_ref().map(|runtime| runtime.join(name));
        let in_home = |name: &str| self.home.as_ref().map(|home| home.join(name));
        let known = [
            // https://docs.docker.com/engine/security/rootless/
            in_runtime("docker.sock"),
            // https://docs.docker.com/desktop/setup/install/mac-permission-requirements/
            in_home(".docker/run/docker.sock"),
            // https://docs.docker.com/desktop/setup/install/linux/
            in_home(".docker/desktop/docker.sock"),
            // https://github.com/abiosoft/colima/blob/main/docs/FAQ.md
            in_home(".colima/default/docker.sock"),
        ];
        // https://docs.podman.io/en/latest/markdown/podman-system-service.1.html
        let podman =
            [in_runtime("podman/podman.sock"), Some(self.root.join("run/podman/podman.sock"))];
        std::iter::once((self.root.join("var/run/docker.sock"), EndpointSource::Default))
            .chain(known.into_iter().flatten().map(|path| (path, EndpointSource::WellKnown)))
            .chain(podman.into_iter().flatten().map(|path| (path, EndpointSource::Podman)))
            .collect()
    }

    /// An endpoint that no context describes: TLS is as the environment says.
    fn default_endpoint(
        &self,
        address: EngineAddress,
        source: EndpointSource,
    ) -> Result<EngineEndpoint, EndpointError> {
        let tls = match address {
            EngineAddress::Tcp { .. } if self.wants_tls() => Some(self.tls()?),
            _ => None,
        };
        Ok(EngineEndpoint { address, source, tls, overruled_context: None, missing: Vec::new() })
    }

    fn wants_tls(&self) -> bool {
        self.is_set("DOCKER_TLS_VERIFY") || self.is_set("DOCKER_TLS")
    }

    fn tls(&self) -> Result<TlsFiles, EndpointError> {
        let given = (self.variable)("DOCKER_CERT_PATH").filter(|path| !path.is_empty());
        let directory = given.map(PathBuf::from).or_else(|| self.docker_directory());
        let verify = self.is_set("DOCKER_TLS_VERIFY");
        let files = TlsFiles::in_directory(directory.as_deref(), verify)?;
        // As `docker` has it: no other authority vouches for an engine that the environment names.
        if verify && files.ca.is_none() {
            let path = directory.unwrap_or_default().join(tls::CA);
            let reason = "not found, and DOCKER_TLS_VERIFY needs it".to_owned();
            return Err(EndpointError::Unreadable { path, reason });
        }
        Ok(files)
    }

    /// Where `config.json` and the contexts are.
    fn docker_directory(&self) -> Option<PathBuf> {
        let given = (self.variable)("DOCKER_CONFIG").filter(|path| !path.is_empty());
        given
            .map(PathBuf::from)
            .or_else(|| self.home.as_deref().map(|home: &Path| home.join(".docker")))
    }

    fn is_set(&self, name: &str) -> bool {
        (self.variable)(name).is_some_and(|value| !value.is_empty())
    }

    /// A variable's text without the space around it; nothing but space says nothing.
    fn text(&self, name: &'static str) -> Result<Option<String>, EndpointError> {
        let Some(value) = (self.variable)(name) else {
            return Ok(None);
        };
        let value = value.into_string().map_err(|_| EndpointError::Invalid {
            place: name.to_owned(),
            reason: InvalidAddress::new("it is not UTF-8"),
        })?;
        Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
    }
}

fn address_of(place: &str, text: &str) -> Result<EngineAddress, EndpointError> {
    text.parse().map_err(|reason| EndpointError::Invalid { place: place.to_owned(), reason })
}
