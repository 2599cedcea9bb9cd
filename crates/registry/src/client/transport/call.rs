//! A request as the rest of the client describes it.

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::limits::Class;
use super::scope::ScopeSet;
use crate::blob::BlobStream;
use crate::client::registry::Access;
use crate::error::Error;
use crate::reference::{RegistryHost, Repository};

/// A request below `/v2/` of a registry. It can be sent any number of times.
pub(in crate::client) struct Call<'a> {
    method: Method,
    host: &'a RegistryHost,
    path: String,
    location: Option<Location>,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Option<Body<'a>>,
    class: Class,
    scopes: ScopeSet,
}

/// What a request sends.
pub(super) enum Body<'a> {
    Bytes(Bytes),
    Stream(&'a dyn StreamBody),
}

/// A body that is too large to be held. Its length is known before.
#[async_trait]
pub(in crate::client) trait StreamBody: Send + Sync {
    /// In bytes.
    fn length(&self) -> u64;

    /// Begins from the start.
    async fn open(&self) -> Result<BlobStream, Error>;
}

/// Where a registry said that a request should go.
pub(super) struct Location {
    pub(super) location: String,
    /// Whether that may be another server.
    pub(super) may_leave: bool,
}

impl<'a> Call<'a> {
    /// A request below `/v2/NAME/`.
    pub(in crate::client) fn new(
        method: Method,
        repository: &'a Repository,
        path: &str,
        access: Access,
    ) -> Self {
        let scopes = ScopeSet::repository(repository.name(), access);
        Self::with_scopes(
            method,
            repository.host(),
            format!("{}/{path}", repository.name()),
            scopes,
        )
    }

    /// A request to delete what is at `/v2/NAME/PATH`.
    pub(in crate::client) fn delete(repository: &'a Repository, path: &str) -> Self {
        let scopes = ScopeSet::deletion(repository.name());
        let path = format!("{}/{path}", repository.name());
        Self::with_scopes(Method::DELETE, repository.host(), path, scopes)
    }

    /// A request for a list of the registry's repositories.
    pub(in crate::client) fn catalog(host: &'a RegistryHost) -> Self {
        Self::with_scopes(Method::GET, host, "_catalog".to_owned(), ScopeSet::catalog())
    }

    /// A request below the registry's own host, but not below `/v2/`, as vendors have for what the spec
    /// does not know; with a token for these scopes.
    pub(in crate::client) fn of_vendor(
        method: Method,
        host: &'a RegistryHost,
        path: &str,
        scopes: &str,
    ) -> Self {
        let scopes = ScopeSet::parse(scopes);
        Self { path: path.to_owned(), ..Self::with_scopes(method, host, String::new(), scopes) }
    }

    /// A request to find out whether the registry takes the credential.
    pub(in crate::client) fn ping(host: &'a RegistryHost) -> Self {
        Self::with_scopes(Method::GET, host, String::new(), ScopeSet::default())
    }

    fn with_scopes(method: Method, host: &'a RegistryHost, path: String, scopes: ScopeSet) -> Self {
        Self {
            method,
            host,
            path: format!("/v2/{path}"),
            location: None,
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
            class: Class::Question,
            scopes,
        }
    }

    /// Needs this access to another repository as well.
    pub(in crate::client) fn also(mut self, repository: &Repository, access: Access) -> Self {
        self.scopes = self.scopes.union(&ScopeSet::repository(repository.name(), access));
        self
    }

    /// Adds a parameter.
    pub(in crate::client) fn query(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }

    /// Goes where the registry said, relative to the call's own path; without the registry's
    /// credentials if that is elsewhere.
    pub(in crate::client) fn at(mut self, location: String) -> Self {
        self.location = Some(Location { location, may_leave: true });
        self
    }

    /// Goes where the registry said, but nowhere else than to the registry.
    pub(in crate::client) fn at_same_origin(mut self, location: String) -> Self {
        self.location = Some(Location { location, may_leave: false });
        self
    }

    /// A value that cannot be a header is left out; the registry then refuses the request.
    pub(in crate::client) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(in crate::client) fn body(mut self, body: Bytes) -> Self {
        self.body = Some(Body::Bytes(body));
        self
    }

    /// Sends what this opens, each time that the request is sent.
    pub(in crate::client) fn stream(mut self, body: &'a dyn StreamBody) -> Self {
        self.body = Some(Body::Stream(body));
        self
    }

    /// Counts as a transfer of a blob from the registry.
    pub(in crate::client) fn download(mut self) -> Self {
        self.class = Class::Download;
        self
    }

    /// Belongs to the upload of a blob, for which there is a permit.
    pub(in crate::client) fn of_upload(mut self) -> Self {
        self.class = Class::OfUpload;
        self
    }

    pub(super) fn host(&self) -> &'a RegistryHost {
        self.host
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn location(&self) -> Option<&Location> {
        self.location.as_ref()
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.query.iter().map(|(name, value)| (*name, value.as_str()))
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn content(&self) -> Option<&Body<'a>> {
        self.body.as_ref()
    }

    pub(super) fn class(&self) -> Class {
        self.class
    }

    pub(super) fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }
}
