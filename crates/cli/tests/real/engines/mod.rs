//! Other engines than the one that answers anyway: a second Docker Engine whose layer cache is empty,
//! one behind ssh, one behind TLS, and Podman.

mod cold;
mod podman;
mod process;
mod ssh;
mod tls;

pub(crate) use cold::SecondEngine;
