//! A build's stream, in whichever form the engine writes it.

use bollard::models::BuildInfo;
use dockit_registry::Reference;

use super::EngineKind;
use super::classic::Classic;
use super::progress::Progress;
use crate::backend::BuildObserver;

/// What becomes of a build's stream.
pub(super) enum Following<'a> {
    BuildKit(Progress<'a>),
    Classic(Classic<'a>),
}

impl<'a> Following<'a> {
    pub(super) fn new(
        kind: EngineKind,
        observer: &'a dyn BuildObserver,
        keyed_images: Vec<Reference>,
    ) -> Self {
        match kind {
            EngineKind::Docker => Self::BuildKit(Progress::new(observer, keyed_images)),
            EngineKind::Podman => Self::Classic(Classic::new(observer, keyed_images)),
        }
    }

    pub(super) fn take(&mut self, info: BuildInfo) {
        match self {
            Self::BuildKit(progress) => progress.take(info),
            Self::Classic(classic) => classic.take(info),
        }
    }

    pub(super) fn unkeyed_image(&self) -> Option<&str> {
        match self {
            Self::BuildKit(progress) => progress.unkeyed_image(),
            Self::Classic(classic) => classic.unkeyed_image(),
        }
    }

    pub(super) fn image_id(&self) -> Option<String> {
        match self {
            Self::BuildKit(progress) => progress.image_id(),
            Self::Classic(classic) => classic.image_id(),
        }
    }

    /// Whether the failure is that of a command which ran.
    pub(super) fn is_of_a_command(&self, error: &str) -> bool {
        match self {
            Self::BuildKit(progress) => progress.is_of_a_command(error),
            // Which of its failures are is not told apart.
            Self::Classic(_) => true,
        }
    }

    pub(super) fn failure(&mut self, error: &str) -> Option<String> {
        match self {
            Self::BuildKit(progress) => progress.failure(),
            Self::Classic(classic) => classic.failure(error),
        }
    }
}
