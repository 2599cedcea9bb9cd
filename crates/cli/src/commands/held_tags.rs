//! Moving tags that a run does not move, in JSON.

use dockit_core::moving_tags::HeldTag;
use serde::Serialize;

/// A tag with the reason for which it stays where it is.
#[derive(Clone, Serialize)]
pub(super) struct HeldEntry {
    /// The tag; as it is configured, where a placeholder has no value.
    tag: String,
    kind: &'static str,
    reason: String,
}

impl HeldEntry {
    pub(super) fn of(held: &HeldTag) -> Self {
        Self { tag: held.name(), kind: held.reason.kind(), reason: held.reason.to_string() }
    }
}
