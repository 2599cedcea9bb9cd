//! What came back, and what it means.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::challenge::Challenge;
use super::classify::Refusal;
use super::endpoint::redacted;
use super::error_body;
use super::limits::Permit;
use super::retry::parse_retry_after;
use crate::error::{Details, Error, ErrorKind};
use crate::reference::RegistryHost;

/// Largest error body that is read.
const MAX_ERROR_SIZE: u64 = 64 * 1024;

/// Longest text of a registry that is passed on in an error, in characters.
const MAX_MESSAGE_LENGTH: usize = 300;

/// Names under which registries and the proxies before them say which request this was.
const REQUEST_ID_HEADERS: [&str; 5] = [
    "x-request-id",
    "x-amzn-requestid",
    "x-ms-correlation-request-id",
    "x-github-request-id",
    "cf-ray",
];

/// What token servers call a credential that is wrong, where the status does not say it.
const WRONG_CREDENTIAL: [&str; 3] = ["invalid_grant", "invalid_client", "UNAUTHORIZED"];

/// A reply whose body has not been read. It counts against the host's limit until it is dropped.
pub(in crate::client) struct Reply {
    response: Response,
    reason: Reason,
    url: Url,
    left: bool,
    anonymous: bool,
    permit: Permit,
}

impl Reply {
    pub(super) fn new(
        response: Response,
        reason: Reason,
        url: Url,
        left: bool,
        permit: Permit,
    ) -> Self {
        Self { response, reason, url, left, anonymous: false, permit }
    }

    pub(in crate::client) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Where the reply came from, after redirects.
    pub(in crate::client) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether a redirect led away from the registry.
    pub(in crate::client) fn left_registry(&self) -> bool {
        self.left
    }

    pub(super) fn set_anonymous(&mut self, anonymous: bool) {
        self.anonymous = anonymous;
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header, if it is there and is text.
    pub(in crate::client) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// All headers of this name that are text.
    pub(in crate::client) fn all(&self, name: &HeaderName) -> impl Iterator<Item = &str> {
        self.response.headers().get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// The media type without its parameters.
    pub(in crate::client) fn media_type(&self) -> Option<String> {
        media_type(self.response.headers())
    }

    /// How long the registry wants to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        retry_after(self.response.headers())
    }

    /// What errors about this reply say.
    pub(in crate::client) fn reason(&self) -> Reason {
        let mut reason = self.reason.clone();
        reason.status = Some(self.status());
        reason.request_id =
            REQUEST_ID_HEADERS.iter().find_map(|name| self.header(name)).map(one_line);
        reason
    }

    /// The body, if it has at most `limit` bytes.
    pub(in crate::client) async fn bytes(self, limit: u64) -> Result<Bytes, Error> {
        let reason = self.reason();
        let Self { response, permit, .. } = self;
        let bytes = read(response, limit, &reason).await;
        drop(permit);
        bytes
    }

    /// The body, piece by piece.
    pub(in crate::client) fn into_body(self) -> ReplyBody {
        let reason = self.reason();
        let Self { response, permit, .. } = self;
        ReplyBody { response, reason, _permit: permit }
    }

    /// The error that this reply stands for.
    pub(in crate::client) async fn into_error(self) -> Error {
        let reason = self.reason();
        let Self { response, anonymous, permit, .. } = self;
        let error = refusal(response, &reason, Asked::Registry { anonymous }).await;
        drop(permit);
        error
    }
}

/// A body that is being read. It counts against the host's limit until it is dropped.
pub(in crate::client) struct ReplyBody {
    response: Response,
    reason: Reason,
    _permit: Permit,
}

impl ReplyBody {
    /// The next piece; `None` at the end.
    pub(in crate::client) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.response.chunk().await.map_err(|error| self.reason.unsent(error))
    }

    /// What errors about this body say.
    pub(in crate::client) fn reason(&self) -> &Reason {
        &self.reason
    }
}

/// The request that an error is about.
#[derive(Clone)]
pub(in crate::client) struct Reason {
    method: Method,
    request: String,
    host: RegistryHost,
    status: Option<StatusCode>,
    request_id: Option<String>,
}

impl Reason {
    pub(super) fn new(method: &Method, url: &Url, host: &RegistryHost) -> Self {
        let request = format!("{method} {}", redacted(url));
        let (method, host) = (method.clone(), host.clone());
        Self { method, request, host, status: None, request_id: None }
    }

    /// An error about this request.
    pub(in crate::client) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::with_details(kind, message, self.details())
    }

    /// Method and redacted URL.
    pub(super) fn request(&self) -> &str {
        &self.request
    }

    fn details(&self) -> Details {
        Details {
            request: Some(self.request.clone()),
            host: Some(self.host.clone()),
            status: self.status.map(|status| status.as_u16()),
            request_id: self.request_id.clone(),
            ..Details::default()
        }
    }

    /// The error for an exchange that broke.
    pub(super) fn unsent(&self, error: reqwest::Error) -> Error {
        // What a streamed body failed with is not the registry's failure.
        if let Some(own) = own_error(&error) {
            return own;
        }
        let (kind, message) = if let Some(tls) = tls_error(&error) {
            (ErrorKind::Tls, format!("TLS failed: {tls}"))
        } else if error.is_timeout() {
            (ErrorKind::Transient, "no answer in time".to_owned())
        } else if error.is_builder() {
            (ErrorKind::Invalid, innermost(&error))
        } else {
            (ErrorKind::Transient, innermost(&error))
        };
        let source: Box<dyn StdError + Send + Sync> = Box::new(error.without_url());
        Error::with_details(
            kind,
            one_line(&message),
            Details { source: Some(source), ..self.details() },
        )
    }
}

