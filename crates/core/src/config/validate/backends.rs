//! `[backends.NAME]`: what builds, where more than this machine's engine does.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use dockit_registry::Platform;

use super::super::reader::Located;
use super::super::schema::{BackendTable, TlsTable};
use super::Validator;
use crate::backend::endpoint::{EngineAddress, TlsFiles};
use crate::backend::{BackendName, BackendPlace, BackendSettings};

/// What stands for the engine that Docker's own tools would use.
const DEFAULT: &str = "default";

impl Validator<'_> {
    /// The backends in the order of the file.
    pub(super) fn backends(
        &mut self,
        tables: BTreeMap<String, Located<BackendTable>>,
    ) -> Vec<BackendSettings> {
        let mut tables: Vec<_> = tables.into_iter().collect();
        tables.sort_by_key(|(_, table)| table.line);
        let mut backends: Vec<BackendSettings> = Vec::new();
        for (name, Located { value: table, line }) in tables {
            let Some(backend) = self.backend(name, table, line) else {
                continue;
            };
            // Its places would be counted twice.
            match backends.iter().find(|other| other.place == backend.place) {
                Some(same) => {
                    let message =
                        format!("{} is the same build backend as {}", backend.name, same.name);
                    self.problem(line, message);
                }
                None => backends.push(backend),
            }
        }
        backends
    }

    fn backend(
        &mut self,
        name: String,
        table: BackendTable,
        line: usize,
    ) -> Option<BackendSettings> {
        let name = self.parsed::<BackendName>(Located { value: name, line });
        let place = match (table.docker, table.buildkit, table.assemble) {
            (Some(docker), None, None) => self.engine(docker, table.tls),
            (None, Some(buildkit), None) => self.buildkit(buildkit, table.tls),
            (None, None, Some(assemble)) => self.assemble(&assemble, table.tls),
            _ => {
                self.problem(
                    line,
                    "a build backend has either docker or buildkit or assemble = true",
                );
                None
            }
        };
        let platforms = self.backend_platforms(table.platforms);
        Some(BackendSettings {
            name: name?,
            place: place?,
            jobs: table.jobs.and_then(|jobs| NonZeroUsize::new(jobs.get() as usize)),
            platforms: platforms?,
        })
    }

    fn assemble(
        &mut self,
        assemble: &Located<bool>,
        tls: Option<Located<TlsTable>>,
    ) -> Option<BackendPlace> {
        if !assemble.value {
            self.problem(assemble.line, "assemble is true, or not written: leave the table away");
            return None;
        }
        if let Some(tls) = tls {
            self.problem(tls.line, "tls goes with docker or buildkit: nothing is connected to");
            return None;
        }
        Some(BackendPlace::Assemble)
    }

    fn engine(
        &mut self,
        docker: Located<String>,
        tls: Option<Located<TlsTable>>,
    ) -> Option<BackendPlace> {
        if docker.value == DEFAULT {
            if let Some(tls) = tls {
                self.problem(tls.line, "tls of the default engine is what Docker's own tools take");
                return None;
            }
            return Some(BackendPlace::DefaultEngine);
        }
        let line = docker.line;
        let address = match docker.value.parse::<EngineAddress>() {
            Ok(address) => address,
            Err(error) => {
                self.problem(line, format!("docker = {:?}: {error}", docker.value));
                return None;
            }
        };
        let tls = self.tls_of(&address, tls, line)?;
        Some(BackendPlace::Engine { address, tls })
    }

    /// The files for TLS to an address that was written on this line; the outer none is a problem.
    fn tls_of(
        &mut self,
        address: &EngineAddress,
        written: Option<Located<TlsTable>>,
        line: usize,
    ) -> Option<Option<TlsFiles>> {
        let tls = self.tls(written, matches!(address, EngineAddress::Tcp { .. }))?;
        if let (EngineAddress::Tcp { host, .. }, None) = (address, &tls) {
            self.warn_of_plain_tcp(line, host);
        }
        Some(tls)
    }

    fn buildkit(
        &mut self,
        buildkit: Located<String>,
        tls: Option<Located<TlsTable>>,
    ) -> Option<BackendPlace> {
        let Located { value: written, line } = buildkit;
        // The same places as an engine's, but no path and no port goes without saying.
        let complete = match written.split_once("://").unwrap_or_default() {
            ("unix", path) => path.starts_with('/'),
            ("tcp", rest) => rest.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            }),
            ("ssh", _) => true,
            _ => false,
        };
        let address = written.parse::<EngineAddress>().ok().filter(|_| complete);
        let Some(address) = address else {
            let message = format!(
                "buildkit = {written:?}: a BuildKit is at unix://PATH, tcp://HOST:PORT or \
                 ssh://[USER@]HOST[:PORT]"
            );
            self.problem(line, message);
            return None;
        };
        let tls = self.tls_of(&address, tls, line)?;
        Some(BackendPlace::BuildKit { address, tls })
    }

    fn warn_of_plain_tcp(&mut self, line: usize, host: &str) {
        let address = host.parse::<std::net::IpAddr>();
        if host != "localhost" && !address.is_ok_and(|address| address.is_loopback()) {
            let message = format!(
                "{host} is spoken to without TLS: whoever answers there gets the build and the \
                 credentials for registries"
            );
            self.warn(line, message);
        }
    }

    /// The files for TLS; the outer none is a problem.
    fn tls(
        &mut self,
        table: Option<Located<TlsTable>>,
        over_tcp: bool,
    ) -> Option<Option<TlsFiles>> {
        let Some(Located { value: TlsTable { ca, cert, key }, line }) = table else {
            return Some(None);
        };
        if !over_tcp {
            self.problem(line, "tls goes with tcp:// alone");
            return None;
        }
        let client = match (cert, key) {
            (Some(cert), Some(key)) => {
                Some((self.path("tls.cert", cert)?, self.path("tls.key", key)?))
            }
            (None, None) => None,
            _ => {
                self.problem(line, "tls.cert and tls.key go together");
                return None;
            }
        };
        let ca = match ca {
            Some(ca) => Some(self.path("tls.ca", ca)?),
            None => None,
        };
        Some(Some(TlsFiles { ca, client, verify: true }))
    }

    fn backend_platforms(
        &mut self,
        written: Option<Located<Vec<Located<String>>>>,
    ) -> Option<BTreeSet<Platform>> {
        let Some(Located { value: written, line }) = written else {
            return Some(BTreeSet::new());
        };
        if written.is_empty() {
            self.problem(line, "platforms must not be empty: nothing could be built there");
            return None;
        }
        written.into_iter().map(|platform| self.parsed(platform)).collect()
    }
}
