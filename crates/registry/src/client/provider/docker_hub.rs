//! Docker Hub.

use super::Provider;
use crate::provider::ProviderKind;

pub(super) struct DockerHub;

impl Provider for DockerHub {
    fn kind(&self) -> ProviderKind {
        ProviderKind::DockerHub
    }
}
