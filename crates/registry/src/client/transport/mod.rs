//! One request to a registry: where it goes, who is asking, how often it is repeated, and what the
//! reply means. Each step has its file.

mod authority;
mod call;
mod challenge;
mod classify;
mod endpoint;
mod flight;
mod redirect;
mod reply;
mod retry;
mod scope;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::StatusCode;
use tokio::sync::Semaphore;

pub(super) use call::Call;
pub(super) use reply::{Reason, Reply, innermost};
pub use retry::RetryPolicy;

use super::credential::{Credential, CredentialSource};
use crate::error::Error;
use crate::reference::RegistryHost;
use authority::Authority;
use challenge::Challenge;

/// How many requests to one host run at a time.
const REQUESTS_PER_HOST: usize = 16;

/// Connections, and what is known about each host.
pub(super) struct Transport {
    http: Http,
    credentials: Arc<dyn CredentialSource>,
    insecure_hosts: BTreeSet<RegistryHost>,
    retry: RetryPolicy,
    hosts: Mutex<BTreeMap<RegistryHost, Arc<Host>>>,
}

/// Two connection pools: plain HTTP to loopback must not go through a proxy.
#[derive(Clone)]
pub(super) struct Http {
    remote: reqwest::Client,
    loopback: reqwest::Client,
}

impl Http {
    fn client(&self, url: &url::Url) -> &reqwest::Client {
        if url.scheme() == "http" && endpoint::is_loopback(url) {
            &self.loopback
        } else {
            &self.remote
        }
    }
}

struct Host {
    authority: Authority,
    requests: Arc<Semaphore>,
}

/// Whether a reply shows that the registry took what was offered. One that is overloaded has not
/// looked at it.
fn proves_acceptance(reply: &Reply) -> bool {
    reply.left_registry() || reply.status().is_success() || reply.status() == StatusCode::NOT_FOUND
}

impl Transport {
    pub(super) fn new(
        remote: reqwest::Client,
        loopback: reqwest::Client,
        credentials: Arc<dyn CredentialSource>,
        insecure_hosts: BTreeSet<RegistryHost>,
        retry: RetryPolicy,
    ) -> Self {
        let http = Http { remote, loopback };
        Self { http, credentials, insecure_hosts, retry, hosts: Mutex::default() }
    }

    /// Repeats what failed in a way that may pass, as the policy says.
    pub(super) async fn retrying<T, F>(&self, operation: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.retry.run(operation).await
    }

    /// The credential for this host, read at most once until it is rejected.
    pub(super) async fn credential(&self, host: &RegistryHost) -> Result<Credential, Error> {
        self.host(host).authority.credential().await
    }

    /// Sends the request once, and once more with what a 401 asks for. The reply may have any status.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Reply, Error> {
        let host = self.host(call.host());
        let permit = Arc::clone(&host.requests)
            .acquire_owned()
            .await
            .expect("the semaphore lives as long as the host and is never closed");
        let (url, own) = endpoint::urls(call, endpoint::scheme(call.host(), &self.insecure_hosts))?;
        let offered = host.authority.authorization(call.scopes()).await?;
        let reply =
            redirect::follow(&self.http, call, url.clone(), &own, offered.as_ref(), permit).await?;
        if reply.status() != StatusCode::UNAUTHORIZED || reply.left_registry() {
            if let Some(offered) = &offered
                && proves_acceptance(&reply)
            {
                host.authority.accepted(offered);
            }
            return Ok(reply);
        }
        let challenges = Challenge::all(reply.headers());
        let reason = reply.reason();
        let (refusal, permit) = reply.into_refusal().await;
        let answer = host
            .authority
            .answer(&challenges, call.scopes(), offered.as_ref(), refusal, &reason)
            .await?;
        let mut reply =
            redirect::follow(&self.http, call, url, &own, Some(&answer), permit).await?;
        if reply.status() == StatusCode::UNAUTHORIZED && !reply.left_registry() {
            reply.set_anonymous(answer.is_anonymous());
            let error = reply.into_error().await;
            host.authority.rejected(&answer, &error);
            return Err(error);
        }
        if proves_acceptance(&reply) {
            host.authority.accepted(&answer);
        }
        Ok(reply)
    }

    fn host(&self, host: &RegistryHost) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hosts.entry(host.clone()).or_insert_with(|| {
            let plain = endpoint::scheme(host, &self.insecure_hosts) == "http";
            let credentials = Arc::clone(&self.credentials);
            Arc::new(Host {
                authority: Authority::new(host.clone(), plain, self.http.clone(), credentials),
                requests: Arc::new(Semaphore::new(REQUESTS_PER_HOST)),
            })
        });
        Arc::clone(known)
    }
}
