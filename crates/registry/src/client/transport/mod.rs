//! One request to a registry: where it goes, who is asking, how often it is repeated, and what the
//! reply means. Each step has its file.

mod api;
mod authority;
mod call;
mod challenge;
mod classify;
mod endpoint;
mod error_body;
mod flight;
mod jwt;
mod limits;
mod progress;
mod redirect;
mod reply;
mod retry;
mod scope;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::Url;

pub(super) use api::{Api, ApiCall};
pub(super) use call::{Call, StreamBody};
pub(super) use jwt::Claims;
pub use limits::Limits;
pub(super) use limits::Permit;
pub(super) use reply::{Reason, Reply, ReplyBody, innermost, one_line};
pub use retry::RetryPolicy;

use super::credential::{Credential, CredentialSource};
use super::provider::{self, Identities, Provider};
use crate::error::{Error, ErrorKind};
use crate::provider::{ProviderKind, Registries};
use crate::reference::RegistryHost;
use authority::{Authority, Authorization};
use challenge::Challenge;
use limits::HostLimits;
use token::TokenServer;

/// Connections, and what is known about each host.
pub(super) struct Transport {
    http: Http,
    credentials: Arc<dyn CredentialSource>,
    identities: Identities,
    insecure_hosts: BTreeSet<RegistryHost>,
    registries: Registries,
    retry: RetryPolicy,
    limits: Limits,
    hosts: Mutex<BTreeMap<RegistryHost, Arc<Host>>>,
}

/// Connection pools. Plain HTTP to loopback must not go through a proxy; and a pool whose replies have to
/// come in time cannot send what takes longer than that.
#[derive(Clone)]
pub(super) struct Http {
    pub(super) remote: reqwest::Client,
    pub(super) loopback: reqwest::Client,
    /// Made when the first large body is sent.
    pub(super) patient: Arc<Patient>,
    /// How long the other side may stay silent.
    pub(super) idle_timeout: Duration,
}

/// Pools without a limit on how long a reply may take, for remote hosts and for loopback.
pub(super) struct Patient {
    pub(super) make: Box<dyn Fn() -> Result<[reqwest::Client; 2], Error> + Send + Sync>,
    pub(super) made: OnceLock<Result<[reqwest::Client; 2], Error>>,
}

impl Http {
    fn patient_client(&self, url: &Url) -> Result<reqwest::Client, Error> {
        let [remote, loopback] = self
            .patient
            .made
            .get_or_init(|| (self.patient.make)())
            .as_ref()
            .map_err(Error::clone)?;
        let of_loopback = url.scheme() == "http" && endpoint::is_loopback(url);
        Ok(if of_loopback { loopback.clone() } else { remote.clone() })
    }

    fn client(&self, url: &Url) -> &reqwest::Client {
        if url.scheme() == "http" && endpoint::is_loopback(url) {
            &self.loopback
        } else {
            &self.remote
        }
    }
}

struct Host {
    authority: Authority,
    limits: Arc<HostLimits>,
    api: Api,
    /// Whose registry it is, as far as its name or the configuration tells.
    known: Option<Arc<dyn Provider>>,
    greeting: OnceCell<Greeting>,
}

/// What a registry answers to who has not said who they are.
pub(super) struct Greeting {
    challenges: Vec<Challenge>,
    /// Whose registry it looks like.
    provider: Arc<dyn Provider>,
}

impl Greeting {
    /// What names the token server, if there is one.
    fn bearer(&self) -> Option<&Challenge> {
        self.challenges.iter().find(|challenge| challenge.is("bearer"))
    }
}

/// Whose registry answers so.
fn looks_like(challenges: &[Challenge], headers: &HeaderMap) -> ProviderKind {
    let bearer = challenges.iter().find(|challenge| challenge.is("bearer"));
    let part = |name| bearer.and_then(|challenge| challenge.get(name));
    provider::detect(part("realm"), part("service"), headers)
}

/// Whether a reply shows that the registry took what was offered. One that is overloaded has not
/// looked at it.
fn proves_acceptance(reply: &Reply) -> bool {
    reply.left_registry() || reply.status().is_success() || reply.status() == StatusCode::NOT_FOUND
}

/// Whether a refusal may be about a password or a token that has expired, although it is no 401: ECR says
/// so with 403, and its public registries with 400.
fn may_tell_of_expiry(host: &Host, reply: &Reply) -> bool {
    let kind = host.known.as_ref().map(|provider| provider.kind());
    matches!(kind, Some(ProviderKind::Ecr | ProviderKind::EcrPublic))
        && !reply.left_registry()
        && matches!(reply.status(), StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST)
}

