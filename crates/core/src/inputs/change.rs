//! What differs between the inputs of two keys.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use dockit_hashing::context::{Entry, Escaped, Listing, Node};
use dockit_registry::Digest;

use super::document::Document;
use super::program_changes::program_changes;
use crate::key::{ArgValue, ExtraInput, Files, ImageKey, ImageUseInput, KeyInputs, KeyedArg};
use crate::secret_name::names_a_secret;

/// One input that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What kind of input.
    pub what: What,
    /// What happened to it.
    pub how: How,
    /// Which one: a path, a name, a keyword with its line. Empty where there is only one of its kind.
    pub subject: String,
    /// What it was, where that can be said in a word.
    pub from: Option<String>,
    /// What it is.
    pub to: Option<String>,
}

/// Kinds of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum What {
    /// The platform of the image.
    Platform,
    /// An image of the project, through the Dockerfile or `needs`.
    Dependency,
    /// An image from elsewhere.
    BaseImage,
    /// A build argument.
    Argument,
    /// What follows the reference of a `# syntax=` frontend.
    Frontend,
    /// A stage of the Dockerfile.
    Stage,
    /// An instruction of the Dockerfile.
    Instruction,
    /// The Dockerfile's text as a file that the build may read.
    Dockerfile,
    /// A file, directory or link of the build context.
    File,
    /// A file that counts though the build does not see it.
    ExtraInput,
    /// A value of a declared key.
    DeclaredValue,
    /// The period of a `refresh`.
    Epoch,
    /// A build option.
    BuildOption,
    /// The same inputs in another order.
    Order,
}

/// What happened to an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It is another.
    Changed,
}

impl What {
    /// The word for it in text and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Dependency => "dependency",
            Self::BaseImage => "base image",
            Self::Argument => "argument",
            Self::Frontend => "frontend",
            Self::Stage => "stage",
            Self::Instruction => "instruction",
            Self::Dockerfile => "Dockerfile",
            Self::File => "file",
            Self::ExtraInput => "extra input",
            Self::DeclaredValue => "declared value",
            Self::Epoch => "epoch",
            Self::BuildOption => "build option",
            Self::Order => "order",
        }
    }
}

impl How {
    /// The word for it in text and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

impl Change {
    pub(super) fn new(what: What, how: How, subject: impl Into<String>) -> Self {
        Self { what, how, subject: subject.into(), from: None, to: None }
    }

    pub(super) fn between(mut self, from: Option<String>, to: Option<String>) -> Self {
        (self.from, self.to) = (from, to);
        self
    }
}

/// What differs, sorted by kind. Nothing does exactly if the keys are equal: what is not hashed, such as
/// names and lines, makes no difference.
///
/// A dependency that differs is one change, with both keys; what differs in it is for its own
/// documents to say.
pub fn changes(old: &Document, new: &Document) -> Vec<Change> {
    let mut found = Vec::new();
    let (a, b) = (&old.inputs, &new.inputs);
    if a.key() == b.key() {
        return found;
    }
    one(What::Platform, &Some(&a.platform), &Some(&b.platform), &mut found);
    dependencies(a, b, &mut found);
    bases(a, b, &mut found);
    arguments(&a.args, &b.args, &mut found);
    program_changes(&a.program, &b.program, &mut found);
    if a.dockerfile != b.dockerfile {
        let how = how(a.dockerfile.is_some(), b.dockerfile.is_some());
        found.push(Change::new(What::Dockerfile, how, "text"));
    }
    files(old, new, &mut found);
    extras(&a.extra, &b.extra, &mut found);
    one(What::Epoch, &a.epoch, &b.epoch, &mut found);
    values(What::BuildOption, &a.options, &b.options, &mut found);
    if found.is_empty() {
        found.push(Change::new(What::Order, How::Changed, "inputs"));
    }
    found
}

fn how(before: bool, after: bool) -> How {
    match (before, after) {
        (false, true) => How::Added,
        (true, false) => How::Removed,
        _ => How::Changed,
    }
}

/// An input of which there is at most one.
fn one<T: PartialEq + ToString>(
    what: What,
    old: &Option<T>,
    new: &Option<T>,
    found: &mut Vec<Change>,
) {
    if old != new {
        let how = how(old.is_some(), new.is_some());
        let text = |value: &Option<T>| value.as_ref().map(ToString::to_string);
        found.push(Change::new(what, how, "").between(text(old), text(new)));
    }
}

/// Named values.
fn values(
    what: What,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    found: &mut Vec<Change>,
) {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (before, after) = (old.get(name), new.get(name));
        if before != after {
            let how = how(before.is_some(), after.is_some());
            let change = Change::new(what, how, name);
            found.push(change.between(before.cloned(), after.cloned()));
        }
    }
}

