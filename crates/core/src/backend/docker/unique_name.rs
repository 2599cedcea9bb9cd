//! Names that no two processes give.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Another name with every call.
pub(super) fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("dockit-{}-{now:x}-{count}", std::process::id())
}

/// Whether this can be one of [`unique_name`]'s, of whatever process.
pub(super) fn is_unique_name(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("dockit-") else {
        return false;
    };
    let parts: Vec<&str> = rest.split('-').collect();
    let of = |part: &str, radix| !part.is_empty() && part.chars().all(|c| c.is_digit(radix));
    matches!(parts[..], [process, now, count] if of(process, 10) && of(now, 16) && of(count, 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_are_known_again() {
        let (one, other) = (unique_name(), unique_name());
        assert_ne!(one, other);
        assert!(is_unique_name(&one) && is_unique_name(&other));
    }
}
