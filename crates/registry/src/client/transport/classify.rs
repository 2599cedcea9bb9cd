//! What a refusal means: from its status, and from the codes and words of its body where the status
//! does not tell. The distribution spec names the codes of section *Error Codes*; the others are what
//! vendors' registries were seen to answer, or document.

use std::time::Duration;

use reqwest::{Method, StatusCode};

use crate::error::ErrorKind;

/// What is known of a refusal by a registry.
pub(super) struct Refusal<'a> {
    pub(super) method: &'a Method,
    pub(super) status: StatusCode,
    /// Codes and messages of the body. HEAD has none.
    pub(super) errors: &'a [(String, String)],
    pub(super) retry_after: Option<Duration>,
    /// No request is left of those that it takes in a while.
    pub(super) exhausted: bool,
    /// The challenge says that the token was good, but not for this.
    pub(super) lacks_scope: bool,
    /// Nothing was sent that says who is asking.
    pub(super) anonymous: bool,
}

impl Refusal<'_> {
    pub(super) fn kind(&self) -> ErrorKind {
        if self.has(&["TOOMANYREQUESTS"]) {
            return ErrorKind::RateLimited { retry_after: self.retry_after };
        }
        if let Some(kind) = self.kind_of_change().or_else(|| self.kind_of_api()) {
            return kind;
        }
        // ECR, with 403; its public registries with 400.
        if self.has(&["DENIED"]) && self.says(&["authorization token has expired"]) {
            return ErrorKind::Unauthorized;
        }
        match self.status.as_u16() {
            // Another upload may go well.
            400..=499 if self.has(&["BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"]) => {
                ErrorKind::Transient
            }
            401 if self.lacks_scope && !self.anonymous => ErrorKind::Denied,
            401 => ErrorKind::Unauthorized,
            // GitHub (*Rate limits for the REST API*).
            403 if self.exhausted
                || self.retry_after.is_some()
                || self.says(&["exceeded a secondary rate limit"]) =>
            {
                ErrorKind::RateLimited { retry_after: self.retry_after }
            }
            403 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            405 => ErrorKind::Unsupported,
            429 => ErrorKind::RateLimited { retry_after: self.retry_after },
            408 | 499 | 500..=599 => ErrorKind::Transient,
            _ if self.has(&["UNSUPPORTED"]) => ErrorKind::Unsupported,
            // Quay and Artifact Registry say so with 400 now and then.
            _ if self.has(&["DENIED"]) => ErrorKind::Denied,
            _ => ErrorKind::Invalid,
        }
    }

    /// Why something that is there could not be changed.
    fn kind_of_change(&self) -> Option<ErrorKind> {
        if !matches!(*self.method, Method::PUT | Method::DELETE | Method::PATCH | Method::POST)
            || !self.status.is_client_error()
        {
            return None;
        }
        // GitLab's registry says so with 401, although no other credential would help.
        if self.has(&["PROTECTED_TAG", "IMMUTABLE_TAG"]) {
            return Some(ErrorKind::Immutable);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            return None;
        }
        // Artifact Registry.
        if self.has(&["GOOGLE_MANIFEST_DANGLING_TAG"]) {
            return Some(ErrorKind::StillTagged);
        }
        // GitLab; ECR's API; Artifact Registry, for the children of an index and what has referrers.
        let referenced = [
            "MANIFEST_REFERENCED",
            "ImageReferencedByManifestList",
            "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE",
            "GOOGLE_MANIFEST_REFERRING_MANIFEST",
        ];
        if self.has(&referenced) {
            return Some(ErrorKind::StillReferenced);
        }
        // ACR, for what is locked; Harbor with 412; ECR says TAG_INVALID, Artifact Registry
        // MANIFEST_INVALID, others DENIED, and only their words tell it from other refusals. A
        // repository's name may hold such a word as well.
        let words =
            ["is immutable", "are immutable", "as immutable", "immutable tag", "tag immutability"];
        let locked = self.has(&["REGISTRY_DISALLOWED_OPERATION"])
            || self.says(&words)
            || (self.has(&["TAG_INVALID"]) && self.says(&["already exists"]))
            || self.is_of_soft_deleted()
            || (self.status == StatusCode::FORBIDDEN
                && self.says(&["protected tag", "tag is protected"]));
        locked.then_some(ErrorKind::Immutable)
    }

    /// What the registry's own words leave out.
    pub(super) fn note(&self) -> Option<&'static str> {
        // ACR refuses what is locked and what was soft-deleted, and may use the same code for both
        // (Azure: *Lock a container image*, *Soft delete policy*).
        if *self.method == Method::PUT && self.is_of_soft_deleted() {
            Some("it was deleted softly, and has to be restored: az acr manifest restore")
        } else if self.has(&["REGISTRY_DISALLOWED_OPERATION"]) {
            Some(if *self.method == Method::PUT {
                "it is locked, or was deleted softly and has to be restored: az acr manifest restore"
            } else {
                "it is locked"
            })
        } else {
            None
        }
    }

    /// ACR, for a push of what its soft deletion still holds.
    fn is_of_soft_deleted(&self) -> bool {
        self.says(&["soft deleted", "soft-deleted"])
    }

    /// What the codes of the vendors' own APIs mean, whose statuses say little (AWS: *Common error
    /// types*, ECR's actions; Google: *Error model*).
    fn kind_of_api(&self) -> Option<ErrorKind> {
        let ends = |suffix: &str| self.errors.iter().any(|(code, _)| code.ends_with(suffix));
        if self.has(&["ThrottlingException", "TooManyRequestsException", "RESOURCE_EXHAUSTED"]) {
            return Some(ErrorKind::RateLimited { retry_after: self.retry_after });
        }
        if self.has(&["AccessDeniedException", "AccessDenied", "PERMISSION_DENIED"]) {
            return Some(ErrorKind::Denied);
        }
        let unauthorized = [
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "MissingAuthenticationTokenException",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
            "UNAUTHENTICATED",
        ];
        if self.has(&unauthorized) {
            return Some(ErrorKind::Unauthorized);
        }
        if self.has(&["ServerException", "InternalFailure", "ServiceUnavailableException"]) {
            return Some(ErrorKind::Transient);
        }
        if self.has(&["ImageTagAlreadyExistsException"]) {
            return Some(ErrorKind::Immutable);
        }
        ends("NotFoundException").then_some(ErrorKind::NotFound)
    }

    pub(super) fn has(&self, codes: &[&str]) -> bool {
        self.errors.iter().any(|(code, _)| codes.contains(&code.as_str()))
    }

    fn says(&self, phrases: &[&str]) -> bool {
        self.errors.iter().any(|(_, message)| {
            let message = message.to_ascii_lowercase();
            phrases.iter().any(|phrase| message.contains(phrase))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(method: &Method, status: u16, code: &str, message: &str) -> ErrorKind {
        let errors =
            if code.is_empty() { Vec::new() } else { vec![(code.to_owned(), message.to_owned())] };
        let status = StatusCode::from_u16(status).unwrap();
        Refusal {
            method,
            status,
            errors: &errors,
            retry_after: None,
            exhausted: false,
            lacks_scope: false,
            anonymous: false,
        }
        .kind()
    }

    #[test]
    fn refusals_are_told_apart_by_status_code_and_words() {
        use ErrorKind::{
            Denied, Immutable, Invalid, NotFound, RateLimited, StillReferenced, StillTagged,
            Transient, Unauthorized, Unsupported,
        };
        let limited = RateLimited { retry_after: None };
        let (get, head, put, delete) = (Method::GET, Method::HEAD, Method::PUT, Method::DELETE);
        let ecr = "The image tag '1' already exists in the 'a' repository and cannot be overwritten \
                   because the tag is immutable.";
        let google = "cannot update tag 1. The repository has enabled tag immutability";
        for (method, status, code, message, expected) in [
            (&head, 401, "", "", Unauthorized),
            (&head, 403, "", "", Denied),
            (&head, 404, "", "", NotFound),
            (&head, 429, "", "", limited.clone()),
            (&head, 500, "", "", Transient),
            (&get, 503, "UNAVAILABLE", "", Transient),
            (&get, 500, "UNKNOWN", "unknown error", Transient),
            (&get, 408, "", "", Transient),
            (&get, 404, "MANIFEST_UNKNOWN", "manifest unknown", NotFound),
            (&get, 404, "NOT_FOUND", "artifact a:1 not found", NotFound),
            (&get, 403, "DENIED", "a protected resource", Denied),
            (&get, 400, "DENIED", "no", Denied),
            (&get, 403, "DENIED", "Your authorization token has expired.", Unauthorized),
            (&get, 400, "DENIED", "Your Authorization Token has expired.", Unauthorized),
            (&get, 403, "TOOMANYREQUESTS", "pull rate limit", limited.clone()),
            (&get, 403, "-", "You have exceeded a secondary rate limit.", limited.clone()),
            (&get, 418, "", "", Invalid),
            (&put, 404, "BLOB_UPLOAD_INVALID", "", Transient),
            (&put, 404, "BLOB_UPLOAD_UNKNOWN", "", Transient),
            (&put, 400, "MANIFEST_INVALID", "", Invalid),
            (&put, 400, "TAG_INVALID", ecr, Immutable),
            (&put, 400, "TAG_INVALID", "tag 1 already exists", Immutable),
            (&put, 400, "BLOB_UPLOAD_INVALID", "", Transient),
            (&put, 401, "UNAUTHORIZED", "the tag is immutable", Unauthorized),
            (&put, 403, "DENIED", "no push to a/immutable-images", Denied),
            (&put, 403, "DENIED", "no push to a/protected-app", Denied),
            (&put, 400, "TAG_INVALID", "manifest tag did not match URI", Invalid),
            (&put, 400, "MANIFEST_INVALID", google, Immutable),
            (&put, 412, "PRECONDITION", "'a:1' configured as immutable.", Immutable),
            (&put, 409, "CONFLICT", "tag 1 is immutable", Immutable),
            (&put, 409, "CONFLICT", "another upload", Invalid),
            (&put, 403, "DENIED", "Protected tag", Immutable),
            (&put, 401, "PROTECTED_TAG", "insufficient permissions", Immutable),
            (&delete, 401, "IMMUTABLE_TAG", "", Immutable),
            (&get, 401, "PROTECTED_TAG", "", Unauthorized),
            (&put, 405, "REGISTRY_DISALLOWED_OPERATION", "locked", Immutable),
            (&delete, 405, "REGISTRY_DISALLOWED_OPERATION", "locked", Immutable),
            (&put, 409, "MANIFEST_INVALID", "The manifest is soft deleted.", Immutable),
            (&delete, 405, "UNSUPPORTED", "The operation is unsupported.", Unsupported),
            (&delete, 405, "", "", Unsupported),
            (&delete, 400, "UNSUPPORTED", "", Unsupported),
            (&delete, 400, "GOOGLE_MANIFEST_DANGLING_TAG", "still referenced", StillTagged),
            (&delete, 400, "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE", "by image", StillReferenced),
            (&delete, 409, "MANIFEST_REFERENCED", "by a manifest list", StillReferenced),
            (&delete, 500, "UNKNOWN", "immutable", Transient),
            (&Method::POST, 400, "RepositoryNotFoundException", "", NotFound),
            (&Method::POST, 400, "ThrottlingException", "Rate exceeded", limited.clone()),
            (&Method::POST, 400, "AccessDeniedException", "not authorized", Denied),
            (&Method::POST, 400, "UnrecognizedClientException", "", Unauthorized),
            (&Method::POST, 400, "ImageTagAlreadyExistsException", "", Immutable),
            (&Method::POST, 400, "InvalidParameterException", "", Invalid),
            (&get, 403, "PERMISSION_DENIED", "", Denied),
            (&get, 401, "UNAUTHENTICATED", "", Unauthorized),
        ] {
            let found = kind(method, status, code, message);
            assert_eq!(found, expected, "{method} {status} {code} {message}");
        }
    }

    #[test]
    fn a_token_that_lacks_a_scope_is_denied_but_not_that_of_nobody() {
        for (anonymous, expected) in [(false, ErrorKind::Denied), (true, ErrorKind::Unauthorized)] {
            let refusal = Refusal {
                method: &Method::GET,
                status: StatusCode::UNAUTHORIZED,
                errors: &[],
                retry_after: None,
                exhausted: false,
                lacks_scope: true,
                anonymous,
            };
            assert_eq!(refusal.kind(), expected);
        }
    }
}
