//! `index.json`, as JSON of which most stays as it is.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::{Map, Value, json};

use super::reference::LayoutName;
use super::seal;
use crate::digest::Digest;
use crate::manifest::{Descriptor, media_type};
use crate::reference::{RepositoryName, Tag};

/// The annotation that holds an entry's name (image spec, *Pre-Defined Annotation Keys*).
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The field that holds the entries.
const ENTRIES: &str = "manifests";

/// The annotation that says which repository an entry without a name belongs to.
pub(super) const REPOSITORY: &str = "dev.dockit.repository";

/// The annotation that says when an entry was made, in RFC 3339 (UTC).
pub(super) const PUSHED: &str = "dev.dockit.pushed";

/// The annotation that says what a referrer refers to.
pub(super) const SUBJECT: &str = "dev.dockit.subject";

/// What is said in annotations of where an entry belongs and since when.
const OURS: [&str; 4] = [REF_NAME, REPOSITORY, PUSHED, seal::SEAL];

/// The index of a layout. Entries and fields that are not understood here are kept.
///
/// A copy shares its entries with the original, each with its text, because every change of a layout
/// copies the index, changes one entry, and writes all of them.
pub(super) struct Index {
    /// All but the entries, in whose place is nothing.
    frame: Map<String, Value>,
    cells: Vec<Arc<Cell>>,
    /// Where names and digests are, once that has been asked a few times.
    lookup: OnceLock<Lookup>,
    asked: AtomicUsize,
    below: Mutex<HashMap<RepositoryName, Arc<Below>>>,
}

/// What the indexes of a repository lead to.
pub(super) type Below = HashMap<Digest, Descriptor>;

/// An entry as it is written.
struct Cell {
    value: Value,
    text: String,
}

/// Positions of entries, in the index's order.
#[derive(Default)]
struct Lookup {
    names: HashMap<String, Vec<usize>>,
    digests: HashMap<String, Vec<usize>>,
}

/// How many questions are answered by looking at every entry.
const ASKED_FIRST: usize = 8;

impl Cell {
    fn new(value: Value) -> Arc<Self> {
        Arc::new(Self { text: value.to_string(), value })
    }

    fn name(&self) -> Option<&str> {
        self.value["annotations"][REF_NAME].as_str()
    }

    fn digest(&self) -> Option<&str> {
        self.value["digest"].as_str()
    }

    fn entry(&self) -> Option<Entry> {
        let descriptor = Descriptor::from_json(&self.value).ok()?;
        let name = descriptor.annotations.get(REF_NAME).cloned();
        Some(Entry { descriptor, name })
    }
}

/// One entry that is understood.
pub(super) struct Entry {
    pub(super) descriptor: Descriptor,
    /// What it is named, by any rule.
    name: Option<String>,
}

/// Where an entry belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    /// It is a tag of a repository.
    Tag(RepositoryName, Tag),
    /// It is in a repository without a tag.
    Untagged(RepositoryName),
    /// Another tool has named it otherwise, or not at all.
    Nowhere,
}

impl Entry {
    /// Its name, if that is one by the image spec.
    pub(super) fn name(&self) -> Option<LayoutName> {
        self.name.as_deref()?.parse().ok()
    }

    /// Whether it has a name, by any rule.
    pub(super) fn is_named(&self) -> bool {
        self.name.is_some()
    }

    pub(super) fn belongs(&self) -> Belongs {
        match (&self.name, self.descriptor.annotations.get(REPOSITORY)) {
            (Some(name), _) => split(name)
                .map_or(Belongs::Nowhere, |(repository, tag)| Belongs::Tag(repository, tag)),
            (None, Some(repository)) => {
                repository.parse().map_or(Belongs::Nowhere, Belongs::Untagged)
            }
            (None, None) => Belongs::Nowhere,
        }
    }

    /// Whether the manifest, or anything below it, may refer to this one, or to any, as far as the entry
    /// itself says.
    pub(super) fn may_refer_to(&self, subject: Option<&Digest>) -> bool {
        let is_index = [media_type::OCI_INDEX, media_type::DOCKER_LIST]
            .contains(&self.descriptor.media_type.as_str());
        // Of others' entries nothing is known, and an index may list what refers.
        if self.pushed().is_none() || is_index {
            return true;
        }
        match (self.descriptor.annotations.get(SUBJECT), subject) {
            (None, _) => false,
            (Some(theirs), Some(subject)) => theirs == subject.as_str(),
            (Some(_), None) => true,
        }
    }