impl Transport {
    pub(super) fn new(
        http: Http,
        credentials: Arc<dyn CredentialSource>,
        identities: Identities,
        insecure_hosts: BTreeSet<RegistryHost>,
        registries: Registries,
        retry: RetryPolicy,
        limits: Limits,
    ) -> Self {
        let hosts = Mutex::default();
        Self { http, credentials, identities, insecure_hosts, registries, retry, limits, hosts }
    }

    /// Repeats what failed in a way that may pass, as the policy says.
    pub(super) async fn retrying<T, F>(&self, operation: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.retry.run(operation).await
    }

    /// Waits before what has failed for the `tried`th time is tried again. `None`: it should not be.
    pub(super) async fn pause(&self, error: &Error, tried: u32, since: Instant) -> Option<()> {
        self.retry.pause(error, tried, since).await
    }

    /// Waits for the right to upload a blob to this host.
    pub(super) async fn admit_upload(&self, host: &RegistryHost) -> Permit {
        self.host(host).limits.admit_upload().await
    }

    /// What is asked of the vendor's own API about this registry.
    pub(super) fn api(&self, host: &RegistryHost) -> Api {
        self.host(host).api.clone()
    }

    /// Whose registry this is, without asking it.
    pub(super) fn known_provider(&self, host: &RegistryHost) -> Option<ProviderKind> {
        self.registries.provider(host)
    }

    /// The same, with what it does.
    pub(super) fn known(&self, host: &RegistryHost) -> Option<Arc<dyn Provider>> {
        self.host(host).known.clone()
    }

    /// Whose registry this is. One whose name does not tell is asked, once.
    pub(super) async fn provider(&self, host: &RegistryHost) -> Result<Arc<dyn Provider>, Error> {
        let host = self.host(host);
        match &host.known {
            Some(provider) => Ok(Arc::clone(provider)),
            None => Ok(Arc::clone(&self.greeting_of(&host).await?.provider)),
        }
    }

    /// The address of the token server that the registry names, if it names one. It is one that a
    /// credential may be sent to.
    pub(super) async fn realm(&self, host: &RegistryHost) -> Result<Option<Url>, Error> {
        let known = self.host(host);
        let Some(challenge) = self.greeting_of(&known).await?.bearer() else { return Ok(None) };
        let plain = known.api.plain_http.then_some(host);
        let server = TokenServer::of(challenge, plain)
            .map_err(|message| Error::new(ErrorKind::Invalid, format!("{host}: {message}")))?;
        Ok(Some(server.realm().clone()))
    }

    /// Whether the registry wants to know who is asking.
    pub(super) async fn asks_who(&self, host: &RegistryHost) -> Result<bool, Error> {
        let host = self.host(host);
        Ok(!self.greeting_of(&host).await?.challenges.is_empty())
    }

