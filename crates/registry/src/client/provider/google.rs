//! Google Artifact Registry, also behind the host names of Container Registry.

use std::sync::Arc;

use super::Provider;
use crate::client::identity::TokenIdentity;
use crate::provider::ProviderKind;

pub(super) struct Google {
    identity: Option<Arc<dyn TokenIdentity>>,
}

impl Google {
    pub(super) fn new(identity: Option<Arc<dyn TokenIdentity>>) -> Self {
        Self { identity }
    }
}

impl Provider for Google {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Google
    }
}
