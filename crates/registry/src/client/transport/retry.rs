//! Repeating what may pass.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use tokio::time::Instant;

use crate::error::Error;

/// How often and how patiently a failed request is repeated.
///
/// Repeated are lost connections, timeouts, 408, 429 and 5xx; never refusals, least of all of
/// credentials, which some registries answer with a ban. Every request of this crate can be repeated
/// without harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is sent at most, the first time included.
    pub tries: u32,
    /// The wait before the second try is at most this; it doubles with every try. Waits are random
    /// below their bound, so that many clients do not come back at once.
    pub base_delay: Duration,
    /// No bound grows above this.
    pub max_delay: Duration,
    /// A registry that asks for a longer wait than this is not waited for.
    pub max_retry_after: Duration,
    /// No wait is begun that would end later than this after the first try.
    pub give_up_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 6,
            base_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(60),
            give_up_after: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// Every request is sent once.
    pub fn none() -> Self {
        Self { tries: 1, ..Self::default() }
    }

    pub(super) async fn run<T, F>(&self, operation: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let start = Instant::now();
        let mut tried = 0;
        loop {
            let error = match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            tried += 1;
            if self.pause(&error, tried, start).await.is_none() {
                return Err(error);
            }
        }
    }

    /// Waits after the `tried`th failure; `None` is the end.
    pub(super) async fn pause(&self, error: &Error, tried: u32, since: Instant) -> Option<()> {
        let delay = self.delay(error, tried, since.elapsed())?;
        tracing::debug!(%error, tried, delay_ms = delay.as_millis() as u64, "trying again");
        tokio::time::sleep(delay).await;
        Some(())
    }

    /// How long to wait after the `tried`th failure; `None` is the end.
    fn delay(&self, error: &Error, tried: u32, elapsed: Duration) -> Option<Duration> {
        if !error.is_retryable() || tried >= self.tries {
            return None;
        }
        let delay = match error.retry_after() {
            Some(asked) if asked > self.max_retry_after => return None,
            Some(asked) => asked,
            None => {
                let doubled = 2_u32.saturating_pow(tried - 1);
                random_below(self.base_delay.saturating_mul(doubled).min(self.max_delay))
            }
        };
        (elapsed + delay <= self.give_up_after).then_some(delay)
    }
}

fn random_below(bound: Duration) -> Duration {
    // The standard library's only source of randomness; enough to keep clients apart.
    let random = RandomState::new().build_hasher().finish();
    let fraction = random as f64 / u64::MAX as f64;
    bound.mul_f64(fraction)
}

/// A `Retry-After` value: seconds, or a date, which counts from the reply's own `Date` if it has one.
pub(super) fn parse_retry_after(text: &str, date: Option<&str>) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    let now = date
        .and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok())
        .unwrap_or_else(OffsetDateTime::now_utc);
    Some(Duration::try_from(at - now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Details, ErrorKind};

    const SECOND: Duration = Duration::from_secs(1);

    fn limited(seconds: u64) -> Error {
        let retry_after = Some(Duration::from_secs(seconds));
        Error::new(ErrorKind::RateLimited { retry_after }, "x")
    }

    #[test]
    fn waits_double_up_to_a_bound_and_are_spread() {
        let policy = RetryPolicy { tries: 40, ..RetryPolicy::default() };
        let error = Error::new(ErrorKind::Transient, "x");
        for (tried, bound) in [(1, 200), (2, 400), (5, 3200), (20, 30_000), (39, 30_000)] {
            let waits: Vec<_> =
                (0..50).map(|_| policy.delay(&error, tried, Duration::ZERO).unwrap()).collect();
            assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(bound)), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait > Duration::from_millis(bound / 2)), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait < Duration::from_millis(bound / 2)), "{waits:?}");
        }
        assert_eq!(policy.delay(&error, 40, Duration::ZERO), None);
    }

    #[test]
    fn a_registry_is_waited_for_as_it_asks_but_not_for_ever() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay(&limited(7), 1, Duration::ZERO), Some(7 * SECOND));
        assert_eq!(policy.delay(&limited(61), 1, Duration::ZERO), None);
        assert_eq!(policy.delay(&limited(7), 1, 298 * SECOND), None);
        let details = Details { retry_after: Some(3 * SECOND), ..Details::default() };
        let unavailable = Error::with_details(ErrorKind::Transient, "x", details);
        assert_eq!(policy.delay(&unavailable, 1, Duration::ZERO), Some(3 * SECOND));
    }

    #[test]
    fn refusals_are_never_repeated() {
        for kind in [
            ErrorKind::NotFound,
            ErrorKind::Unauthorized,
            ErrorKind::Denied,
            ErrorKind::Invalid,
            ErrorKind::DigestMismatch,
            ErrorKind::Credential,
            ErrorKind::Tls,
        ] {
            let error = Error::new(kind, "x");
            assert_eq!(RetryPolicy::default().delay(&error, 1, Duration::ZERO), None, "{error:?}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let date = Some("Sun, 06 Nov 1994 08:49:30 GMT");
        for (text, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(parse_retry_after(text, date), expected.map(Duration::from_secs), "{text}");
        }
        let past = parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", None);
        assert_eq!(past, Some(Duration::ZERO));
    }
}
