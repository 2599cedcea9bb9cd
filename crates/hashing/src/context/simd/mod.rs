//! SHA-256 of several contents at the same time, with instructions that not every processor has.
//!
//! All `unsafe` of this crate is in what uses such instructions, with its reasons.

mod constants;
pub(super) mod sixteen;
pub(super) mod two;