    async fn greeting_of<'h>(&self, host: &'h Host) -> Result<&'h Greeting, Error> {
        let ask = async || {
            let reply = host.api.send(&ApiCall::get(host.api.of_registry("/v2/")?)).await?;
            let challenges = Challenge::all(reply.headers());
            if !reply.status().is_success() && challenges.is_empty() {
                let error = reply.into_error().await;
                // A registry that answers so is an odd one, but that is all it says.
                if error.is_retryable() {
                    return Err(error);
                }
                let provider = provider::of_kind(ProviderKind::Generic, &Identities::default());
                return Ok(Greeting { challenges, provider });
            }
            let kind = looks_like(&challenges, reply.headers());
            let provider = provider::of_kind(kind, &Identities::default());
            Ok(Greeting { challenges, provider })
        };
        host.greeting.get_or_try_init(|| self.retrying(ask)).await
    }

    /// The credential for this host, read at most once until it expires or is rejected.
    pub(super) async fn credential(&self, host: &RegistryHost) -> Result<Credential, Error> {
        self.host(host).authority.credential().await
    }

    /// The credential for this host, read anew if it is still this one; nothing if it is the same again.
    pub(super) async fn renewed_credential(
        &self,
        host: &RegistryHost,
        refused: &Credential,
    ) -> Result<Option<Credential>, Error> {
        self.host(host).authority.renewed_credential(refused).await
    }

    /// Sends the request once, and once more with what a 401 asks for. The reply may have any status.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Reply, Error> {
        let host = self.host(call.host());
        let reply = self.exchange(&host, call).await?;
        if matches!(reply.status().as_u16(), 429 | 503) && !reply.left_registry() {
            let asked = reply.retry_after();
            // A registry that wants a longer pause than anybody waits gets none: its requests fail.
            let pause = asked.filter(|pause| *pause <= self.retry.max_retry_after);
            if reply.status() == StatusCode::TOO_MANY_REQUESTS || asked.is_some() {
                host.limits.spare(pause);
            }
        }
        Ok(reply)
    }

    async fn exchange(&self, host: &Host, call: &Call<'_>) -> Result<Reply, Error> {
        let (url, own) = endpoint::urls(call, endpoint::scheme(call.host(), &self.insecure_hosts))?;
        let mut offered = host.authority.authorization(call.scopes()).await?;
        let (mut answered, mut widened) = (false, false);
        loop {
            // Not held while a credential is got: a provider may ask the same host for it.
            let permit = host.limits.admit(call.class()).await;
            let sent = offered.as_ref();
            let mut reply =
                redirect::follow(&self.http, call, url.clone(), &own, sent, permit).await?;
            if reply.status() != StatusCode::UNAUTHORIZED || reply.left_registry() {
                let Some(offered) = offered else { return Ok(reply) };
                if proves_acceptance(&reply) {
                    host.authority.accepted(&offered);
                } else if may_tell_of_expiry(host, &reply) {
                    return self.renewed(host, call, reply, offered).await;
                }
                return match offered.instead_of() {
                    Some(error) if reply.status() == StatusCode::FORBIDDEN => Err(error.clone()),
                    _ => Ok(reply),
                };
            }
            let challenges = Challenge::all(reply.headers());
            // A token that was granted short is no answer to the challenge: that one is yet to come.
            let wider = challenges.iter().any(|challenge| {
                sent.is_some_and(|sent| sent.widened(challenge, call.scopes()).is_some())
            });
            let reason = reply.reason();
            if let (true, Some(answer)) = (answered && (widened || !wider), sent) {
                if let Some(error) = answer.instead_of() {
                    return Err(error.clone());
                }
                reply.set_anonymous(answer.is_anonymous());
                let known = host.known.as_ref().map(|provider| provider.kind());
                let kind = known.unwrap_or_else(|| looks_like(&challenges, reply.headers()));
                let error = reply.into_error().await;
                host.authority.rejected(answer, &error);
                return Err(provider::explained(kind, call.scopes().pushes(), error));
            }
            let refusal = reply.into_error().await;
            // GitLab refuses so what it lets nobody change.
            if *refusal.kind() == ErrorKind::Immutable {
                return Err(refusal);
            }
            (answered, widened) = (true, wider);
            let answer =
                host.authority.answer(&challenges, call.scopes(), sent, refusal, &reason).await?;
            offered = Some(answer);
        }
    }

    /// Sends the request once more if it was refused because what was offered has expired.
    async fn renewed(
        &self,
        host: &Host,
        call: &Call<'_>,
        reply: Reply,
        offered: Authorization,
    ) -> Result<Reply, Error> {
        let scheme = endpoint::scheme(call.host(), &self.insecure_hosts);
        let refusal = reply.into_error().await;
        let reason = if *call.method() == Method::HEAD {
            // It has no body that could say so.
            let ping = Call::ping(call.host());
            let (url, own) = endpoint::urls(&ping, scheme)?;
            let permit = host.limits.admit(ping.class()).await;
            let reply =
                redirect::follow(&self.http, &ping, url, &own, Some(&offered), permit).await?;
            reply.into_error().await
        } else {
            refusal.clone()
        };
        if *reason.kind() != ErrorKind::Unauthorized {
            return Err(refusal);
        }
        let answer = host.authority.renewal(call.scopes(), &offered, reason).await?;
        let (url, own) = endpoint::urls(call, scheme)?;
        let permit = host.limits.admit(call.class()).await;
        let reply = redirect::follow(&self.http, call, url, &own, Some(&answer), permit).await?;
        if proves_acceptance(&reply) {
            host.authority.accepted(&answer);
        }
        Ok(reply)
    }

    fn host(&self, host: &RegistryHost) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hosts.entry(host.clone()).or_insert_with(|| Arc::new(self.new_host(host)));
        Arc::clone(known)
    }

    fn new_host(&self, host: &RegistryHost) -> Host {
        let settings = self.registries.of(host).cloned().unwrap_or_default();
        let limits = Arc::new(HostLimits::new(&self.limits.configured(&settings)));
        let api = Api {
            http: self.http.clone(),
            host: host.clone(),
            plain_http: endpoint::scheme(host, &self.insecure_hosts) == "http",
            settings: Arc::new(settings),
            limits: Arc::clone(&limits),
            retry: self.retry.clone(),
            refusals: Arc::default(),
        };
        let kind = self.registries.provider(host);
        let by_name = ProviderKind::of_host(host);
        // What is told in the clear is told to everybody.
        let of_cloud = by_name.is_some() && by_name == kind && !api.plain_http;
        let nobody = Identities::default();
        let told = if api.settings.vouched || of_cloud { &self.identities } else { &nobody };
        let known = kind.map(|kind| provider::of_kind(kind, told));
        let credentials = Arc::clone(&self.credentials);
        let authority = Authority::new(api.clone(), credentials, known.clone());
        Host { authority, limits, api, known, greeting: OnceCell::new() }
    }
}
