//! What went wrong with a push, as far as the engine's words tell it.
//!
//! The engine passes on what the registry said (the words of the distribution spec's error codes, or
//! "received unexpected HTTP status: …" where there were none) or what Go's network library did. There
//! is no status in the stream, only this text.

use crate::backend::BackendErrorKind;

/// Words of a refusal: nothing else that is said can make it pass.
const REFUSED: &[&str] = &[
    "denied",
    "unauthorized",
    "authentication required",
    "no basic auth credentials",
    "insufficient_scope",
    "forbidden",
    "quota",
    "does not exist",
    "name unknown",
    "manifest invalid",
    "tag invalid",
    "immutable",
    "certificate",
];

/// Words of what may pass.
const PASSING: &[&str] = &[
    "toomanyrequests",
    "too many requests",
    "unexpected http status: 5",
    "http 5",
    "internal server error",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
    "unavailable:",
    "connection reset",
    "connection refused",
    "broken pipe",
    "eof",
    "timeout",
    "deadline exceeded",
    "server misbehaving",
    "temporary failure in name resolution",
    "stream error",
    "goaway",
    // Two pushes of one blob, or of one name, at the same time: the other one may be done by now.
    "digest invalid",
    "blob unknown to registry",
    "blob upload unknown",
    "blob upload invalid",
];

/// The kind of failure of a push that the engine words so. Unknown words are none that may pass.
pub(in crate::backend) fn kind_of_failed_push(message: &str) -> BackendErrorKind {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(PASSING) && !says(REFUSED) {
        BackendErrorKind::RegistryPassing
    } else {
        BackendErrorKind::Registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_refusals() {
        for (message, passes) in [
            ("received unexpected HTTP status: 503 Service Unavailable", true),
            ("received unexpected HTTP status: 500 Internal Server Error", true),
            ("error parsing HTTP 502 response body: invalid character '<'", true),
            ("toomanyrequests: Rate exceeded", true),
            ("unavailable: service unavailable", true),
            (
                "Put \"https://r/v2/x\": read tcp 10.0.0.1:4->10.0.0.2:443: connection reset by peer",
                true,
            ),
            ("Put \"https://r/v2/x\": EOF", true),
            ("Post \"https://r/v2/x\": net/http: TLS handshake timeout", true),
            ("dial tcp: lookup r on 10.0.0.1:53: server misbehaving", true),
            ("errors:\ndigest invalid\nmanifest blob unknown: blob unknown to registry\n", true),
            ("blob upload unknown to registry", true),
            ("denied: requested access to the resource is denied", false),
            ("denied: quota exceeded, unavailable: try another", false),
            ("unauthorized: authentication required", false),
            ("no basic auth credentials", false),
            ("received unexpected HTTP status: 403 Forbidden", false),
            ("received unexpected HTTP status: 413 Request Entity Too Large", false),
            ("name unknown: The repository with name 'x' does not exist", false),
            ("tag invalid: The image tag 'x' already exists and is immutable", false),
            ("x509: certificate signed by unknown authority", false),
            ("manifest invalid: manifest invalid", false),
            ("something that nobody knows", false),
        ] {
            let passing = kind_of_failed_push(message) == BackendErrorKind::RegistryPassing;
            assert_eq!(passing, passes, "{message}");
        }
    }
}