/// Images under names that do not count: `identity` does. What only got another name is no change: where
/// as many names with an identity go as come, they do.
fn named<T: Ord + Clone + ToString>(
    what: What,
    old: &[(String, T)],
    new: &[(String, T)],
    found: &mut Vec<Change>,
) {
    let group = |images: &[(String, T)]| {
        let mut groups: BTreeMap<String, BTreeSet<T>> = BTreeMap::new();
        for (name, identity) in images {
            groups.entry(name.clone()).or_default().insert(identity.clone());
        }
        groups
    };
    let (before, after) = (group(old), group(new));
    // By identity, the names that only one side has.
    let only = |groups: &BTreeMap<String, BTreeSet<T>>, other: &BTreeMap<String, BTreeSet<T>>| {
        let mut counts: BTreeMap<T, usize> = BTreeMap::new();
        for (_, identities) in groups.iter().filter(|(name, _)| !other.contains_key(*name)) {
            for identity in identities {
                *counts.entry(identity.clone()).or_default() += 1;
            }
        }
        counts
    };
    let (gone, come) = (only(&before, &after), only(&after, &before));
    let renamed = |identities: &BTreeSet<T>| {
        identities.iter().all(|identity| gone.get(identity) == come.get(identity))
    };
    let text = |identities: &BTreeSet<T>| {
        Some(identities.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let change = |how| Change::new(what, how, name);
        match (before.get(name), after.get(name)) {
            (Some(old), Some(new)) if old != new => {
                found.push(change(How::Changed).between(text(old), text(new)));
            }
            (Some(old), None) if !renamed(old) => {
                found.push(change(How::Removed).between(text(old), None));
            }
            (None, Some(new)) if !renamed(new) => {
                found.push(change(How::Added).between(None, text(new)));
            }
            _ => {}
        }
    }
}

fn dependencies(old: &KeyInputs, new: &KeyInputs, found: &mut Vec<Change>) {
    let images = |inputs: &KeyInputs| -> Vec<(String, ImageKey)> {
        let used = inputs.uses.iter().filter_map(|used| match used {
            ImageUseInput::Image { name, key } => Some((name.to_string(), *key)),
            ImageUseInput::Base { .. } => None,
        });
        used.chain(inputs.needs.iter().map(|need| (need.name.to_string(), need.key))).collect()
    };
    named(What::Dependency, &images(old), &images(new), found);
}

fn bases(old: &KeyInputs, new: &KeyInputs, found: &mut Vec<Change>) {
    let images = |inputs: &KeyInputs| -> Vec<(String, Digest)> {
        let bases = inputs.uses.iter().filter_map(|used| match used {
            ImageUseInput::Image { .. } => None,
            ImageUseInput::Base { reference, platform, digest } => {
                // A build on one platform may use a tool of another.
                let name = if *platform == inputs.platform {
                    reference.to_string()
                } else {
                    format!("{reference} ({platform})")
                };
                Some((name, digest.clone()))
            }
        });
        bases.collect()
    };
    named(What::BaseImage, &images(old), &images(new), found);
}

fn arguments(old: &[KeyedArg], new: &[KeyedArg], found: &mut Vec<Change>) {
    let group = |arguments: &[KeyedArg]| {
        let mut groups: BTreeMap<String, Vec<KeyedArg>> = BTreeMap::new();
        for argument in arguments {
            groups.entry(argument.name.clone()).or_default().push(argument.clone());
        }
        groups
    };
    let (before, after) = (group(old), group(new));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        let digests = |arguments: Option<&Vec<KeyedArg>>| {
            arguments.map(|arguments| arguments.iter().map(KeyedArg::digest).collect::<Vec<_>>())
        };
        if digests(old) != digests(new) {
            let change = Change::new(What::Argument, how(old.is_some(), new.is_some()), name);
            found.push(change.between(shown(name, old), shown(name, new)));
        }
    }
}

