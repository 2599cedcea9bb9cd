//! References in files: finding them, and keeping them true.

pub mod edit;
pub mod field;
pub mod rule;
pub mod scan;
pub mod targets;
