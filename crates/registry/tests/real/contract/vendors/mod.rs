//! The registries that the contract is checked against.

mod htpasswd;
mod plain;
mod token;
