//! What the entries of a layer come to, one after another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;

use super::header::EntryType;
use super::reader::ReadEntry;
use super::spool::{Spool, Stored};
use super::{OPAQUE, WHITEOUT, damaged};
use crate::tree::{Change, FileNode, LONGEST_PATH, Meta, Node, NodeKind, new_hard_link};

/// What names at the top begin with that AUFS kept its own files under.
const AUFS: &[u8] = b".wh..wh.";

/// Most links that a path may lead over.
const MOST_LINKS: usize = 255;

/// The mode of every symbolic link: no system keeps another.
const SYMLINK_MODE: u32 = 0o777;

/// What a layer has at its paths.
///
/// Entries mean what they do where a runtime unpacks them into an empty root that nothing leads out of:
/// the last of one name counts, `..` ends at the root, and links that the layer itself has put are
/// followed on the way to a name.
#[derive(Default)]
pub(super) struct Names {
    /// Positions of nodes, which several names may share.
    paths: BTreeMap<Vec<u8>, usize>,
    nodes: Vec<Node>,
    removed: BTreeSet<Vec<u8>>,
    cleared: BTreeSet<Vec<u8>>,
}

impl Names {
    pub(super) fn add(&mut self, entry: ReadEntry, spool: &Arc<Spool>) -> io::Result<()> {
        let names = clean(&entry.path);
        let Some((name, parents)) = names.split_last() else {
            return self.root(entry, spool);
        };
        if names[0].starts_with(AUFS) && names[0] != OPAQUE {
            return Ok(());
        }
        let parent = self.follow(parents)?;
        if *name == OPAQUE {
            self.cleared.insert(parent);
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(damaged("a whiteout hides no name"));
            }
            self.removed.insert(join(&parent, hidden)?);
            return Ok(());
        }
        let path = join(&parent, name)?;
        if entry.entry_type != EntryType::HardLink {
            let node = node(entry, spool);
            self.put(path, node);
            return Ok(());
        }
        let target = self.target(&entry.link, &path)?;
        relink(&mut self.nodes[target], &entry);
        self.displace(&path, false);
        self.paths.insert(path, target);
        Ok(())
    }

    /// What the layer changes, sorted by path.
    pub(super) fn into_changes(self) -> Vec<Change> {
        let Self { paths, mut nodes, removed, cleared } = self;
        let mut names = vec![0_usize; nodes.len()];
        for node in paths.values() {
            names[*node] += 1;
        }
        for (node, names) in nodes.iter_mut().zip(names) {
            if let NodeKind::File(file) = &mut node.kind
                && names > 1
            {
                file.hard_link = new_hard_link();
            }
        }
        let mut changes: Vec<Change> = removed.into_iter().map(Change::Remove).collect();
        changes.extend(cleared.into_iter().map(Change::Clear));
        let put = paths.into_iter().map(|(path, node)| Change::Put(path, nodes[node].clone()));
        changes.extend(put);
        // Stable: what is removed comes before what is put.
        changes.sort_by(|one, other| one.path().cmp(other.path()));
        changes
    }

    fn root(&mut self, entry: ReadEntry, spool: &Arc<Spool>) -> io::Result<()> {
        if entry.entry_type != EntryType::Directory {
            return Err(damaged("the root is no directory"));
        }
        self.put(Vec::new(), node(entry, spool));
        Ok(())
    }

    fn put(&mut self, path: Vec<u8>, node: Node) {
        self.displace(&path, node.is_directory());
        self.nodes.push(node);
        self.paths.insert(path, self.nodes.len() - 1);
    }

    /// Takes away what has the name of something new.
    fn displace(&mut self, path: &[u8], by_directory: bool) {
        if by_directory {
            let there = self.paths.get(path).map(|node| &self.nodes[*node]);
            if there.is_some_and(|there| !there.is_directory()) {
                // Lower layers may have a directory there, which was gone for a moment.
                self.cleared.insert(path.to_vec());
            }
            return;
        }
        let below = |end: u8| [path, &[end]].concat();
        let gone = self.paths.range(below(b'/')..below(b'/' + 1));
        let gone: Vec<_> = gone.map(|(path, _)| path.clone()).collect();
        for path in gone {
            self.paths.remove(&path);
        }
    }

    /// The node that a hard link shares.
    fn target(&self, link: &[u8], path: &[u8]) -> io::Result<usize> {
        let names = clean(link);
        let shown = || String::from_utf8_lossy(link).into_owned();
        let target = match names.split_last() {
            Some((name, parents)) => join(&self.follow(parents)?, name)?,
            None => Vec::new(),
        };
        // Whoever unpacks it has removed the old one by then.
        if target == path {
            return Err(damaged(&format!("{:?} is a hard link to itself", shown())));
        }
        let node = self.paths.get(&target).copied().ok_or_else(|| {
            damaged(&format!("a hard link leads to {:?}, which is not in it", shown()))
        })?;
        if self.nodes[node].is_directory() {
            return Err(damaged(&format!("a hard link leads to the directory {:?}", shown())));
        }
        Ok(node)
    }

    /// The directory that these names lead to.
    fn follow(&self, names: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut left: VecDeque<&[u8]> = names.iter().copied().collect();
        let mut path = Vec::new();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            match name {
                b"" | b"." => continue,
                b".." => {
                    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                    path.truncate(end);
                    continue;
                }
                _ => {}
            }
            let next = join(&path, name)?;
            match self.paths.get(&next).map(|node| &self.nodes[*node].kind) {
                None | Some(NodeKind::Directory) => path = next,
                Some(NodeKind::Symlink { target }) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(damaged("a name leads over too many links"));
                    }
                    if target.starts_with(b"/") {
                        path.clear();
                    }
                    for name in target.split(|byte| *byte == b'/').rev() {
                        left.push_front(name);
                    }
                }
                Some(_) => {
                    let next = String::from_utf8_lossy(&next).into_owned();
                    return Err(damaged(&format!(
                        "something is below {next:?}, which is no directory"
                    )));
                }
            }
        }
        Ok(path)
    }
}

