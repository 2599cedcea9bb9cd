//! `index.json`, as JSON of which most stays as it is.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::reference::LayoutName;
use crate::digest::Digest;
use crate::manifest::{Descriptor, media_type};

/// The annotation that holds an entry's name (image spec, *Pre-Defined Annotation Keys*).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The index of a layout. Entries and fields that are not understood here are kept.
pub(super) struct Index(Value);

/// One entry that is understood.
pub(super) struct Entry {
    pub(super) descriptor: Descriptor,
    /// What it is named, by any rule.
    name: Option<String>,
}

impl Entry {
    /// Its name, if that is one by the image spec.
    pub(super) fn name(&self) -> Option<LayoutName> {
        self.name.as_deref()?.parse().ok()
    }
}

impl Index {
    /// An index without entries.
    pub(super) fn empty() -> Self {
        Self(json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": []}))
    }

    /// Reads one. The message of an error is a fragment.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| format!("is damaged: {error}"))?;
        if value["schemaVersion"] != 2 {
            return Err("is no index: its schema version is not 2".to_owned());
        }
        // An empty list is null in what some programs write.
        match &value["manifests"] {
            Value::Array(_) | Value::Null => Ok(Self(value)),
            _ => Err("is no index: its manifests are no list".to_owned()),
        }
    }

    /// The bytes to write.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    /// The entries that are understood, in the index's order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.values().iter().filter_map(entry)
    }

    /// The digests that have a name: more than one only where the same image is meant for several
    /// platforms, or where a tool names by other annotations too.
    pub(super) fn named(&self, name: &LayoutName) -> Vec<Descriptor> {
        let mut seen = BTreeSet::new();
        self.entries()
            .filter(|entry| entry.name.as_deref() == Some(name.as_str()))
            .map(|entry| entry.descriptor)
            .filter(|descriptor| seen.insert(descriptor.digest.clone()))
            .collect()
    }

    /// The first entry of a digest.
    pub(super) fn entry(&self, digest: &Digest) -> Option<Descriptor> {
        self.entries().map(|entry| entry.descriptor).find(|found| found.digest == *digest)
    }

    /// Gives an entry of this digest the name, and takes the name from all others. Says whether
    /// anything changed.
    pub(super) fn set_name(&mut self, name: &LayoutName, descriptor: &Descriptor) -> bool {
        let named = self.named(name);
        if let [only] = &named[..]
            && only.digest == descriptor.digest
        {
            return false;
        }
        self.remove_name(name);
        let digest = descriptor.digest.as_str();
        let values = self.values_mut();
        let nameless = values.iter().position(|value| {
            value["digest"] == digest && value["annotations"][REF_NAME].as_str().is_none()
        });
        let value = match nameless {
            Some(position) => &mut values[position],
            None => {
                values.push(new_entry(descriptor));
                values.last_mut().expect("one was just added")
            }
        };
        if !value["annotations"].is_object() {
            value["annotations"] = json!({});
        }
        value["annotations"][REF_NAME] = name.as_str().into();
        true
    }

    /// Takes a name away; its entry stays, without one. Says whether anything changed.
    pub(super) fn remove_name(&mut self, name: &LayoutName) -> bool {
        let values = self.values_mut();
        let mut changed = false;
        let mut position = 0;
        while let Some(value) = values.get_mut(position) {
            if take_name(value, name) {
                changed = true;
                // Under two names it had two entries; without them it needs one.
                let stripped = value.clone();
                if values.iter().filter(|other| **other == stripped).count() > 1 {
                    values.remove(position);
                    continue;
                }
            }
            position += 1;
        }
        changed
    }

    /// Adds an entry without a name, unless the digest has an entry. Says whether anything changed.
    pub(super) fn add(&mut self, descriptor: &Descriptor) -> bool {
        let digest = descriptor.digest.as_str();
        let known = self.values().iter().any(|value| value["digest"] == digest);
        if !known {
            self.values_mut().push(new_entry(descriptor));
        }
        !known
    }

    /// Removes the entries without a name that have this digest.
    pub(super) fn remove_nameless(&mut self, digest: &Digest) {
        self.values_mut().retain(|value| {
            value["digest"] != digest.as_str() || value["annotations"][REF_NAME].is_string()
        });
    }

    fn values(&self) -> &[Value] {
        self.0["manifests"].as_array().map_or(&[], Vec::as_slice)
    }

    fn values_mut(&mut self) -> &mut Vec<Value> {
        let manifests = &mut self.0["manifests"];
        if !manifests.is_array() {
            *manifests = Value::Array(Vec::new());
        }
        manifests.as_array_mut().expect("it was just made one")
    }
}

fn entry(value: &Value) -> Option<Entry> {
    let descriptor = Descriptor::from_json(value).ok()?;
    let name = descriptor.annotations.get(REF_NAME).cloned();
    Some(Entry { descriptor, name })
}

/// Takes the name from an entry, if it has it.
fn take_name(value: &mut Value, name: &LayoutName) -> bool {
    let Some(annotations) = value.get_mut("annotations").and_then(Value::as_object_mut) else {
        return false;
    };
    if annotations.get(REF_NAME).and_then(Value::as_str) != Some(name.as_str()) {
        return false;
    }
    annotations.remove(REF_NAME);
    let none_left = annotations.is_empty();
    if none_left && let Some(value) = value.as_object_mut() {
        value.remove("annotations");
    }
    true
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
        .filter(|(key, _)| *key != REF_NAME)
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
        assert!(Index::parse(br#"{"schemaVersion":2,"manifests":{}}"#).is_err());
        let deep = "[".repeat(100_000);
        assert!(Index::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_list_that_is_null_is_empty_and_can_be_added_to() {
        let mut index = Index::parse(br#"{"schemaVersion":2,"manifests":null}"#).unwrap();
        assert_eq!(index.entries().count(), 0);
        assert!(index.set_name(&name("a"), &descriptor("a")));
        assert_eq!(index.entries().count(), 1);
    }

    #[test]
    fn a_name_moves_and_leaves_the_entry_behind() {
        let mut index = Index::empty();
        assert!(index.set_name(&name("a"), &descriptor("1")));
        assert!(!index.set_name(&name("a"), &descriptor("1")), "nothing to do");
        assert!(index.set_name(&name("a"), &descriptor("2")));
        assert_eq!(index.named(&name("a")), [index.entry(&descriptor("2").digest).unwrap()]);
        assert!(index.entry(&descriptor("1").digest).unwrap().annotations.is_empty());
        // Back again: the entry without a name gets it.
        assert!(index.set_name(&name("a"), &descriptor("1")));
        assert_eq!(index.entries().count(), 2);
        assert!(index.set_name(&name("b"), &descriptor("1")));
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
        index.set_name(&name("app:1"), &descriptor("1"));
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
