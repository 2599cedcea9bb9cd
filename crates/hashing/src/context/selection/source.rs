//! One source of an instruction.

use std::sync::Arc;

use super::filter::Filter;
use super::wildcard::{Wildcard, has_wildcard};

/// Something that an instruction reads from the build context, as its text names it.
///
/// Paths are relative to the context's root even with a `/` in front, and `..` does not lead out of
/// it. A symbolic link on the way is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The part without wildcards: a path in the context, empty for the root.
    pub(super) base: Vec<u8>,
    pub(super) reach: Reach,
    pub(super) filter: Option<Arc<Filter>>,
}

/// What a source reads at and below its base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The base, and everything below that the filter leaves in.
    Tree,
    /// The same of everything that the pattern matches below the base; the base as a directory.
    Matches(Arc<Wildcard>),
    /// The base as a link or a directory, but nothing below.
    Itself,
}

impl Source {
    /// What `COPY` and `ADD` read: a file, a directory with everything below, or, with one of
    /// `*?[`, everything that matches by the rules of Go's `path.Match`, hidden files included; a
    /// directory that matches stands for everything below.
    pub fn copy(path: impl AsRef<[u8]>) -> Self {
        let components = clean(path.as_ref());
        let plain = components.iter().take_while(|component| !has_wildcard(component)).count();
        let (base, pattern) = components.split_at(plain);
        let reach = if pattern.is_empty() {
            Reach::Tree
        } else {
            Reach::Matches(Arc::new(Wildcard::new(&pattern.join(&b'/'))))
        };
        Self { base: base.join(&b'/'), reach, filter: None }
    }

    /// What `COPY --parents` reads: everything below the part in front of the first `/./`, or
    /// below the root, that the rest matches as a line of `.dockerignore` would.
    pub fn parents(path: impl AsRef<[u8]>) -> Self {
        const PIVOT: &[u8] = b"/./";
        let path = path.as_ref();
        let pivot = path.windows(PIVOT.len()).position(|bytes| bytes == PIVOT);
        let (base, pattern) = match pivot {
            Some(at) => (&path[..at], &path[at + PIVOT.len()..]),
            None => (&b""[..], path),
        };
        let pattern = clean(pattern).join(&b'/');
        let filter = Filter::new(Some(&pattern), &[]).map(Arc::new);
        Self { filter, ..Self::copy(base) }
    }

    /// What a bind mount reads: a file, or a directory with everything below.
    pub fn mount(path: impl AsRef<[u8]>) -> Self {
        Self { base: clean(path.as_ref()).join(&b'/'), reach: Reach::Tree, filter: None }
    }

    /// Without what one of the patterns of `--exclude` matches below the source.
    #[must_use]
    pub fn excluding(mut self, patterns: &[impl AsRef<[u8]>]) -> Self {
        let patterns: Vec<_> = patterns.iter().map(|pattern| pattern.as_ref().to_vec()).collect();
        if let Some(exclude) = Filter::new(None, &patterns) {
            let filter = match self.filter.as_deref() {
                Some(filter) => filter.clone().and(exclude),
                None => exclude,
            };
            self.filter = Some(Arc::new(filter));
        }
        self
    }

    /// Whether it reads the whole context by its text alone.
    pub fn is_whole(&self) -> bool {
        self.base.is_empty() && self.filter.is_none() && matches!(self.reach, Reach::Tree)
    }
}

/// The components of a path from the context's root, by its text alone.
fn clean(path: &[u8]) -> Vec<&[u8]> {
    let mut components = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop()),
            _ => components.push(component),
        }
    }
    components
}
