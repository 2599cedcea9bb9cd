//! Images fetched into an engine.

use std::collections::BTreeMap;

use dockit_core::backend::{KEY_LABEL, LocalImage};
use dockit_core::pull::{NamePut, into_engine, sizes};
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

/// What an engine lacks is counted once, and what it has not at all.
#[tokio::test]
async fn sizes_count_each_blob_once_and_not_what_is_there() {
    let registry = MemoryRegistry::default();
    let config = |nonce: &str| {
        format!(r#"{{"os":"linux","architecture":"amd64","config":{{}},"nonce":"{nonce}"}}"#)
    };
    let names: [Reference; 3] =
        ["r.example/a:1", "r.example/b:1", "r.example/c:1"].map(|name| name.parse().unwrap());
    let configs = [config("one"), config("one"), config("another")];
    let digests: Vec<Digest> = names
        .iter()
        .zip(&configs)
        .map(|(name, config)| registry.push(name, config.as_bytes()))
        .collect();
    let platform: dockit_registry::Platform = "linux/amd64".parse().unwrap();
    let asked: Vec<_> = names
        .iter()
        .zip(&digests)
        .map(|(name, digest)| (name.repository().with_digest(digest.clone()), platform.clone()))
        .collect();
    let engine = FakeEngine::default();
    let bytes = |index: usize| configs[index].len() as u64;
    let found = async |engine: &FakeEngine<'_>| {
        let sizes = sizes(&registry, engine, &asked).await.unwrap();
        sizes.into_iter().map(|size| (size.whole, size.transfer, size.present)).collect::<Vec<_>>()
    };
    let (one, other) = (bytes(0), bytes(2));
    assert_eq!(found(&engine).await, [(one, one, false), (one, 0, false), (other, other, false)]);
    // By the name, but for another platform, is not there.
    for (id, present) in [
        (Digest::of(b"another platform").to_string(), false),
        (Digest::of(configs[2].as_bytes()).to_string(), true),
        (digests[2].to_string(), true),
    ] {
        let image = LocalImage { id, labels: BTreeMap::new() };
        engine.store.lock().unwrap().insert(asked[2].0.to_string(), image);
        let transfer = if present { 0 } else { other };
        assert_eq!(found(&engine).await[2], (other, transfer, present));
    }
}
