//! What the configuration says of changes.

use dockit_hashing::context::ContextPath;
use dockit_hashing::context::ignore::IgnoreRules;

/// Which files of a range matter more, or less, than keys tell: patterns as in a `.dockerignore`, over
/// paths from the repository's top level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangedSettings {
    /// Files whose changes affect no image.
    pub ignore: IgnoreRules,
    /// Files whose changes affect all images, also if `ignore` matches them.
    pub all: IgnoreRules,
}

impl ChangedSettings {
    /// Whether a change of this file, relative to the top level, affects no image.
    pub(super) fn ignores(&self, path: &[u8]) -> bool {
        ContextPath::new(path).is_some_and(|path| self.ignore.excludes(&path))
    }

    /// Whether a change of this file, relative to the top level, affects all images.
    pub(super) fn affects_all(&self, path: &[u8]) -> bool {
        ContextPath::new(path).is_some_and(|path| self.all.excludes(&path))
    }
}
