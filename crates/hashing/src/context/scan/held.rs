//! Directories that stay open while what is below them waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::path::ContextPath;
use super::super::tree::Way;

/// How many may be open at a time, in all threads together: few enough for a process that may open
/// two dozen files.
const MOST: usize = 8;

/// Counts the directories that are held.
#[derive(Default)]
pub(super) struct Holding(Arc<AtomicUsize>);

/// A directory that stays open. Those below are found from here, in fewer steps than from the root.
pub(super) struct Held<D> {
    directory: D,
    /// Where in a path below begins what is below the directory.
    rest: usize,
    _place: Place,
}

/// Counts as one until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Holding {
    /// Holds the directory, or gives it back if enough are held.
    pub(super) fn hold<D>(
        &self,
        directory: D,
        path: Option<&ContextPath>,
    ) -> Result<Arc<Held<D>>, D> {
        if self.0.fetch_add(1, Ordering::Relaxed) >= MOST {
            self.0.fetch_sub(1, Ordering::Relaxed);
            return Err(directory);
        }
        let rest = path.map_or(0, |path| path.as_bytes().len() + 1);
        Ok(Arc::new(Held { directory, rest, _place: Place(self.0.clone()) }))
    }
}

impl<D> Held<D> {
    pub(super) fn directory(&self) -> &D {
        &self.directory
    }

    /// The way from here to what is below.
    pub(super) fn way(&self) -> Way<'_, D> {
        Way { directory: &self.directory, rest: self.rest }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_held_than_may_be() {
        let holding = Holding::default();
        let held: Vec<_> = (0..MOST).map(|number| holding.hold(number, None)).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(holding.hold(MOST, None).err(), Some(MOST));
        drop(held);
        assert!(holding.hold(0, None).is_ok());
    }
}
