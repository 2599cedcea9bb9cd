//! What is no part of a build context, whatever its ignore file says.

use std::path::{Component, Path, PathBuf};

use super::path::ContextPath;

/// Paths that are no part of a build context, whatever its ignore file says.
#[derive(Debug)]
pub(super) struct Never(Vec<Box<[u8]>>);

impl Never {
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        Self(paths.iter().filter_map(|path| plain(path)).collect())
    }

    /// Whether everything in the context is below one of the paths.
    pub(super) fn holds_root(&self) -> bool {
        self.0.iter().any(|path| path.is_empty())
    }

    /// Whether it is one of the paths. What is below one is never reached.
    pub(super) fn holds(&self, path: &ContextPath) -> bool {
        self.0.iter().any(|never| **never == *path.as_bytes())
    }
}

/// The path as [`ContextPath`] spells it, or nothing for the root; none if it leads elsewhere.
pub(super) fn plain(path: &Path) -> Option<Box<[u8]>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => names.push(name.as_encoded_bytes()),
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return None,
        }
    }
    Some(names.join(&b'/').into())
}
