//! What of a build context a build reads.

use super::path::ContextPath;

/// The paths of a build context that a build reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(());

/// What a selection says about one path, and what the paths below it inherit.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Whether the path itself is read.
    pub(super) selected: bool,
    /// Whether a path below may be.
    pub(super) may_select_below: bool,
}

impl Selection {
    /// Everything.
    pub fn whole() -> Self {
        Self(())
    }

    /// What it says about the context's root, which is never listed itself.
    pub(super) fn root(&self) -> Choice {
        Choice { selected: true, may_select_below: true }
    }

    /// What it says about a path whose directory has the choice `parent`.
    pub(super) fn choose(&self, _path: &ContextPath, parent: &Choice) -> Choice {
        parent.clone()
    }
}
