//! Tests of dockit-core without an engine and without a registry.

mod support;

mod aliases;
mod assembled;
mod backends;
mod build_options;
mod checks;
mod config;
mod endpoint;
mod execute;
mod git;
mod graph;
mod inputs;
mod invariants;
mod key_inputs;
mod keys;
mod layer_cache;
mod lockfile;
mod one_image;
mod plan;
mod platforms;
mod prepare;
mod pull;
mod pushed;
mod remote;
mod replace;
mod report;
mod repositories;
mod schedule;
mod secrets;
mod selection;
mod tags;
mod unfinished;
mod variants;
mod waiting;
mod why;
