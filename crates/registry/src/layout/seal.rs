//! Whether an entry of `index.json` is as dockit wrote it.
//!
//! A blob has its digest, but nothing covers `index.json`: with one changed bit a tag is not there any
//! more, or on another manifest, and the next run would go on from there. So an entry that dockit makes
//! for a registry holds a hash of what it says. Other tools may add fields and annotations, or take the
//! name away, as they do to give it to another manifest.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::index::{PUSHED, REF_NAME, REPOSITORY, SUBJECT, annotate};

/// The annotation with the hash.
pub(super) const SEAL: &str = "dev.dockit.seal";

/// Hex digits of the hash that are written.
const LENGTH: usize = 16;

/// Seals an entry anew, if it is one that has a time. Of others a seal is taken away.
pub(super) fn renew(entry: &mut Value) {
    let seal = entry["annotations"][PUSHED].is_string().then(|| seal_of(entry));
    annotate(entry, SEAL, seal.as_deref());
}

/// Whether an entry is nobody's of ours, or as it was written.
pub(super) fn is_whole(entry: &Value) -> bool {
    let Some(members) = entry.as_object() else {
        return true;
    };
    // Of the name of the field that holds the annotations another may have become.
    let elsewhere =
        members.iter().any(|(name, member)| name != "annotations" && member.get(SEAL).is_some());
    if elsewhere {
        return false;
    }
    let Some(annotations) = members.get("annotations").and_then(Value::as_object) else {
        return true;
    };
    match annotations.get(SEAL) {
        None => !annotations.contains_key(PUSHED),
        Some(seal) => {
            let rest = [PUSHED, SEAL, SUBJECT];
            let nameless = annotations.keys().all(|key| rest.contains(&key.as_str()));
            nameless || *seal == seal_of(entry)
        }
    }
}

fn seal_of(entry: &Value) -> String {
    let mut hasher = Sha256::new();
    let annotations = &entry["annotations"];
    for part in [
        &entry["mediaType"],
        &entry["digest"],
        &entry["size"],
        &annotations[REF_NAME],
        &annotations[REPOSITORY],
        &annotations[PUSHED],
        &annotations[SUBJECT],
    ] {
        // JSON holds no zero byte.
        hasher.update(part.to_string());
        hasher.update([0]);
    }
    let hash = hasher.finalize();
    crate::digest::Digest::from_sha256(&hash).hex()[..LENGTH].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sealed() -> Value {
        let mut entry = json!({
            "mediaType": "m", "digest": "sha256:00", "size": 7,
            "annotations": {REF_NAME: "app:1", PUSHED: "2026-01-01T00:00:00Z"},
        });
        renew(&mut entry);
        entry
    }

    #[test]
    fn no_bit_of_a_sealed_entry_changes_unnoticed() {
        let text = sealed().to_string();
        let original = sealed();
        assert!(is_whole(&original));
        let mut read = 0;
        for position in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                let Ok(entry) = serde_json::from_slice::<Value>(&bytes) else { continue };
                read += 1;
                assert!(!is_whole(&entry) || entry == original, "{entry}");
            }
        }
        assert!(read > 100, "{read} are JSON at all");
    }

    #[test]
    fn what_other_tools_do_is_no_damage() {
        let mut entry = sealed();
        entry["annotations"]["org.example"] = "x".into();
        entry["urls"] = json!([]);
        assert!(is_whole(&entry), "they add");
        let mut entry = sealed();
        annotate(&mut entry, REF_NAME, None);
        assert!(is_whole(&entry), "they take the name away");
        for entry in [json!({"digest": 1}), json!("x"), json!({"annotations": {REF_NAME: "a"}})] {
            assert!(is_whole(&entry), "theirs have none");
        }
    }
}
