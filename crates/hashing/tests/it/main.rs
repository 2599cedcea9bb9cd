//! Tests of dockit-hashing over its public interface.

mod archive;
mod context;
mod dockerfile;
mod ignore;
mod programs;
mod properties;
