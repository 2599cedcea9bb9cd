//! GitLab's container registry.

use super::Provider;
use crate::provider::ProviderKind;

pub(super) struct Gitlab;

impl Provider for Gitlab {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Gitlab
    }
}