/// The body, read as far as `limit` and not a byte further.
pub(super) async fn read(
    mut response: Response,
    limit: u64,
    reason: &Reason,
) -> Result<Bytes, Error> {
    let too_large =
        || reason.error(ErrorKind::Invalid, format!("the body has more than {limit} bytes"));
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| reason.unsent(error))? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// Who refused, and whether it was asked without credentials.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    Registry { anonymous: bool },
    TokenServer { anonymous: bool },
}

/// The error that a reply without success stands for.
pub(super) async fn refusal(response: Response, reason: &Reason, asked: Asked) -> Error {
    let (Asked::Registry { anonymous } | Asked::TokenServer { anonymous }) = asked;
    let status = response.status();
    let headers = response.headers().clone();
    // A body that cannot be read takes nothing from what the status says.
    let body = read(response, MAX_ERROR_SIZE, reason).await.unwrap_or_default();
    let errors: Vec<(String, String)> = error_body::errors(&body)
        .into_iter()
        .map(|(code, message)| (one_line(&code), message))
        .collect();
    let exhausted = headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0");
    let of_limit = exhausted && matches!(status.as_u16(), 403 | 429);
    let retry_after =
        retry_after(&headers).or_else(|| of_limit.then(|| until_reset(&headers)).flatten());
    let lacks_scope = Challenge::all(&headers).iter().any(Challenge::is_insufficient_scope);
    let of_token_server = matches!(asked, Asked::TokenServer { .. });
    let answer = Refusal {
        method: &reason.method,
        status,
        errors: &errors,
        retry_after,
        exhausted,
        lacks_scope,
        anonymous,
    };
    let kind = match status.as_u16() {
        // OAuth2 says so of a token that is no longer good (RFC 6749, *Error Response*). Any other 400 is
        // about what was asked for, and says nothing about who asked.
        400 if of_token_server && !anonymous && answer.has(&WRONG_CREDENTIAL) => {
            ErrorKind::Unauthorized
        }
        // What a token server does not know says nothing about what the registry holds.
        404 | 405 if of_token_server => ErrorKind::Invalid,
        _ => answer.kind(),
    };
    let mut message = match &kind {
        ErrorKind::Unauthorized if anonymous => {
            "not authorized, and there are no credentials for it"
        }
        ErrorKind::Unauthorized => "not authorized",
        ErrorKind::Denied => "denied",
        ErrorKind::NotFound => "not found",
        ErrorKind::Unsupported => "not supported by the registry",
        ErrorKind::Immutable => "it may not be changed",
        ErrorKind::StillTagged => "a tag is still on it",
        ErrorKind::StillReferenced => "a manifest still points to it",
        ErrorKind::RateLimited { .. } => "too many requests",
        ErrorKind::Transient => "the registry failed",
        _ => "unexpected answer",
    }
    .to_owned();
    message.push_str(&format!(" ({status}"));
    for (code, text) in &errors {
        let between = if code.is_empty() || text.is_empty() { "" } else { ": " };
        message.push_str(&format!(", {code}{between}{text}"));
    }
    if media_type(&headers).as_deref() == Some("text/html") {
        message.push_str(", an HTML page");
    }
    message.push(')');
    let mut message = one_line(&message);
    if let Some(note) = answer.note() {
        message.push_str("; ");
        message.push_str(note);
    }
    let codes = errors.into_iter().map(|(code, _)| code).filter(|code| !code.is_empty()).collect();
    let details = Details { codes, retry_after, status: Some(status.as_u16()), ..reason.details() };
    Error::with_details(kind, message, details)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    parse_retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, date)
}

/// How long it takes until requests are counted anew, where that is said as GitHub does: in seconds since
/// 1970.
fn until_reset(headers: &HeaderMap) -> Option<Duration> {
    let at = headers.get("x-ratelimit-reset")?.to_str().ok()?.trim().parse().ok()?;
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(at))?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase())
}

/// Text from elsewhere as a bounded part of one line.
pub(in crate::client) fn one_line(text: &str) -> String {
    let clean = |character: char| {
        if character.is_control() { ' ' } else { character }
    };
    let mut line: String = text.chars().take(MAX_MESSAGE_LENGTH).map(clean).collect();
    if text.chars().nth(MAX_MESSAGE_LENGTH).is_some() {
        line.push('…');
    }
    line
}

/// The error at the bottom, which says what happened; those above it say only where.
pub(in crate::client) fn innermost(error: &dyn StdError) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn own_error(error: &reqwest::Error) -> Option<Error> {
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = next {
        if let Some(own) = error.downcast_ref::<Error>() {
            return Some(own.clone());
        }
        next = error.source();
    }
    None
}

fn tls_error(error: &reqwest::Error) -> Option<String> {
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.to_string());
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_registry_cannot_break_the_line_or_grow_without_bound() {
        assert_eq!(one_line("a\r\nb\u{1b}[31m"), "a  b [31m");
        assert_eq!(one_line(&"ä".repeat(1000)).chars().count(), MAX_MESSAGE_LENGTH + 1);
    }
}