    /// When it was made, as the one who made it says, in RFC 3339.
    pub(super) fn pushed(&self) -> Option<&str> {
        self.descriptor.annotations.get(PUSHED).map(String::as_str)
    }
}

/// The repository and tag of a name `NAME:TAG`.
fn split(name: &str) -> Option<(RepositoryName, Tag)> {
    let (repository, tag) = name.rsplit_once(':')?;
    Some((repository.parse().ok()?, tag.parse().ok()?))
}

impl Index {
    /// An index without entries.
    pub(super) fn empty() -> Self {
        let mut frame = Map::new();
        frame.insert("schemaVersion".to_owned(), 2.into());
        frame.insert("mediaType".to_owned(), media_type::OCI_INDEX.into());
        frame.insert(ENTRIES.to_owned(), Value::Null);
        Self::of(frame, Vec::new())
    }

    fn of(frame: Map<String, Value>, cells: Vec<Arc<Cell>>) -> Self {
        let (lookup, asked, below) = (OnceLock::new(), AtomicUsize::new(0), Mutex::default());
        Self { frame, cells, lookup, asked, below }
    }

    /// The same, to be changed.
    pub(super) fn copied(&self) -> Self {
        Self::of(self.frame.clone(), self.cells.clone())
    }

    /// Reads one. The message of an error is a fragment.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| format!("is damaged: {error}"))?;
        let mut frame = match value {
            Value::Object(frame) if frame.get("schemaVersion") == Some(&2.into()) => frame,
            _ => return Err("is no index: its schema version is not 2".to_owned()),
        };
        let entries = match frame.get_mut(ENTRIES).map(Value::take) {
            Some(Value::Array(entries)) => entries,
            // An empty list is null in what some programs write.
            Some(Value::Null) => Vec::new(),
            _ => return Err("is no index: its manifests are no list".to_owned()),
        };
        if let Some(number) = entries.iter().position(|entry| !seal::is_whole(entry)) {
            return Err(format!("is damaged: its entry {number} was changed"));
        }
        Ok(Self::of(frame, entries.into_iter().map(Cell::new).collect()))
    }

    /// The bytes to write.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::from("{");
        for (number, (key, value)) in self.frame.iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            text.push_str(&Value::from(key.as_str()).to_string());
            text.push(':');
            if key == ENTRIES {
                text.push('[');
                for (number, cell) in self.cells.iter().enumerate() {
                    if number > 0 {
                        text.push(',');
                    }
                    text.push_str(&cell.text);
                }
                text.push(']');
            } else {
                text.push_str(&value.to_string());
            }
        }
        text.push('}');
        text.into_bytes()
    }

    /// The entries that are understood, in the index's order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.cells.iter().filter_map(|cell| cell.entry())
    }

    /// The digests that have a name: more than one only where the same image is meant for several
    /// platforms, or where a tool names by other annotations too.
    pub(super) fn named(&self, name: &LayoutName) -> Vec<Descriptor> {
        let mut seen = BTreeSet::new();
        let positions = self.positions(|lookup| &lookup.names, Cell::name, name.as_str());
        self.at(positions)
            .map(|entry| entry.descriptor)
            .filter(|descriptor| seen.insert(descriptor.digest.clone()))
            .collect()
    }

    /// The entries of a digest.
    pub(super) fn entries_of(&self, digest: &Digest) -> impl Iterator<Item = Entry> {
        self.at(self.positions(|lookup| &lookup.digests, Cell::digest, digest.as_str()))
    }

    fn at(&self, positions: Vec<usize>) -> impl Iterator<Item = Entry> {
        positions.into_iter().filter_map(|position| self.cells.get(position)?.entry())
    }

    /// Where the entries are that have this name, or this digest.
    fn positions(
        &self,
        among: impl Fn(&Lookup) -> &HashMap<String, Vec<usize>>,
        of: impl Fn(&Cell) -> Option<&str>,
        key: &str,
    ) -> Vec<usize> {
        if self.lookup.get().is_none() && self.asked.fetch_add(1, Ordering::Relaxed) < ASKED_FIRST {
            let cells = self.cells.iter().enumerate();
            return cells
                .filter(|(_, cell)| of(cell) == Some(key))
                .map(|(position, _)| position)
                .collect();
        }
        let lookup = self.lookup.get_or_init(|| {
            let mut lookup = Lookup::default();
            for (position, cell) in self.cells.iter().enumerate() {
                if let Some(name) = cell.name() {
                    lookup.names.entry(name.to_owned()).or_default().push(position);
                }
                if let Some(digest) = cell.digest() {
                    lookup.digests.entry(digest.to_owned()).or_default().push(position);
                }
            }
            lookup
        });
        among(lookup).get(key).cloned().unwrap_or_default()
    }

    /// What the indexes of a repository lead to, as this finds out unless that is known. The first entry
    /// of a digest counts. For an index that is not changed any more.
    pub(super) fn below<E>(
        &self,
        repository: &RepositoryName,
        find: impl FnOnce() -> Result<Vec<Descriptor>, E>,
    ) -> Result<Arc<Below>, E> {
        let locked = || self.below.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = locked().get(repository) {
            return Ok(Arc::clone(known));
        }
        let mut below = Below::new();
        for child in find()? {
            below.entry(child.digest.clone()).or_insert(child);
        }
        let below = Arc::new(below);
        locked().insert(repository.clone(), Arc::clone(&below));
        Ok(below)
    }

    /// Every entry as it is written, and what is understood of it.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, Option<Entry>)> {
        self.cells.iter().map(|cell| (cell.text.as_str(), cell.entry()))
    }

    /// Removes the entries for which this says so, of those that are understood. Says whether
    /// anything changed.
    pub(super) fn remove(&mut self, mut goes: impl FnMut(&Entry) -> bool) -> bool {
        let cells = self.changing();
        let before = cells.len();
        cells.retain(|cell| !cell.entry().is_some_and(|entry| goes(&entry)));
        cells.len() != before
    }

    /// The first entry of a digest.
    pub(super) fn entry(&self, digest: &Digest) -> Option<Descriptor> {
        self.entries_of(digest).next().map(|entry| entry.descriptor)
    }

    /// Gives an entry of this digest the name, and takes the name from all others. Says whether
    /// anything changed. What is new was pushed at this time, if one is given.
    pub(super) fn set_name(
        &mut self,
        name: &LayoutName,
        descriptor: &Descriptor,
        pushed: Option<&str>,
    ) -> bool {
        let named = self.named(name);
        if let [only] = &named[..]
            && only.digest == descriptor.digest
        {
            return false;
        }
        self.remove_name(name);
        let repository = split(name.as_str()).map(|(repository, _)| repository);
        let digest = descriptor.digest.as_str();
        let cells = self.changing();
        // Another repository keeps the entry by which it has the manifest.
        let nameless = cells.iter().position(|cell| {
            cell.digest() == Some(digest)
                && cell.name().is_none()
                && cell.value["annotations"][REPOSITORY].as_str().is_none_or(|theirs| {
                    repository.as_ref().is_some_and(|ours| ours.as_str() == theirs)
                })
        });
        let mut value = match nameless {
            Some(position) => cells[position].value.clone(),
            None => new_entry(descriptor),
        };
        annotate(&mut value, REF_NAME, Some(name.as_str()));
        annotate(&mut value, REPOSITORY, None);
        annotate(&mut value, PUSHED, pushed);
        if let Some(artifact_type) = &descriptor.artifact_type {
            value["artifactType"] = artifact_type.as_str().into();
        }
        if let Some(subject) = descriptor.annotations.get(SUBJECT) {
            annotate(&mut value, SUBJECT, Some(subject));
        }
        seal::renew(&mut value);
        match nameless {
            Some(position) => cells[position] = Cell::new(value),
            None => cells.push(Cell::new(value)),
        }
        true
    }

    /// Takes a name away; its entry stays, without one, in the repository that the name says. Says
    /// whether anything changed.
    pub(super) fn remove_name(&mut self, name: &LayoutName) -> bool {
        let positions = self.positions(|lookup| &lookup.names, Cell::name, name.as_str());
        let changed = !positions.is_empty();
        let repository = split(name.as_str()).map(|(repository, _)| repository);
        let cells = self.changing();
        // From behind, so that positions hold although entries go.
        for position in positions.into_iter().rev() {
            let mut stripped = cells[position].value.clone();
            annotate(&mut stripped, REF_NAME, None);
            if let Some(repository) = &repository {
                annotate(&mut stripped, REPOSITORY, Some(repository.as_str()));
                seal::renew(&mut stripped);
            }
            let bare = without_ours(&stripped);
            // Under two names it had two entries; without them it needs one.
            let repeated = cells.iter().enumerate().any(|(other, cell)| {
                let same = other != position && cell.value["digest"] == stripped["digest"];
                same && match &repository {
                    None => cell.value == stripped,
                    Some(repository) => {
                        is_in(&cell.value, repository) && without_ours(&cell.value) == bare
                    }
                }
            });
            if repeated {
                cells.remove(position);
            } else {
                cells[position] = Cell::new(stripped);
            }
        }
        changed
    }

    /// Adds an entry without a name to a repository, unless the digest has one there. Says whether
    /// anything changed.
    pub(super) fn add_untagged(
        &mut self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        pushed: &str,
    ) -> bool {
        let ours = |entry: Entry| match entry.belongs() {
            Belongs::Tag(theirs, _) | Belongs::Untagged(theirs) => theirs == *repository,
            Belongs::Nowhere => false,
        };
        if self.entries_of(&descriptor.digest).any(ours) {
            return false;
        }
        let mut value = new_entry(descriptor);
        annotate(&mut value, REPOSITORY, Some(repository.as_str()));
        annotate(&mut value, PUSHED, Some(pushed));
        seal::renew(&mut value);
        self.changing().push(Cell::new(value));
        true
    }

    /// Adds an entry without a name, unless the digest has an entry. Says whether anything changed.
    pub(super) fn add(&mut self, descriptor: &Descriptor) -> bool {
        let digest = Some(descriptor.digest.as_str());
        let known = self.cells.iter().any(|cell| cell.digest() == digest);
        if !known {
            self.changing().push(Cell::new(new_entry(descriptor)));
        }
        !known
    }

    /// Removes the entries without a name that have this digest.
    pub(super) fn remove_nameless(&mut self, digest: &Digest) {
        self.changing()
            .retain(|cell| cell.digest() != Some(digest.as_str()) || cell.name().is_some());
    }

    /// The entries, after which nothing is known of where they are.
    fn changing(&mut self) -> &mut Vec<Arc<Cell>> {
        self.lookup.take();
        self.below.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        &mut self.cells
    }
}

