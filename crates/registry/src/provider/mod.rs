//! Whose registry a host is, and what is known of it.

mod kind;
mod settings;

pub use kind::{ProviderKind, UnknownProvider};
pub use settings::{Registries, RegistrySettings};
