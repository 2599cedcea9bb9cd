//! `COPY`, `ADD` and `WORKDIR`: from a tree to changes of another.
//!
//! Everything follows what BuildKit's file operations do (`solver/llbsolver/file`, and the copier of
//! `fsutil` below it), whose rules are not always the obvious ones:
//!
//! - A destination is followed over links, also a link that is to be written: its target changes. What
//!   is copied *into* a directory replaces a link of the same name.
//! - Of a directory that is copied only what it holds arrives; the destination keeps its attributes, or
//!   is a new directory like every other on the way. Directories below get those of the source.
//! - A file never replaces a directory, nor a directory anything else.

mod archive;
mod chmod;
mod owner;
mod path;
mod source;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transfer;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use dockit_hashing::context::patterns::Filter;
use dockit_hashing::dockerfile::{CopySource, CopyStep};

use self::chmod::Chmod;
use self::owner::{Accounts, Owner};
use self::path::{Destination, absolute};
use self::transfer::{Attributes, Transfer, make_directories};
use crate::error::{AssembleError, AssembleErrorKind};
use crate::tree::{
    Change, FIXED_TIME, FileContent, FileNode, Meta, Node, NodeKind, PathTooLong, TooManyLinks,
    Tree,
};

/// Mode of what a heredoc becomes.
const HEREDOC_MODE: u32 = 0o644;

/// A `COPY` or `ADD`, and what it finds.
#[derive(Clone, Copy)]
pub struct Copy<'a> {
    /// What it says.
    pub step: &'a CopyStep,
    /// If it unpacks archives, where: a directory for files without a name.
    pub archives: Option<&'a Path>,
    /// Where its paths are looked for.
    pub source: &'a Tree,
    /// The directory that a relative destination begins at.
    pub workdir: &'a str,
}

/// What an instruction changes.
#[derive(Clone, Copy)]
pub enum Below<'a> {
    /// A tree that something was put into.
    Tree(&'a Tree),
    /// Nothing yet: `FROM scratch`, or an instruction that does not look (`--link`).
    Nothing,
}

impl Below<'_> {
    fn tree(self) -> Tree {
        match self {
            Self::Tree(tree) => tree.clone(),
            Self::Nothing => Tree::default(),
        }
    }

    fn accounts(&self) -> Accounts<'_> {
        match self {
            Self::Tree(tree) => Accounts::Of(tree),
            Self::Nothing => Accounts::Nowhere,
        }
    }
}

/// Whether a `COPY` or `ADD` makes its layer without a look at what is there. BuildKit does not if it also
/// changes modes.
pub fn is_linked(step: &CopyStep) -> bool {
    step.link && step.chmod.is_none()
}