/// The names of a path, without those that lead nowhere; `..` takes one away.
pub(super) fn clean(path: &[u8]) -> Vec<&[u8]> {
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names
}

fn join(parent: &[u8], name: &[u8]) -> io::Result<Vec<u8>> {
    let path = if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() };
    if path.len() > LONGEST_PATH {
        return Err(damaged(&format!("a path is longer than {LONGEST_PATH} bytes")));
    }
    Ok(path)
}

/// What an entry puts, unless it is a hard link.
pub(super) fn node(entry: ReadEntry, spool: &Arc<Spool>) -> Node {
    let mut meta = meta(&entry);
    let kind = match entry.entry_type {
        EntryType::Directory => NodeKind::Directory,
        EntryType::Symlink => {
            meta.mode = SYMLINK_MODE;
            NodeKind::Symlink { target: entry.link }
        }
        EntryType::CharDevice => {
            NodeKind::CharDevice { major: entry.device.0, minor: entry.device.1 }
        }
        EntryType::BlockDevice => {
            NodeKind::BlockDevice { major: entry.device.0, minor: entry.device.1 }
        }
        EntryType::Fifo => NodeKind::Fifo,
        EntryType::File | EntryType::HardLink => {
            let ReadEntry { size, parts, .. } = entry;
            let content = Arc::new(Stored { spool: Arc::clone(spool), size, parts });
            NodeKind::File(FileNode { size, content, hard_link: 0 })
        }
    };
    Node { kind, meta }
}

/// What the entry of a further name makes of a node that is there. Attributes that only the entry of the
/// first name tells stay, as they do where it is unpacked: GNU tar tells extended ones once.
pub(super) fn relink(node: &mut Node, entry: &ReadEntry) {
    let mut told = meta(entry);
    if matches!(node.kind, NodeKind::Symlink { .. }) {
        told.mode = SYMLINK_MODE;
    }
    let mut xattrs = std::mem::take(&mut node.meta.xattrs);
    xattrs.append(&mut told.xattrs);
    node.meta = Meta { xattrs, ..told };
}

fn meta(entry: &ReadEntry) -> Meta {
    Meta {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        modified: entry.modified.0,
        modified_nanos: entry.modified.1,
        xattrs: entry.xattrs.clone(),
    }
}
