//! Setting a client up.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Client;
use super::credential::{CredentialSource, NoCredentials};
use super::identity::{AwsIdentity, TokenIdentity};
use super::layouts::Layouts;
use super::provider::Identities;
use super::transport::{Http, Limits, Patient, RetryPolicy, Transport};
use crate::error::{Details, Error, ErrorKind};
use crate::provider::Registries;
use crate::reference::RegistryHost;

/// Settings of a [`Client`].
pub struct ClientBuilder {
    credentials: Arc<dyn CredentialSource>,
    identities: Identities,
    registries: Registries,
    insecure_hosts: BTreeSet<RegistryHost>,
    user_agent: String,
    retry: RetryPolicy,
    no_proxy: bool,
    connect_timeout: Duration,
    idle_timeout: Duration,
    limits: Limits,
    layouts_root: Option<PathBuf>,
}

impl ClientBuilder {
    pub(super) fn new() -> Self {
        Self {
            credentials: Arc::new(NoCredentials),
            identities: Identities::default(),
            registries: Registries::default(),
            insecure_hosts: BTreeSet::new(),
            user_agent: concat!("dockit-registry/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy::default(),
            no_proxy: false,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            limits: Limits::default(),
            layouts_root: None,
        }
    }

    /// Where credentials come from; otherwise nowhere.
    #[must_use]
    pub fn credentials(mut self, source: Arc<dyn CredentialSource>) -> Self {
        self.credentials = source;
        self
    }

    /// What is configured about single registries.
    #[must_use]
    pub fn registries(mut self, registries: Registries) -> Self {
        self.registries = registries;
        self
    }

    /// Who this machine or job is to AWS: for registries of ECR for which there are no credentials, and
    /// for ECR's API.
    #[must_use]
    pub fn aws(mut self, identity: Arc<dyn AwsIdentity>) -> Self {
        self.identities.aws = Some(identity);
        self
    }

    /// Who this machine or job is to Google: for registries of Google for which there are no credentials.
    #[must_use]
    pub fn google(mut self, identity: Arc<dyn TokenIdentity>) -> Self {
        self.identities.google = Some(identity);
        self
    }

    /// Who this machine or job is to Azure: for registries of ACR for which there are no credentials.
    #[must_use]
    pub fn azure(mut self, identity: Arc<dyn TokenIdentity>) -> Self {
        self.identities.azure = Some(identity);
        self
    }

    /// Hosts, besides those on loopback, that are spoken to over plain HTTP.
    #[must_use]
    pub fn insecure_hosts(mut self, hosts: impl IntoIterator<Item = RegistryHost>) -> Self {
        self.insecure_hosts.extend(hosts);
        self
    }

    /// The `User-Agent` header.
    #[must_use]
    pub fn user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = user_agent.into();
        self
    }

    /// How failed requests are repeated.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How much each host is asked at a time.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What directories of [layouts](RegistryHost::in_layout) are relative to, unless they are absolute;
    /// otherwise the directory in which the process works.
    #[must_use]
    pub fn layouts_relative_to(mut self, root: impl Into<PathBuf>) -> Self {
        self.layouts_root = Some(root.into());
        self
    }

    /// Whether to ignore the proxies that `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` name. Plain HTTP
    /// to loopback never goes through a proxy.
    #[must_use]
    pub fn no_proxy(mut self, no_proxy: bool) -> Self {
        self.no_proxy = no_proxy;
        self
    }

    /// How long connecting may take; 10 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a registry may stay silent in the middle of an exchange; 60 seconds by default.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// The client. It connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Tls`]: the process has no rustls `CryptoProvider` (which one is the program's
    /// choice, so no library installs one), or the system's certificates cannot be read.
    /// [`ErrorKind::Invalid`]: the user agent cannot be a header.
    pub fn build(self) -> Result<Client, Error> {
        // reqwest panics without one.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(Error::new(
                ErrorKind::Tls,
                "no TLS provider: the program has to install a rustls CryptoProvider first",
            ));
        }
        let user_agent = reqwest::header::HeaderValue::from_str(&self.user_agent)
            .map_err(|_| Error::new(ErrorKind::Invalid, "the user agent cannot be a header"))?;
        let Self { no_proxy: never_proxy, connect_timeout, idle_timeout, .. } = self;
        let client = move |no_proxy: bool, read_timeout: Option<Duration>| {
            let mut builder = reqwest::Client::builder()
                .user_agent(user_agent.clone())
                .connect_timeout(connect_timeout)
                .redirect(reqwest::redirect::Policy::none())
                .referer(false);
            if let Some(timeout) = read_timeout {
                builder = builder.read_timeout(timeout);
            }
            if no_proxy {
                builder = builder.no_proxy();
            }
            builder.build().map_err(|error| {
                let message = format!("cannot set TLS up: {}", super::transport::innermost(&error));
                let details = Details { source: Some(Box::new(error)), ..Details::default() };
                Error::with_details(ErrorKind::Tls, message, details)
            })
        };
        let both = move |read_timeout| {
            let remote = client(never_proxy, read_timeout)?;
            let loopback = if never_proxy { remote.clone() } else { client(true, read_timeout)? };
            Ok([remote, loopback])
        };
        let [remote, loopback] = both(Some(idle_timeout))?;
        let patient =
            Arc::new(Patient { make: Box::new(move || both(None)), made: OnceLock::new() });
        let http = Http { remote, loopback, patient, idle_timeout };
        let transport = Transport::new(
            http,
            self.credentials,
            self.identities,
            self.insecure_hosts,
            self.registries,
            self.retry,
            self.limits,
        );
        let layouts = Arc::new(Layouts::new(self.layouts_root));
        Ok(Client { transport: Arc::new(transport), layouts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No unit test of this crate installs a provider.
    #[test]
    fn without_a_tls_provider_there_is_an_error_that_says_so() {
        let error = Client::builder().build().unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Tls);
        assert!(error.to_string().contains("CryptoProvider"), "{error}");
    }
}
