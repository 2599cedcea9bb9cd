//! What is in one directory, and what of it is listed.

use std::sync::atomic::Ordering;

use super::super::digest::FileDigest;
use super::super::error::{ContextError, ContextErrorKind};
use super::super::ignore::Verdict;
use super::super::listing::{Entry, Node};
use super::super::mode::FileMode;
use super::super::path::{ContextPath, Siblings};
use super::super::selection::Choice;
use super::super::stamp::Stamp;
use super::super::stat_cache::{Learned, Names, Record, by_name};
use super::super::tree::{Failure, Kind, Tree};
use super::order::Item;
use super::{Context, Directory, File, Scan};

/// Paths that share their memory.
const TOGETHER: usize = 128;

/// Reads one directory.
pub(super) struct Reader<'s, 'a, T: Tree> {
    pub(super) scan: &'s Scan<'a, T>,
    pub(super) directory: &'s Directory<T::Directory>,
    /// What needs no more to be done.
    pub(super) items: Vec<Item>,
    pub(super) files: Vec<File>,
    pub(super) below: Vec<Directory<T::Directory>>,
}

impl<T: Tree> Reader<'_, '_, T> {
    /// Meets what the record says.
    pub(super) fn repeat(&mut self, record: &Record<'_>) {
        self.files.reserve(record.entries.len());
        let mut paths = Siblings::new(self.directory.path.as_ref());
        for entries in record.entries.chunks(TOGETHER) {
            entries.iter().for_each(|entry| paths.add(entry.name));
            for (path, entry) in paths.take().zip(entries) {
                self.meet(None, path, Ok(entry.kind), entry.file);
            }
        }
    }

    /// Opens the directory, meets what it says, and learns it. The digests of the record's files may be right
    /// still.
    pub(super) fn list(
        &mut self,
        record: Option<&Record<'_>>,
        all_learned: &mut Vec<Learned>,
    ) -> Result<T::Directory, Failure> {
        let Scan { tree, memory, .. } = self.scan;
        let path = self.directory.path.as_ref();
        let opened = tree.directory(self.directory.way(), path)?;
        // Should the directory change while it is listed, it has another stamp afterwards.
        let stamp = memory.map(|_| tree.directory_stamp(&opened)).transpose()?;
        let known = record.map(by_name).unwrap_or_default();
        let mut names = Some(Names::default()).filter(|_| memory.is_some());
        let mut paths = Siblings::new(path);
        let mut kinds = Vec::new();
        let mut meet = |paths: &mut Siblings<'_>, kinds: &mut Vec<std::io::Result<Kind>>| {
            for (path, kind) in paths.take().zip(kinds.drain(..)) {
                let known = known.get(path.name()).copied();
                self.meet(Some(&opened), path, kind, known);
            }
        };
        tree.list(&opened, &mut |name, kind| {
            match (&mut names, &kind) {
                (Some(names), Ok(kind)) => names.add(name.as_encoded_bytes(), *kind),
                _ => names = None,
            }
            paths.add(name.as_encoded_bytes());
            kinds.push(kind);
            if paths.len() == TOGETHER {
                meet(&mut paths, &mut kinds);
            }
        })?;
        meet(&mut paths, &mut kinds);
        // All threads sort, so that little is left to one. Records are in this order.
        self.files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        if let Some(names) = names {
            let stamp = stamp.filter(|stamp| memory.is_some_and(|memory| memory.trusts(stamp)));
            let mut learned = Learned::about(path.cloned());
            learned.listed(names, stamp);
            all_learned.push(learned);
        }
        Ok(opened)
    }

    fn meet(
        &mut self,
        opened: Option<&T::Directory>,
        path: ContextPath,
        kind: std::io::Result<Kind>,
        known: Option<(Stamp, FileDigest)>,
    ) {
        if let Err((path, error)) = self.look_at(opened, path, kind, known) {
            self.scan.fail(Some(path), error);
        }
    }

    fn look_at(
        &mut self,
        opened: Option<&T::Directory>,
        path: ContextPath,
        kind: std::io::Result<Kind>,
        known: Option<(Stamp, FileDigest)>,
    ) -> Result<(), (ContextPath, ContextError)> {
        let tree = self.scan.tree;
        let Context { rules, never, selection, .. } = self.scan.context;
        if never.holds(&path) {
            return Ok(());
        }
        let verdict = rules.judge(&path, &self.directory.verdict);
        let choice = selection.choose(&path, &self.directory.choice);
        let listed = !verdict.excluded && choice.selected;
        let kind = match kind {
            Ok(kind) => kind,
            Err(error) => {
                let error = ContextError::reading(&path.below(tree.root()), error);
                return Err((path, error));
            }
        };
        match kind {
            Kind::Directory => {
                let below = choice.may_select_below
                    && (!verdict.excluded || rules.may_bring_back_below(path.as_bytes()));
                self.directory(path, listed, below.then_some((verdict, choice)))
            }
            Kind::File if listed => {
                self.files.push(File { path, known });
                Ok(())
            }
            Kind::Symlink if listed => match tree.link(opened, &path) {
                Ok(target) => {
                    let node = Node::Symlink { target };
                    self.items.push(Item::Entry(Entry { path, node }));
                    Ok(())
                }
                Err(failure) => {
                    let error = failure.at(&path.below(tree.root()));
                    Err((path, error))
                }
            },
            Kind::Special(special) if listed => {
                let location = path.below(tree.root());
                Err((path, ContextError::new(ContextErrorKind::SpecialFile(special), location)))
            }
            Kind::File | Kind::Symlink | Kind::Special(_) => Ok(()),
        }
    }

    /// `below` is what the paths below inherit, if any of them may be listed.
    fn directory(
        &mut self,
        path: ContextPath,
        listed: bool,
        below: Option<(Verdict, Choice)>,
    ) -> Result<(), (ContextPath, ContextError)> {
        if !listed && below.is_none() {
            return Ok(());
        }
        let mode = match self.mode(&path) {
            Ok(mode) => mode,
            Err(error) => {
                let error = ContextError::reading(&path.below(self.scan.tree.root()), error);
                return Err((path, error));
            }
        };
        let entry = Entry { path: path.clone(), node: Node::Directory { mode } };
        let Some((verdict, choice)) = below else {
            self.items.push(Item::Entry(entry));
            return Ok(());
        };
        let id = self.scan.directories.fetch_add(1, Ordering::Relaxed);
        let unlisted = if listed {
            self.items.push(Item::Entry(entry));
            None
        } else {
            Some(Box::new(entry))
        };
        self.items.push(Item::Below { path: path.clone(), directory: id, unlisted });
        self.below.push(Directory { id, path: Some(path), above: None, verdict, choice });
        Ok(())
    }

    fn mode(&self, path: &ContextPath) -> std::io::Result<FileMode> {
        if !self.scan.context.strict_modes {
            return Ok(FileMode::DIRECTORY);
        }
        self.scan.tree.stat(Some(path)).map(|stamp| FileMode::strict(stamp.mode))
    }
}
