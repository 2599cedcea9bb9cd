//! Generators of synthetic build contexts.