impl Copy<'_> {
    /// What it changes: the tree afterwards.
    ///
    /// # Errors
    ///
    /// It cannot be done: something is not there, or in the way, or misspelled; or what it reads cannot
    /// be read.
    pub fn onto(&self, below: Below<'_>) -> Result<Tree, AssembleError> {
        let step = self.step;
        let owner = match step.chown.as_deref().filter(|owner| !owner.is_empty()) {
            Some(owner) => Some(Owner::parse(owner, below.accounts())?),
            None => None,
        };
        let chmod = match step.chmod.as_deref().filter(|mode| !mode.is_empty()) {
            Some(mode) => Some(Chmod::parse(mode).map_err(instruction)?),
            None => None,
        };
        let attributes = Attributes { owner, chmod };
        let destination = Destination::new(self.workdir, &step.destination);
        let mut tree = below.tree();
        for source in &step.sources {
            if let CopySource::Path(source) = source {
                self.copy_path(source, &destination, &attributes, &mut tree)?;
            }
        }
        // Wherever they stand, heredocs come last.
        for source in &step.sources {
            if let CopySource::Heredoc { name, content } = source {
                let (name, source) = heredoc(name, content)?;
                let filter = self.filter(None)?;
                let mut transfer = Transfer::new(&source, &mut tree, &attributes, filter.as_ref());
                transfer.copy(&name, &name, &destination)?;
            }
        }
        Ok(tree)
    }

    fn copy_path(
        &self,
        word: &str,
        destination: &Destination,
        attributes: &Attributes,
        tree: &mut Tree,
    ) -> Result<(), AssembleError> {
        let source = match self.step.parents {
            true => source::Source::with_parents(word),
            false => source::Source::new(word),
        };
        let filter = self.filter(source.include.as_deref())?;
        let mut found = Vec::new();
        for path in source.matches(self.source)? {
            let resolved = self.source.resolve(&path)?;
            if let Some(spools) = self.archives
                && let Some(NodeKind::File(file)) =
                    self.source.get(&resolved).map(|node| &node.kind)
                && archive::unpack(file, spools, destination, attributes, tree)?
            {
                continue;
            }
            let mut transfer = Transfer::new(self.source, tree, attributes, filter.as_ref());
            transfer.copy(&path, &resolved, destination)?;
            found.append(&mut transfer.found);
        }
        match source.required {
            Some(required) if !found.iter().any(|path| path.starts_with(&required)) => {
                Err(instruction(format!("nothing is found at /{}", required.escape_ascii())))
            }
            _ => Ok(()),
        }
    }

    fn filter(&self, include: Option<&[u8]>) -> Result<Option<Filter>, AssembleError> {
        let exclude: Vec<&[u8]> = self.step.exclude.iter().map(String::as_bytes).collect();
        if include.is_none() && exclude.is_empty() {
            return Ok(None);
        }
        let filter = Filter::exact(include, &exclude);
        filter.map(Some).map_err(|_| {
            instruction(
                "a pattern of --exclude or --parents is invalid or not supported".to_owned(),
            )
        })
    }
}

/// `WORKDIR`: makes the directory, for the user that commands would run as if there is one. Returns the tree afterwards.
///
/// # Errors
///
/// Something else is in the way, or the user's name cannot be looked up.
pub fn make_workdir(workdir: &str, user: &str, below: Below<'_>) -> Result<Tree, AssembleError> {
    let owner = match user {
        "" => None,
        user => Some(Owner::parse(user, below.accounts())?),
    };
    let mut tree = below.tree();
    let path = tree.resolve(&absolute("/", workdir))?;
    make_directories(&mut tree, &path, 0o755, owner)?;
    Ok(tree)
}

/// The changes that make `after` of what was below it.
pub fn changes(below: Below<'_>, after: &Tree) -> Vec<Change> {
    match below {
        Below::Tree(tree) => after.changes_since(tree),
        Below::Nothing => after.changes_since(&Tree::default()),
    }
}

/// A heredoc, as a file in a tree of its own.
fn heredoc(name: &str, content: &[u8]) -> Result<(Vec<u8>, Tree), AssembleError> {
    let path = absolute("/", name);
    if path.is_empty() || path.contains(&b'/') {
        return Err(instruction(format!("a heredoc cannot be a file of the name {name:?}")));
    }
    let file = FileNode {
        size: content.len() as u64,
        content: Arc::new(Text(content.into())),
        hard_link: 0,
    };
    let meta = Meta { mode: HEREDOC_MODE, modified: FIXED_TIME, ..Meta::default() };
    let mut tree = Tree::default();
    tree.put(&path, Node { kind: NodeKind::File(file), meta })?;
    Ok((path, tree))
}

/// Content that a Dockerfile holds.
struct Text(Arc<[u8]>);

impl FileContent for Text {
    fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.0)
    }
}

fn instruction(message: String) -> AssembleError {
    AssembleError::new(AssembleErrorKind::Instruction, message)
}

impl From<PathTooLong> for AssembleError {
    fn from(error: PathTooLong) -> Self {
        instruction(error.to_string())
    }
}

impl From<TooManyLinks> for AssembleError {
    fn from(error: TooManyLinks) -> Self {
        instruction(error.to_string())
    }
}