/// Sets an annotation of an entry, or takes it away.
pub(super) fn annotate(value: &mut Value, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        if !value["annotations"].is_object() {
            value["annotations"] = json!({});
        }
        value["annotations"][key] = text.into();
        return;
    }
    let Some(annotations) = value.get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    let removed = annotations.remove(key).is_some();
    if removed
        && annotations.is_empty()
        && let Some(value) = value.as_object_mut()
    {
        value.remove("annotations");
    }
}

/// Whether an entry is a tag of a repository, or in it without one.
fn is_in(value: &Value, repository: &RepositoryName) -> bool {
    let annotations = &value["annotations"];
    match annotations[REF_NAME].as_str() {
        Some(name) => {
            name.rsplit_once(':').is_some_and(|(theirs, _)| theirs == repository.as_str())
        }
        None => annotations[REPOSITORY] == repository.as_str(),
    }
}

/// An entry but for what is said here of where it belongs and since when.
fn without_ours(value: &Value) -> Value {
    let mut value = value.clone();
    for key in OURS {
        annotate(&mut value, key, None);
    }
    value
}

/// An entry of our own, without a name.
fn new_entry(descriptor: &Descriptor) -> Value {
    let mut entry = json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest.as_str(),
        "size": descriptor.size,
    });
    if let Some(platform) = &descriptor.platform {
        entry["platform"] = json!({"os": platform.os(), "architecture": platform.architecture()});
        if let Some(variant) = platform.variant() {
            entry["platform"]["variant"] = variant.into();
        }
    }
    if let Some(artifact_type) = &descriptor.artifact_type {
        entry["artifactType"] = artifact_type.as_str().into();
    }
    let annotations: Map<String, Value> = descriptor
        .annotations
        .iter()
        .filter(|(key, _)| !OURS.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    if !annotations.is_empty() {
        entry["annotations"] = annotations.into();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> LayoutName {
        text.parse().unwrap()
    }

    fn descriptor(text: &str) -> Descriptor {
        Descriptor::new(media_type::OCI_MANIFEST, Digest::of(text.as_bytes()), text.len() as u64)
    }

    #[test]
    fn what_is_no_index_is_refused() {
        for text in ["", "{", "[]", "null", "{}", r#"{"schemaVersion":1,"manifests":[]}"#] {
            assert!(Index::parse(text.as_bytes()).is_err(), "{text}");
        }
        for text in [r#"{"schemaVersion":2,"manifests":{}}"#, r#"{"schemaVersion":2}"#] {
            assert!(Index::parse(text.as_bytes()).is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(Index::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_list_that_is_null_is_empty_and_can_be_added_to() {
        let mut index = Index::parse(br#"{"schemaVersion":2,"manifests":null}"#).unwrap();
        assert_eq!(index.entries().count(), 0);
        assert!(index.set_name(&name("a"), &descriptor("a"), None));
        assert_eq!(index.entries().count(), 1);
    }

    #[test]
    fn a_name_moves_and_leaves_the_entry_behind() {
        let mut index = Index::empty();
        assert!(index.set_name(&name("a"), &descriptor("1"), None));
        assert!(!index.set_name(&name("a"), &descriptor("1"), None), "nothing to do");
        assert!(index.set_name(&name("a"), &descriptor("2"), None));
        assert_eq!(index.named(&name("a")), [index.entry(&descriptor("2").digest).unwrap()]);
        assert!(index.entry(&descriptor("1").digest).unwrap().annotations.is_empty());
        // Back again: the entry without a name gets it.
        assert!(index.set_name(&name("a"), &descriptor("1"), None));
        assert_eq!(index.entries().count(), 2);
        assert!(index.set_name(&name("b"), &descriptor("1"), None));
        assert_eq!(index.entries().count(), 3, "one entry for each name");
        assert!(index.remove_name(&name("a")) && index.remove_name(&name("b")));
        assert_eq!(index.entries().count(), 2, "entries that say the same are one");
    }

    #[test]
    fn what_others_wrote_stays() {
        let text = r#"{"schemaVersion":2,"x-top":[1,{"y":null}],"annotations":{"k":"v"},"manifests":[
            {"mediaType":"application/x","digest":"blake3:00","size":-1,"z":{"deep":[true]}},
            "not even an entry",
            {"mediaType":"m","digest":"DIGEST","size":1,"urls":["u"],"data":"eA==",
             "annotations":{"io.containerd.image.name":"docker.io/library/app:1"}}]}"#;
        let text = text.replace("DIGEST", descriptor("1").digest.as_str());
        let before: Value = serde_json::from_str(&text).unwrap();
        let mut index = Index::parse(text.as_bytes()).unwrap();
        assert_eq!(index.entries().count(), 1);
        index.set_name(&name("app:1"), &descriptor("1"), None);
        let mut after: Value = serde_json::from_slice(&index.to_bytes()).unwrap();
        let annotations = after["manifests"][2]["annotations"].as_object_mut().unwrap();
        assert_eq!(annotations.remove(REF_NAME), Some("app:1".into()));
        assert_eq!(after, before);
    }

    #[test]
    fn an_entry_never_gets_the_name_of_what_it_was_made_from() {
        let mut index = Index::empty();
        let mut made = descriptor("1");
        made.annotations.insert(REF_NAME.to_owned(), "other".to_owned());
        made.annotations.insert("k".to_owned(), "v".to_owned());
        assert!(index.add(&made) && !index.add(&made));
        let added = index.entry(&made.digest).unwrap();
        assert_eq!(added.annotations.into_iter().collect::<Vec<_>>(), [("k".into(), "v".into())]);
    }
}
