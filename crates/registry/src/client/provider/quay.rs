//! Quay.

use super::Provider;
use crate::provider::ProviderKind;

pub(super) struct Quay;

impl Provider for Quay {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Quay
    }
}
