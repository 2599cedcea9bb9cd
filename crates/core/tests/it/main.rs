//! Tests of dockit-core without an engine and without a registry.

mod support;

mod config;
mod execute;
mod graph;
mod inputs;
mod invariants;
mod key_inputs;
mod keys;
mod lockfile;
mod plan;
mod prepare;
mod pull;
mod remote;
mod repositories;
mod why;
