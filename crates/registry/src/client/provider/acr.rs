//! Azure Container Registry.

use std::sync::Arc;

use super::Provider;
use crate::client::identity::TokenIdentity;
use crate::provider::ProviderKind;

pub(super) struct Acr {
    identity: Option<Arc<dyn TokenIdentity>>,
}

impl Acr {
    pub(super) fn new(identity: Option<Arc<dyn TokenIdentity>>) -> Self {
        Self { identity }
    }
}

impl Provider for Acr {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Acr
    }
}
