//! Following links inside a tree.

use std::collections::VecDeque;

use super::{NodeKind, Tree, components, push};

/// As many links as BuildKit follows on one way.
const MOST_LINKS: usize = 255;

/// A path leads over too many links, or in a circle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many links on the way to {}", path.escape_ascii())]
pub struct TooManyLinks {
    path: Vec<u8>,
}

impl Tree {
    /// Where a path leads, as if the tree were a file system of its own: links are followed, the last
    /// one too, and none leads out of the root. What is not there is taken as it is spelled.
    ///
    /// # Errors
    ///
    /// There are too many links.
    pub fn resolve(&self, path: &[u8]) -> Result<Vec<u8>, TooManyLinks> {
        self.follow(b"", clean(path))
    }

    /// The same for all but the last name of a path.
    ///
    /// # Errors
    ///
    /// There are too many links.
    pub fn resolve_directory(&self, path: &[u8]) -> Result<Vec<u8>, TooManyLinks> {
        let mut names = clean(path);
        let Some(last) = names.pop_back() else {
            return Ok(Vec::new());
        };
        let mut resolved = self.follow(b"", names)?;
        push(&mut resolved, &last);
        Ok(resolved)
    }

    /// Where a path leads if `root`, which no link leads to, counts as the root.
    ///
    /// # Errors
    ///
    /// There are too many links.
    pub fn resolve_below(&self, root: &[u8], path: &[u8]) -> Result<Vec<u8>, TooManyLinks> {
        self.follow(root, clean(path))
    }

    fn follow(&self, root: &[u8], mut names: VecDeque<Vec<u8>>) -> Result<Vec<u8>, TooManyLinks> {
        let mut resolved = root.to_vec();
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            let length = resolved.len();
            push(&mut resolved, &name);
            let Some(NodeKind::Symlink { target }) = self.get(&resolved).map(|node| &node.kind)
            else {
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                return Err(TooManyLinks { path: resolved });
            }
            resolved.truncate(length);
            // The text alone decides where `..` leads, which is right for a directory without links.
            let directory = if target.starts_with(b"/") { b"" } else { &resolved[root.len()..] };
            let mut ahead = clean(&[directory, b"/", target].concat());
            ahead.append(&mut names);
            names = ahead;
            resolved.truncate(root.len());
        }
        Ok(resolved)
    }
}

/// The names of a path from the root, by its text alone: `..` leads no higher than the root.
pub(super) fn clean(path: &[u8]) -> VecDeque<Vec<u8>> {
    let mut names = VecDeque::new();
    for name in components(path) {
        match name {
            b"." => {}
            b".." => drop(names.pop_back()),
            _ => names.push_back(name.to_vec()),
        }
    }
    names
}
