//! Harbor.

use super::Provider;
use crate::provider::ProviderKind;

pub(super) struct Harbor;

impl Provider for Harbor {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Harbor
    }
}
