//! Amazon ECR, private and public registries.

use std::sync::Arc;

use super::Provider;
use crate::client::identity::AwsIdentity;
use crate::provider::ProviderKind;

pub(super) struct Ecr {
    kind: ProviderKind,
    identity: Option<Arc<dyn AwsIdentity>>,
}

impl Ecr {
    pub(super) fn private(identity: Option<Arc<dyn AwsIdentity>>) -> Self {
        Self { kind: ProviderKind::Ecr, identity }
    }

    pub(super) fn public(identity: Option<Arc<dyn AwsIdentity>>) -> Self {
        Self { kind: ProviderKind::EcrPublic, identity }
    }
}

impl Provider for Ecr {
    fn kind(&self) -> ProviderKind {
        self.kind
    }
}
