//! From changes to a tree, and from two trees to changes.

use std::sync::Arc;

use super::{Change, Entry, PathTooLong, Tree, push};

impl Tree {
    /// Applies a layer. What it removes is only what was there before, wherever in it that stands.
    ///
    /// # Errors
    ///
    /// A path is too long; some changes may have been applied.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), PathTooLong> {
        for change in changes {
            match change {
                Change::Put(..) => {}
                Change::Remove(path) => self.remove(path),
                Change::Clear(path) => self.clear(path),
            }
        }
        for change in changes {
            if let Change::Put(path, node) = change {
                self.put(path, node.clone())?;
            }
        }
        Ok(())
    }

    /// What makes this tree of an `earlier` one that it was cloned from, sorted by the bytes of the
    /// paths. What was put anew counts even if it is as before.
    ///
    /// The directories that hold a change are always among them, as engines expect: whoever unpacks a
    /// layer by itself would otherwise not know their attributes. The root is not.
    pub fn changes_since(&self, earlier: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        compare(&self.root, Some(&earlier.root), &mut Vec::new(), &mut changes);
        changes.sort_by(|one, other| one.path().cmp(other.path()));
        changes
    }
}

fn compare(
    entry: &Arc<Entry>,
    earlier: Option<&Arc<Entry>>,
    path: &mut Vec<u8>,
    changes: &mut Vec<Change>,
) {
    if earlier.is_some_and(|earlier| Arc::ptr_eq(entry, earlier)) {
        return;
    }
    if !path.is_empty() {
        changes.push(Change::Put(path.clone(), entry.node.clone()));
    }
    // What a file or link hid is gone without being said.
    let earlier = earlier.filter(|_| entry.node.is_directory());
    let length = path.len();
    for (name, child) in &entry.children {
        push(path, name);
        compare(child, earlier.and_then(|earlier| earlier.children.get(name)), path, changes);
        path.truncate(length);
    }
    for name in earlier.into_iter().flat_map(|earlier| earlier.children.keys()) {
        if !entry.children.contains_key(name) {
            push(path, name);
            changes.push(Change::Remove(path.clone()));
            path.truncate(length);
        }
    }
}
