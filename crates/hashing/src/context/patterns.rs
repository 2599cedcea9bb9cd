//! The patterns of `COPY` and `ADD`, for whoever copies what a [`Selection`](super::Selection) selects.
//!
//! Of one that cannot be understood a selection takes too much, so that no change goes unseen. Here it
//! is told.

pub use super::selection::{Filter, Filtered, Verdicts, has_wildcard, is_malformed, matches};
