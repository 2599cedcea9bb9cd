//! What is assembled, against what BuildKit builds of the same: that of the Docker Engine at
//! `/var/run/docker.sock`. `scripts/test` runs this.

mod config;
mod engine;
#[path = "../it/layers.rs"]
mod layers;
mod ours;
mod tar;
mod trees;
