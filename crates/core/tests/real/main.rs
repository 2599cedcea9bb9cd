//! Backends with a real daemon behind them. `scripts/test` runs this after `scripts/setup`, which gives
//! `DOCKIT_TEST_BASE`; where `DOCKIT_BUILDKIT` names a buildkitd, it runs the ignored tests as well.

mod buildkit;
mod daemon;
mod place;
