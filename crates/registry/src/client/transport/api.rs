//! Requests to a vendor's own API, about one registry.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use url::Url;

use super::Http;
use super::authority::{REJECTION_MEMORY, basic_header, bearer_header};
use super::challenge::Challenge;
use super::endpoint::{is_link_local, is_loopback, redacted, same_origin};
use super::limits::{Class, HostLimits};
use super::reply::{Reason, Reply};
use super::retry::RetryPolicy;
use crate::client::credential::Secret;
use crate::error::{Error, ErrorKind};
use crate::provider::RegistrySettings;
use crate::reference::RegistryHost;

/// Largest reply that is read, in bytes. A page of a thousand images with all their tags is far smaller.
const MAX_REPLY_SIZE: u64 = 64 * 1024 * 1024;

/// What a provider needs to ask its vendor's API about one registry. Its requests count against the
/// limits of that registry, and are repeated as the client's policy says. Cheap to clone.
#[derive(Clone)]
pub(in crate::client) struct Api {
    pub(super) http: Http,
    pub(super) host: RegistryHost,
    /// The registry itself is spoken to over plain HTTP.
    pub(super) plain_http: bool,
    pub(super) settings: Arc<RegistrySettings>,
    pub(super) limits: Arc<HostLimits>,
    pub(super) retry: RetryPolicy,
    pub(super) refusals: Arc<Refusals>,
}

/// What an API has refused to know lately. Some lock out who comes with a wrong credential again and again.
#[derive(Default)]
pub(super) struct Refusals {
    hasher: RandomState,
    /// By the hash of what was sent.
    recent: Mutex<HashMap<u64, (Instant, Error)>>,
}

impl Refusals {
    /// Why the credential of this request need not be sent again.
    fn of(&self, call: &ApiCall) -> Option<Error> {
        let credential = self.credential(call)?;
        let recent = self.recent();
        let (at, error) = recent.get(&credential)?;
        (at.elapsed() < REJECTION_MEMORY).then(|| error.clone())
    }

    fn remember(&self, call: &ApiCall, error: &Error) {
        let Some(credential) = self.credential(call) else { return };
        let mut recent = self.recent();
        recent.retain(|_, (at, _)| at.elapsed() < REJECTION_MEMORY);
        recent.insert(credential, (Instant::now(), error.clone()));
    }

    /// A hash of what says who is asking, and of whom; nothing if nothing does.
    fn credential(&self, call: &ApiCall) -> Option<u64> {
        if call.anonymous {
            return None;
        }
        let mut hasher = self.hasher.build_hasher();
        call.url.origin().hash(&mut hasher);
        for (name, value) in call.headers.iter().filter(|(_, value)| value.is_sensitive()) {
            (name, value.as_bytes()).hash(&mut hasher);
        }
        if call.secret_body {
            call.body.hash(&mut hasher);
        }
        Some(hasher.finish())
    }

