//! What can go wrong when a registry is asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::reference::RegistryHost;

/// A failed operation. Cheap to clone; holds no secret, and URLs only in redacted form.
///
/// Displayed as one line: what was done, to which redacted URL, and what came back.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    details: Details,
}

/// What an error knows besides its kind.
#[derive(Default)]
pub(crate) struct Details {
    pub(crate) request: Option<String>,
    pub(crate) host: Option<RegistryHost>,
    pub(crate) status: Option<u16>,
    pub(crate) codes: Vec<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of failure an [`Error`] is, as far as callers act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The registry said that the manifest or blob is not there (404).
    NotFound,
    /// The registry, or its token server, wants other credentials (401).
    Unauthorized,
    /// The credentials are good but lack the right (403, or 401 `insufficient_scope`). Registries
    /// that hide what they hold also answer so for what does not exist.
    Denied,
    /// Too many requests (429), and the wait was too long or too often.
    RateLimited {
        /// How long the registry said to wait.
        retry_after: Option<Duration>,
    },
    /// Nothing was learnt: no connection, a timeout, a cut reply, 408 or 5xx.
    Transient,
    /// The tag is there and cannot be moved or deleted: the repository's tags are immutable, or the
    /// tag or manifest is locked or protected.
    Immutable,
    /// The manifest cannot be deleted while tags are on it.
    StillTagged,
    /// The manifest cannot be deleted while an index, or another manifest, points to it.
    StillReferenced,
    /// The registry does not offer the operation (405), or holds a format from before 2016.
    Unsupported,
    /// Bytes do not have the digest that they were asked or announced under.
    DigestMismatch,
    /// A reply, or an argument, that is none of what the distribution spec allows.
    Invalid,
    /// The image exists, but not for the wanted platform.
    WrongPlatform,
    /// Credentials could not be read, or a credential helper failed.
    Credential,
    /// TLS cannot be set up on this side, or the handshake failed: the other side's certificate is not
    /// trusted, or it does not speak TLS at all.
    Tls,
    /// A layout's directory cannot be read or written.
    Storage,
}

impl Error {
    /// An error of this kind; `message` is a lowercase fragment.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::with_details(kind, message, Details::default())
    }

    pub(crate) fn with_details(
        kind: ErrorKind,
        message: impl Into<String>,
        details: Details,
    ) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), details }))
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Whether the same request may succeed later without anything being changed.
    ///
    /// The client has already retried as its policy allows.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Transient | ErrorKind::RateLimited { .. })
    }

    /// The registry that was asked.
    pub fn host(&self) -> Option<&RegistryHost> {
        self.0.details.host.as_ref()
    }

    /// Method and redacted URL of the request.
    pub fn request(&self) -> Option<&str> {
        self.0.details.request.as_deref()
    }

    /// The HTTP status of the reply.
    pub fn status(&self) -> Option<u16> {
        self.0.details.status
    }

    /// The codes of the reply's error body, such as `MANIFEST_UNKNOWN`.
    pub fn codes(&self) -> &[String] {
        &self.0.details.codes
    }

    /// How long the registry said to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.kind {
            ErrorKind::RateLimited { retry_after } => retry_after,
            _ => self.0.details.retry_after,
        }
    }

    /// The registry's own name for the request, for its operator.
    pub fn request_id(&self) -> Option<&str> {
        self.0.details.request_id.as_deref()
    }
}

impl Error {
    /// A new error as one of another kind.
    pub(crate) fn as_kind(&self, kind: ErrorKind) -> Self {
        Self::new(kind, self.0.message.clone())
    }
}

#[cfg(feature = "client")]
impl Error {
    /// The same error, of what was asked of this registry.
    pub(crate) fn of_host(&self, host: &RegistryHost) -> Self {
        let source = self.0.details.source.as_ref().map(|_| Box::new(self.clone()) as _);
        let details = Details { host: Some(host.clone()), source, ..Details::default() };
        Self::with_details(self.0.kind.clone(), self.0.message.clone(), details)
    }

    /// The same error as one of another kind, where the one who asked knows better what it means.
    pub(crate) fn with_kind(&self, kind: ErrorKind) -> Self {
        self.changed(kind, self.0.message.clone())
    }

    /// The same error with a further fragment of text.
    pub(crate) fn with_note(&self, note: impl fmt::Display) -> Self {
        self.changed(self.0.kind.clone(), format!("{}; {note}", self.0.message))
    }

    fn changed(&self, kind: ErrorKind, message: String) -> Self {
        let details = &self.0.details;
        let source = details.source.as_ref().map(|_| Box::new(self.clone()) as _);
        let details = Details {
            request: details.request.clone(),
            host: details.host.clone(),
            status: details.status,
            codes: details.codes.clone(),
            request_id: details.request_id.clone(),
            retry_after: details.retry_after,
            source,
        };
        Self::with_details(kind, message, details)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { message, details, .. } = &*self.0;
        if let Some(request) = &details.request {
            write!(formatter, "{request}: ")?;
        }
        formatter.write_str(message)?;
        if let Some(id) = &details.request_id {
            write!(formatter, " (request {id})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, details } = &*self.0;
        formatter
            .debug_struct("Error")
            .field("kind", kind)
            .field("message", message)
            .field("request", &details.request)
            .field("host", &details.host)
            .field("status", &details.status)
            .field("codes", &details.codes)
            .field("request_id", &details.request_id)
            .field("source", &details.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.details.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_one_line() {
        let error = Error::with_details(
            ErrorKind::Denied,
            "denied: push access is needed",
            Details {
                request: Some("PUT https://q.io/v2/a/manifests/b".to_owned()),
                host: Some("q.io".parse().unwrap()),
                status: Some(403),
                request_id: Some("17".to_owned()),
                ..Details::default()
            },
        );
        assert_eq!(
            error.to_string(),
            "PUT https://q.io/v2/a/manifests/b: denied: push access is needed (request 17)"
        );
        assert_eq!((error.status(), error.is_retryable()), (Some(403), false));
        assert!(Error::new(ErrorKind::Transient, "x").is_retryable());
    }
}
