//! What a token says of itself, where it is a JWT (RFC 7519). Nothing here is verified: the servers that
//! the token is for do that.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The claims that say how long a token is good, and of whom it is.
#[derive(Debug, Default, Deserialize)]
pub(in crate::client) struct Claims {
    /// When it expires, in seconds since 1970.
    exp: Option<f64>,
    /// When it was issued.
    iat: Option<f64>,
    /// The Entra tenant.
    pub(in crate::client) tid: Option<String>,
}

impl Claims {
    /// The claims of a token; none if it is no JWT.
    pub(in crate::client) fn of(token: &str) -> Self {
        let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        payload.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }

    /// How long the token is good from now on, in seconds. By the issuer's clock where it says when it
    /// issued the token, as ours may differ.
    pub(in crate::client) fn lifetime(&self) -> Option<f64> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let lifetime = self.exp? - self.iat.unwrap_or_else(now);
        lifetime.is_finite().then_some(lifetime)
    }

    /// When the token expires, if that is within a year.
    pub(in crate::client) fn expires(&self) -> Option<SystemTime> {
        const YEAR: f64 = 365.0 * 24.0 * 3600.0;
        let lifetime = self.lifetime()?.clamp(0.0, YEAR);
        Some(SystemTime::now() + Duration::from_secs_f64(lifetime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn lifetimes_are_read_by_the_issuers_clock() {
        for (token, lifetime) in [
            (token(r#"{"exp":1700004500,"iat":1700000000}"#), Some(4500.0)),
            (token(r#"{"iat":1700000000}"#), None),
            (token("[]"), None),
            ("opaque".to_owned(), None),
            ("a.!.c".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(Claims::of(&token).lifetime(), lifetime, "{token}");
        }
        let old = Claims::of(&token(r#"{"exp":1000}"#));
        assert!(old.lifetime().is_some_and(|lifetime| lifetime < 0.0));
        assert!(old.expires().is_some_and(|at| at <= SystemTime::now()));
        let far = Claims::of(&token(r#"{"exp":1e300,"iat":0,"tid":"t"}"#));
        assert!(far.expires().is_some() && far.tid.as_deref() == Some("t"));
    }
}
