//! A request as the rest of the client describes it.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::scope::ScopeSet;
use crate::client::registry::Access;
use crate::reference::{RegistryHost, Repository};

/// A request below `/v2/NAME/` of a registry. It can be sent any number of times.
pub(in crate::client) struct Call<'a> {
    method: Method,
    repository: &'a Repository,
    path: String,
    headers: HeaderMap,
    body: Option<Bytes>,
    scopes: ScopeSet,
}

impl<'a> Call<'a> {
    pub(in crate::client) fn new(
        method: Method,
        repository: &'a Repository,
        path: &str,
        access: Access,
    ) -> Self {
        Self {
            method,
            repository,
            path: format!("/v2/{}/{path}", repository.name()),
            headers: HeaderMap::new(),
            body: None,
            scopes: ScopeSet::repository(repository.name(), access),
        }
    }

    /// A value that cannot be a header is left out; the registry then refuses the request.
    pub(in crate::client) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(in crate::client) fn body(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn host(&self) -> &'a RegistryHost {
        self.repository.host()
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn body_bytes(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    pub(super) fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }
}