    fn recent(&self) -> MutexGuard<'_, HashMap<u64, (Instant, Error)>> {
        // No code panics while it holds the lock.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request to a vendor's API. It can be sent any number of times.
#[derive(Clone)]
pub(in crate::client) struct ApiCall {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    anonymous: bool,
    /// What says who is asking is in the body.
    secret_body: bool,
}

impl ApiCall {
    pub(in crate::client) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            anonymous: true,
            secret_body: false,
        }
    }

    pub(in crate::client) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// The same request, to where the server said that it goes on, which has to be on the server itself:
    /// the request may hold what says who is asking.
    pub(in crate::client) fn following(&self, link: &str) -> Result<Self, Error> {
        let wrong = |what| {
            let message = format!("{}: {what}", redacted(&self.url));
            Error::new(ErrorKind::Invalid, message)
        };
        let next = self.url.join(link).ok().filter(|next| same_origin(&self.url, next));
        let url = next.ok_or_else(|| wrong("sent on to another server"))?;
        if url == self.url {
            return Err(wrong("sent on to the same page again"));
        }
        Ok(Self { url, ..self.clone() })
    }

    /// Adds a header that is no secret. A value that cannot be one is left out; the server then refuses
    /// the request.
    pub(in crate::client) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Adds a header that says who is asking.
    pub(in crate::client) fn secret_header(mut self, name: HeaderName, value: &Secret) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value.expose()) {
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        self.anonymous = false;
        self
    }

    /// `Authorization: Bearer`. A token that cannot be a header is left out.
    pub(in crate::client) fn bearer(mut self, token: &Secret) -> Self {
        if let Ok(header) = bearer_header(token) {
            self.headers.insert(AUTHORIZATION, header);
            self.anonymous = false;
        }
        self
    }

    /// What says who is asking is in the body.
    pub(in crate::client) fn identified(mut self) -> Self {
        self.anonymous = false;
        self.secret_body = true;
        self
    }

    /// `Authorization: Basic`.
    pub(in crate::client) fn basic(mut self, username: &str, password: &Secret) -> Self {
        self.headers.insert(AUTHORIZATION, basic_header(username, password));
        self.anonymous = false;
        self
    }

    /// Sends JSON.
    pub(in crate::client) fn json(self, body: &serde_json::Value) -> Self {
        self.header(CONTENT_TYPE, "application/json").body(body.to_string())
    }

    /// Sends a form.
    pub(in crate::client) fn form(self, pairs: &[(&str, &str)]) -> Self {
        let form =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
    }

    pub(in crate::client) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }
}

impl Api {
    /// The registry that the requests are about.
    pub(in crate::client) fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// Where the vendor's API is: as configured, or here.
    ///
    /// # Errors
    ///
    /// What is configured is no URL.
    pub(in crate::client) fn base(&self, usual: &str) -> Result<Url, Error> {
        let text = self.settings.api_url.as_deref().unwrap_or(usual);
        Url::parse(text).map_err(|_| {
            let message = format!("the address of the API of {}, {text:?}, is no URL", self.host);
            Error::new(ErrorKind::Invalid, message)
        })
    }

