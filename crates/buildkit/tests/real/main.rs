//! The client with a real Docker Engine, the one at `/var/run/docker.sock`. `scripts/test` runs this after
//! `scripts/setup`, which gives `DOCKIT_TEST_BASE`, a Debian image in a registry that the engine can pull
//! from.

#[path = "../it/tree.rs"]
mod tree;

mod context;
mod ending;
mod offers;
mod outputs;
mod run;
