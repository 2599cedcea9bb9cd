//! BuildKit as oracle: what a change does to dockit's key, against what it does to a build.
//!
//! A [`Row`] is a project and a change to it. BuildKit builds the project as it was and changed, each
//! time from a directory that it has not seen, so that what it remembers of an earlier transfer decides
//! nothing; that gives a [`Verdict`]. [`judge()`] compares it with what the two keys say. The rows are the
//! same for a live engine (`tests/real`) and for recorded verdicts (`tests/it`, [`records`]).
//!
//! Everything panics where it cannot go on, as tests do.

pub mod builder;
pub mod document;
pub mod judge;
pub mod key;
pub mod random;
pub mod recording;
pub mod records;
pub mod rows;
pub mod state;

pub use builder::Builder;
pub use judge::{Judgement, Verdict, judge};
pub use rows::{Needs, Row};
pub use state::State;

/// What the tests are told by whoever runs them.
pub fn setting(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "tests are told what to use")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
