//! Images fetched into an engine.

use std::collections::BTreeMap;

use dockit_core::backend::{KEY_LABEL, LocalImage};
use dockit_core::pull::{NamePut, into_engine};
use dockit_registry::{Digest, Reference};

use crate::support::{FakeEngine, MemoryRegistry};

#[tokio::test]
async fn a_short_name_is_not_taken_from_somebody_else() {
    let registry = MemoryRegistry::default();
    let (full, short): (Reference, Reference) =
        ("r.example/base:1".parse().unwrap(), "base:latest".parse().unwrap());
    let digest = registry.push(&full, b"image");
    let platform = "linux/amd64".parse().unwrap();
    let key = BTreeMap::from([(KEY_LABEL.to_owned(), "k1:00".to_owned())]);
    for (before, kept) in [(None, false), (Some(BTreeMap::new()), true), (Some(key), false)] {
        let engine = FakeEngine::default();
        let id = Digest::of(b"before").to_string();
        if let Some(labels) = before.clone() {
            let image = LocalImage { id: id.clone(), labels };
            engine.store.lock().unwrap().insert(short.to_string(), image);
        }
        let names = std::slice::from_ref(&full);
        let put = into_engine(&registry, &engine, &full, &digest, &platform, names, Some(&short))
            .await
            .unwrap();
        let previous = before.map(|_| id.clone());
        assert_eq!(
            put.names,
            [
                NamePut { name: full.clone(), previous: None, kept: false },
                NamePut { name: short.clone(), previous, kept },
            ]
        );
        let at = engine.store.lock().unwrap()[&short.to_string()].id.clone();
        assert_eq!(at == id, kept);
    }
}