/// The values of an argument; none where it is not there.
fn shown(name: &str, arguments: Option<&Vec<KeyedArg>>) -> Option<String> {
    let texts = arguments?.iter().map(|argument| match &argument.value {
        None => "(no value)".to_owned(),
        Some(ArgValue::Plain(value)) => value.clone(),
        Some(ArgValue::Hash(_)) if names_a_secret(name) => "(hidden)".to_owned(),
        Some(ArgValue::Hash(_)) => "(not recorded)".to_owned(),
    });
    Some(texts.collect::<Vec<_>>().join(", "))
}

fn files(old: &Document, new: &Document, found: &mut Vec<Change>) {
    let declared = |files: &Files| -> BTreeMap<String, String> {
        match files {
            Files::Listed(_) => BTreeMap::new(),
            Files::Declared(values) => {
                values.iter().map(|value| (value.name.clone(), value.value.clone())).collect()
            }
        }
    };
    match (&old.inputs.files, &new.inputs.files) {
        (Files::Listed(before), Files::Listed(after)) => {
            let context = new.context.as_deref().or(old.context.as_deref());
            entries(What::File, before, after, &|entry| below(context, entry), found);
        }
        (before, after) => {
            let kind = |files: &Files| match files {
                Files::Listed(_) => "listed".to_owned(),
                Files::Declared(_) => "declared values".to_owned(),
            };
            if kind(before) != kind(after) {
                let change = Change::new(What::File, How::Changed, "all files");
                found.push(change.between(Some(kind(before)), Some(kind(after))));
            }
            values(What::DeclaredValue, &declared(before), &declared(after), found);
        }
    }
}

/// Where an entry lies, from the configuration file on.
pub(super) fn below(context: Option<&str>, entry: &Entry) -> String {
    match context {
        None | Some(".") => entry.path().to_string(),
        Some(context) => format!("{context}/{}", entry.path()),
    }
}

fn extras(old: &[ExtraInput], new: &[ExtraInput], found: &mut Vec<Change>) {
    let group = |extras: &[ExtraInput]| -> BTreeMap<String, ExtraInput> {
        extras.iter().map(|extra| (extra.path.clone(), extra.clone())).collect()
    };
    let (before, after) = (group(old), group(new));
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for path in paths {
        match (before.get(path), after.get(path)) {
            (Some(old), Some(new)) => {
                let name = |entry: &Entry| old.path_of(entry);
                entries(What::ExtraInput, &old.listing, &new.listing, &name, found);
            }
            (old, new) => {
                let how = how(old.is_some(), new.is_some());
                found.push(Change::new(What::ExtraInput, how, path));
            }
        }
    }
}

/// Both listings are sorted.
fn entries(
    what: What,
    old: &Listing,
    new: &Listing,
    name: &dyn Fn(&Entry) -> String,
    found: &mut Vec<Change>,
) {
    if old.hash() == new.hash() {
        return;
    }
    let (mut before, mut after) =
        (old.entries().iter().peekable(), new.entries().iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (Some(old), Some(new)) => old.path().cmp(new.path()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        let old = if order.is_le() { before.next() } else { None };
        let new = if order.is_ge() { after.next() } else { None };
        match (old, new) {
            (Some(old), Some(new)) => {
                if old.node() != new.node() {
                    let (from, to) = nodes(old.node(), new.node());
                    found.push(Change::new(what, How::Changed, name(new)).between(from, to));
                }
            }
            (Some(old), None) => found.push(Change::new(what, How::Removed, name(old))),
            (None, Some(new)) => found.push(Change::new(what, How::Added, name(new))),
            (None, None) => return,
        }
    }
}

/// What can be said of a change besides that the content is another.
fn nodes(old: &Node, new: &Node) -> (Option<String>, Option<String>) {
    let kind = |node: &Node| match node {
        Node::File { .. } => "file",
        Node::Symlink { .. } => "link",
        _ => "directory",
    };
    match (old, new) {
        (Node::File { mode: before, .. }, Node::File { mode: after, .. })
        | (Node::Directory { mode: before }, Node::Directory { mode: after })
            if before != after =>
        {
            (Some(before.to_string()), Some(after.to_string()))
        }
        (Node::File { .. }, Node::File { .. }) => (None, None),
        (Node::Symlink { target: before }, Node::Symlink { target: after }) => {
            (Some(Escaped(before).to_string()), Some(Escaped(after).to_string()))
        }
        _ => (Some(kind(old).to_owned()), Some(kind(new).to_owned())),
    }
}
