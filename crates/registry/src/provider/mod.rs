//! Whose registry a host is, and what is known of it.

mod kind;
mod settings;

#[cfg(feature = "client")]
pub(crate) use kind::EcrHost;
pub use kind::{ProviderKind, UnknownProvider};
pub use settings::{Registries, RegistrySettings};