    /// A URL at the registry itself.
    pub(in crate::client) fn of_registry(&self, path: &str) -> Result<Url, Error> {
        let scheme = if self.plain_http { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{}{path}", self.host.api_host()))
            .map_err(|error| Error::new(ErrorKind::Invalid, format!("{}: {error}", self.host)))
    }

    /// What the registry is called by its token server, as its challenge says; `None` if it asks nobody who
    /// they are.
    pub(in crate::client) async fn service(&self) -> Result<Option<String>, Error> {
        let call = ApiCall::get(self.of_registry("/v2/")?);
        self.retry
            .run(async || {
                let reply = self.send(&call).await?;
                let challenges = Challenge::all(reply.headers());
                if !reply.status().is_success() && challenges.is_empty() {
                    return Err(reply.into_error().await);
                }
                let bearer = challenges.iter().find(|challenge| challenge.is("bearer"));
                let service = bearer.and_then(|challenge| challenge.get("service"));
                Ok(service.map(ToOwned::to_owned))
            })
            .await
    }

    /// Sends the request, again where that may help. The reply has a status of success.
    pub(in crate::client) async fn ask(&self, call: &ApiCall) -> Result<Reply, Error> {
        self.retry
            .run(async || {
                let reply = self.send(call).await?;
                if reply.status().is_success() {
                    Ok(reply)
                } else {
                    Err(self.refused(call, reply).await)
                }
            })
            .await
    }

    /// What the API answers in JSON.
    pub(in crate::client) async fn ask_json<T: DeserializeOwned>(
        &self,
        call: &ApiCall,
    ) -> Result<T, Error> {
        Ok(self.ask_page(call).await?.0)
    }

    /// The same to a request that is made anew for each try.
    pub(in crate::client) async fn ask_json_anew<T: DeserializeOwned>(
        &self,
        call: impl Fn() -> Result<ApiCall, Error>,
    ) -> Result<T, Error> {
        self.retry.run(async || Ok(self.page(&call()?).await?.0)).await
    }

    /// What the API answers in JSON, and the `Link` headers beside it.
    pub(in crate::client) async fn ask_page<T: DeserializeOwned>(
        &self,
        call: &ApiCall,
    ) -> Result<(T, Vec<String>), Error> {
        self.retry.run(|| self.page(call)).await
    }

    async fn page<T: DeserializeOwned>(&self, call: &ApiCall) -> Result<(T, Vec<String>), Error> {
        let reply = self.send(call).await?;
        if !reply.status().is_success() {
            return Err(self.refused(call, reply).await);
        }
        let links = reply.all(&reqwest::header::LINK).map(ToOwned::to_owned).collect();
        let reason = reply.reason();
        let bytes = reply.bytes(MAX_REPLY_SIZE).await?;
        // What serde says could quote a token.
        let page = serde_json::from_slice(&bytes).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            let message = format!("not what this API is known to answer ({place})");
            reason.error(ErrorKind::Invalid, message)
        })?;
        Ok((page, links))
    }

    /// Sends the request once. The reply may have any status; redirects are not followed.
    pub(in crate::client) async fn send(&self, call: &ApiCall) -> Result<Reply, Error> {
        let ApiCall { method, url, headers, body, anonymous, .. } = call;
        let reason = Reason::new(method, url, &self.host);
        if is_link_local(url) || (url.scheme() != "https" && !self.may_be_plain(url)) {
            let message = "not sent: the API's address is not reached over https";
            return Err(reason.error(ErrorKind::Invalid, message));
        }
        if let Some(refusal) = self.refusals.of(call) {
            return Err(refusal);
        }
        let permit = self.limits.admit(Class::Question).await;
        // It may have been refused while this request waited.
        if let Some(refusal) = self.refusals.of(call) {
            return Err(refusal);
        }
        let mut request = self.http.client(url).request(method.clone(), url.clone());
        request = request.headers(headers.clone());
        if let Some(body) = body {
            request = request.body(body.clone());
        }
        let response = request.send().await.map_err(|error| reason.unsent(error))?;
        let status = response.status();
        tracing::debug!(%method, url = redacted(url), status = status.as_u16(), "vendor's API");
        let mut reply = Reply::new(response, reason, url.clone(), false, permit);
        reply.set_anonymous(*anonymous);
        let pause = reply.retry_after();
        if status.as_u16() == 429 || (status.as_u16() == 403 && pause.is_some()) {
            self.limits.spare(pause.filter(|pause| *pause <= self.retry.max_retry_after));
        }
        Ok(reply)
    }

    /// What a reply without success means.
    async fn refused(&self, call: &ApiCall, reply: Reply) -> Error {
        let error = reply.into_error().await;
        // What is refused to a credential that is good for something else has another kind.
        if error.status() == Some(401) && *error.kind() == ErrorKind::Unauthorized {
            self.refusals.remember(call, &error);
        }
        error
    }

    /// Whether a URL may be asked over plain HTTP.
    fn may_be_plain(&self, url: &Url) -> bool {
        let is_registry =
            url.host_str() == Some(self.host.name()) && url.port() == self.host.port();
        (self.plain_http && is_registry)
            || (is_loopback(url) && knows_loopback(&self.host, self.settings.api_url.as_deref()))
    }
}

/// Whether somebody here wants to have loopback asked about this registry: a registry elsewhere must not be
/// able to have a credential sent there.
fn knows_loopback(registry: &RegistryHost, configured: Option<&str>) -> bool {
    let configured = configured.and_then(|text| Url::parse(text).ok());
    registry.is_loopback() || configured.is_some_and(|url| is_loopback(&url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_asked_about_what_is_there_or_configured_to_be() {
        for (registry, configured, expected) in [
            ("localhost:5000", None, true),
            ("127.0.0.1:5000", Some("https://api.example/"), true),
            ("registry.example", None, false),
            ("registry.example", Some("https://api.example/"), false),
            ("registry.example", Some("nonsense"), false),
            ("registry.example", Some("http://127.0.0.1:8080/api"), true),
        ] {
            let host = registry.parse().unwrap();
            assert_eq!(knows_loopback(&host, configured), expected, "{registry} {configured:?}");
        }
    }
}
