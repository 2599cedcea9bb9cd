//! Whether a machine has a metadata server of a cloud.

use std::time::Duration;
#[cfg(any(feature = "azure", feature = "google"))]
use std::time::Instant;

/// How long it is remembered that nobody answered: a server that is busy, or is being set up, may do so
/// later.
pub(super) const SILENCE_MEMORY: Duration = Duration::from_secs(30);

/// What is known of a metadata server.
#[cfg(any(feature = "azure", feature = "google"))]
#[derive(Clone, Copy, Debug)]
pub(super) enum Presence {
    There,
    /// Something else answers at its address, or the address leads nowhere. That does not change.
    Elsewhere,
    /// Nobody answered in time, then.
    Silent(Instant),
}

#[cfg(any(feature = "azure", feature = "google"))]
impl Presence {
    /// What a request says that got no answer.
    pub(super) fn unanswered(error: &reqwest::Error) -> Self {
        let refused = error.is_connect() && !error.is_timeout();
        if refused { Self::Elsewhere } else { Self::Silent(Instant::now()) }
    }

    /// Whether that need not be asked again.
    pub(super) fn is_known(&self) -> bool {
        match self {
            Self::There | Self::Elsewhere => true,
            Self::Silent(since) => since.elapsed() < SILENCE_MEMORY,
        }
    }
}
