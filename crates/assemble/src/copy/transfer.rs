//! Copying a file or the contents of a directory from a tree to another.

use std::collections::BTreeMap;

use dockit_hashing::context::patterns::{Filter, Verdicts};

use super::chmod::Chmod;
use super::instruction;
use super::owner::Owner;
use super::path::Destination;
use crate::error::AssembleError;
use crate::tree::{FIXED_TIME, Meta, Node, NodeKind, Tree, join, new_hard_link, split};

/// What an instruction says of attributes.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    pub(super) owner: Option<Owner>,
    pub(super) chmod: Option<Chmod>,
}

impl Attributes {
    /// Mode of directories on the way to a destination.
    fn mode_of_parents(&self) -> u32 {
        self.chmod.as_ref().map_or(0o755, Chmod::of_parents)
    }

    /// What becomes of the attributes of a source.
    fn apply(&self, node: &Node) -> Meta {
        let mut meta = node.meta.clone();
        if let Some(owner) = self.owner {
            (meta.uid, meta.gid) = (owner.uid, owner.gid);
        }
        match &self.chmod {
            Some(chmod) if !matches!(node.kind, NodeKind::Symlink { .. }) => {
                meta.mode = chmod.apply(meta.mode, node.is_directory());
            }
            _ => {}
        }
        meta
    }
}

/// One source on its way to its destination.
pub(super) struct Transfer<'t> {
    source: &'t Tree,
    tree: &'t mut Tree,
    attributes: &'t Attributes,
    filter: Option<&'t Filter>,
    /// What is copied, by its path in the source; only if something is filtered.
    pub(super) found: Vec<Vec<u8>>,
    /// Directories on the way to what is looked at, the outermost first.
    parents: Vec<Parent>,
    /// Numbers of files with several names, and those of their copies.
    hard_links: BTreeMap<u64, u64>,
}

/// A directory of the source that may have to be copied as soon as something in it is.
struct Parent {
    source: Vec<u8>,
    target: Vec<u8>,
    copied: bool,
}

/// A node of the source, on its way.
struct Item<'p> {
    path: &'p [u8],
    /// Relative to what the instruction names; that is empty itself.
    relative: &'p [u8],
    target: &'p [u8],
}

impl<'t> Transfer<'t> {
    pub(super) fn new(
        source: &'t Tree,
        tree: &'t mut Tree,
        attributes: &'t Attributes,
        filter: Option<&'t Filter>,
    ) -> Self {
        let (found, parents) = (Vec::new(), Vec::new());
        let hard_links = BTreeMap::new();
        Self { source, tree, attributes, filter, found, parents, hard_links }
    }

    /// Copies what is at `resolved`, to which the path `named` leads.
    pub(super) fn copy(
        &mut self,
        named: &[u8],
        resolved: &[u8],
        destination: &Destination,
    ) -> Result<(), AssembleError> {
        let Some(node) = self.source.get(resolved) else {
            return Err(instruction(format!("/{} is not there", named.escape_ascii())));
        };
        let above = match destination.directory {
            true => destination.path.as_slice(),
            false => split(&destination.path).map_or(&b""[..], |(directory, _)| directory),
        };
        let above = self.tree.resolve(above)?;
        self.make_directories(&above)?;
        let mut target = self.tree.resolve(&destination.path)?;
        let there = self.tree.get(&target).map(Node::is_directory);
        match (node.is_directory(), there) {
            // It becomes the directory that is copied.
            (true, None) => self.make_directories(&target)?,
            (false, Some(true)) => {
                let name = split(named).map_or(&b""[..], |(_, name)| name);
                target = join(&target, name);
            }
            _ => {
                self.make_directories(split(&target).map_or(&b""[..], |(directory, _)| directory))?;
            }
        }
        let item = Item { path: resolved, relative: b"", target: &target };
        self.item(&item, &Verdicts::default())
    }

    fn make_directories(&mut self, path: &[u8]) -> Result<(), AssembleError> {
        make_directories(self.tree, path, self.attributes.mode_of_parents(), self.attributes.owner)
    }

