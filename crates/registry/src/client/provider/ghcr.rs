//! GitHub's container registry.

use super::Provider;
use crate::provider::ProviderKind;

pub(super) struct Ghcr;

impl Provider for Ghcr {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Ghcr
    }
}
