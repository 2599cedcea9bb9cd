//! What the threads found, brought into the order of a listing.

use std::cmp::Ordering;

use super::super::listing::Entry;
use super::super::path::ContextPath;

/// What one task found in one directory, in order.
pub(super) struct Part {
    directory: DirectoryId,
    items: Vec<Item>,
}

impl Part {
    /// Brings the items into order.
    pub(super) fn new(directory: DirectoryId, mut items: Vec<Item>) -> Self {
        sort(&mut items);
        Self { directory, items }
    }
}

/// Number of a directory that is read, in the order in which they were met: higher than that of the
/// directory that holds it. The root is 0.
pub(super) type DirectoryId = u32;

pub(super) enum Item {
    Entry(Entry),
    /// What is below a directory, for which there may be an entry as well.
    Below {
        path: ContextPath,
        directory: DirectoryId,
        unlisted: Option<Box<Entry>>,
    },
}

impl Item {
    fn path(&self) -> &ContextPath {
        match self {
            Self::Entry(entry) => &entry.path,
            Self::Below { path, .. } => path,
        }
    }

    /// Its name, which starts at `start` in its path, and whether it stands for the path with a
    /// slash behind it.
    fn key(&self, start: usize) -> (&[u8], bool) {
        (&self.path().as_bytes()[start..], matches!(self, Self::Below { .. }))
    }
}

/// All entries by the bytes of their paths, each path once. An unlisted directory that holds a
/// listed one becomes one.
///
/// Only the names within one directory are compared: whatever is below a directory stands together
/// at the place where its path with a slash behind it sorts.
pub(super) fn in_order(directories: usize, parts: Vec<Part>) -> Vec<Entry> {
    let mut found: Vec<Found> = Vec::new();
    found.resize_with(directories, Found::default);
    for part in parts {
        found[part.directory as usize].add(part.items);
    }
    bring_back(&mut found);
    let total = found
        .iter()
        .flat_map(|found| &found.items)
        .filter(|item| matches!(item, Item::Entry(_)))
        .count();
    let mut entries: Vec<Entry> = Vec::with_capacity(total);
    let mut open: Vec<std::vec::IntoIter<Item>> = Vec::new();
    let mut next = Some(0);
    loop {
        if let Some(directory) = next.take() {
            let Found { mut items, in_order } = std::mem::take(&mut found[directory as usize]);
            if !in_order {
                sort(&mut items);
            }
            open.push(items.into_iter());
        }
        let Some(items) = open.last_mut() else { break };
        match items.next() {
            Some(Item::Entry(entry)) => entries.push(entry),
            Some(Item::Below { directory, .. }) => next = Some(directory),
            None => {
                open.pop();
            }
        }
    }
    entries
}

/// What all tasks found in one directory.
struct Found {
    items: Vec<Item>,
    in_order: bool,
}

impl Default for Found {
    fn default() -> Self {
        Self { items: Vec::new(), in_order: true }
    }
}

impl Found {
    fn add(&mut self, items: Vec<Item>) {
        if self.items.is_empty() {
            self.items = items;
        } else if !items.is_empty() {
            self.items.extend(items);
            self.in_order = false;
        }
    }
}

/// Lists unlisted directories as parents of something that is listed.
fn bring_back(found: &mut [Found]) {
    let mut holds = vec![false; found.len()];
    // What is deeper has a higher number.
    for directory in (0..found.len()).rev() {
        let mut parents = Vec::new();
        let mut some = false;
        for item in &mut found[directory].items {
            match item {
                Item::Entry(_) => some = true,
                Item::Below { directory, unlisted, .. } if holds[*directory as usize] => {
                    some = true;
                    parents.extend(unlisted.take().map(|entry| Item::Entry(*entry)));
                }
                Item::Below { .. } => {}
            }
        }
        holds[directory] = some;
        found[directory].add(parents);
    }
}

/// By name, each once, as if there was a slash behind the names that stand for what is below.
fn sort(items: &mut Vec<Item>) {
    let Some(first) = items.first() else { return };
    let start = first.path().as_bytes().len() - first.path().name().len();
    items.sort_by(|one, other| compare(one.key(start), other.key(start)));
    // A directory that changes while it is read may name something twice.
    items.dedup_by(|second, first| first.key(start) == second.key(start));
}

fn compare((one, one_below): (&[u8], bool), (other, other_below): (&[u8], bool)) -> Ordering {
    let shared = one.len().min(other.len());
    one[..shared].cmp(&other[..shared]).then_with(|| {
        let next = |name: &[u8], below: bool| {
            name.get(shared)
                .copied()
                .or(below.then_some(b'/'))
                .map_or(0, |byte| 1 + u16::from(byte))
        };
        next(one, one_below).cmp(&next(other, other_below))
    })
}
