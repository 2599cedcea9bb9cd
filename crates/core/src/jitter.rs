//! Pauses that are not the same for everybody.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Between half of the pause and all of it: what waits for the same does not come back at once.
pub(crate) fn jittered(pause: Duration) -> Duration {
    // The standard library's only source of randomness; enough to keep runs apart.
    let random = RandomState::new().build_hasher().finish() >> 11;
    #[expect(clippy::cast_precision_loss, reason = "it has 53 bits")]
    let random = random as f64 / (1_u64 << 53) as f64;
    pause.mul_f64(0.5 + random / 2.0)
}
