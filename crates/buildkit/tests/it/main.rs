//! The client against a BuildKit of the tests, over connections in memory.

mod fake;
mod tree;

mod ending;
mod files;
mod session;