    fn item(&mut self, item: &Item<'_>, above: &Verdicts) -> Result<(), AssembleError> {
        let Some(node) = self.source.get(item.path) else {
            return Ok(());
        };
        let top = item.relative.is_empty();
        let (included, below) = match self.filter {
            Some(filter) if !top => {
                let filtered = filter.judge(item.relative, above);
                (filtered.selected, filtered.below)
            }
            _ => (true, Some(Verdicts::default())),
        };
        if included {
            self.copy_parents(!top)?;
            if self.filter.is_some() && !top {
                self.found.push(item.path.to_vec());
            }
        }
        if node.is_directory() {
            return self.directory(item, node, included, below.as_ref());
        }
        if !included {
            return Ok(());
        }
        if self.tree.get(item.target).is_some_and(Node::is_directory) {
            let shown = item.target.escape_ascii();
            return Err(instruction(format!("the directory /{shown} cannot become a file")));
        }
        let mut copy = Node { kind: node.kind.clone(), meta: self.attributes.apply(node) };
        if let NodeKind::File(file) = &mut copy.kind
            && file.hard_link != 0
        {
            file.hard_link = *self.hard_links.entry(file.hard_link).or_insert_with(new_hard_link);
        }
        Ok(self.tree.put(item.target, copy)?)
    }

    fn directory(
        &mut self,
        item: &Item<'_>,
        node: &Node,
        included: bool,
        below: Option<&Verdicts>,
    ) -> Result<(), AssembleError> {
        let top = item.relative.is_empty();
        let created = included && self.enter(item.target, node, !top)?;
        let (source, target) = (item.path.to_vec(), item.target.to_vec());
        self.parents.push(Parent { source, target, copied: included });
        if let Some(below) = below {
            let tree = self.source;
            for (name, _) in tree.children(item.path) {
                let path = join(item.path, name);
                let (relative, target) = (join(item.relative, name), join(item.target, name));
                let child = Item { path: &path, relative: &relative, target: &target };
                self.item(&child, below)?;
            }
        }
        self.parents.pop();
        if included && (created || !top) {
            self.describe(item.target, node);
        } else if top && !item.target.is_empty() {
            // All that a directory gets of the one whose contents it takes.
            let Meta { modified, modified_nanos, .. } = node.meta;
            self.tree.update(item.target, |meta| {
                (meta.modified, meta.modified_nanos) = (modified, modified_nanos);
            });
        }
        Ok(())
    }

    /// Copies the directories around something that is copied, as far as they were not.
    fn copy_parents(&mut self, below_top: bool) -> Result<(), AssembleError> {
        for index in 0..self.parents.len() {
            if self.parents[index].copied {
                continue;
            }
            self.parents[index].copied = true;
            let target = self.parents[index].target.clone();
            if let Some(node) = self.source.get(&self.parents[index].source)
                && self.enter(&target, node, below_top)?
            {
                self.describe(&target, node);
            }
        }
        Ok(())
    }

    /// Makes sure that a directory is there; whether it was not. One that was takes the source's mode.
    fn enter(
        &mut self,
        target: &[u8],
        node: &Node,
        below_top: bool,
    ) -> Result<bool, AssembleError> {
        match self.tree.get(target).map(Node::is_directory) {
            None => {
                let mut made = Node::implicit_directory();
                made.meta.mode = node.meta.mode;
                self.tree.put(target, made)?;
                Ok(true)
            }
            Some(false) => {
                let shown = target.escape_ascii();
                Err(instruction(format!("/{shown} is no directory that could be copied to")))
            }
            Some(true) => {
                if below_top {
                    self.tree.update(target, |meta| meta.mode = node.meta.mode);
                }
                Ok(false)
            }
        }
    }

    /// Gives a directory the attributes of its source.
    fn describe(&mut self, target: &[u8], node: &Node) {
        let copied = self.attributes.apply(node);
        self.tree.update(target, |meta| {
            let mut xattrs = std::mem::take(&mut meta.xattrs);
            xattrs.extend(copied.xattrs.clone());
            *meta = Meta { xattrs, ..copied };
        });
    }
}

/// Makes the directories that are missing on a way without links.
pub(super) fn make_directories(
    tree: &mut Tree,
    path: &[u8],
    mode: u32,
    owner: Option<Owner>,
) -> Result<(), AssembleError> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let ends = slashes.map(|(index, _)| index).chain([path.len()]);
    for end in ends.filter(|end| *end > 0) {
        let path = &path[..end];
        match tree.get(path).map(Node::is_directory) {
            Some(true) => {}
            Some(false) => {
                return Err(instruction(format!("/{} is no directory", path.escape_ascii())));
            }
            None => {
                let Owner { uid, gid } = owner.unwrap_or(Owner { uid: 0, gid: 0 });
                let meta = Meta { mode, uid, gid, modified: FIXED_TIME, ..Meta::default() };
                tree.put(path, Node { kind: NodeKind::Directory, meta })?;
            }
        }
    }
    Ok(())
}
