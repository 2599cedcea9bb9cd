//! What the benchmarks compare: generated build contexts, the limits of the machine, and peers.

pub mod corpus;
pub mod limit;
pub mod packing;
pub mod peer;
pub mod random;
pub mod statistics;
pub mod turns;
pub mod words;
