//! Places of copies that are held in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use dockit_registry::copy::{CopyOptions, CopyReport, ImagePlace, copy};
use dockit_registry::manifest::{Descriptor, media_type};
use dockit_registry::{
    BlobSource, BlobStream, Delivery, Digest, Error, ErrorKind, Location, RawManifest, Repository,
};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

/// What places of one registry share, and what was done to it.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) manifests: BTreeMap<Digest, RawManifest>,
    pub(crate) blobs: BTreeMap<Digest, Bytes>,
    pub(crate) names: BTreeMap<String, Digest>,
    pub(crate) log: Vec<String>,
    pub(crate) refuse: Option<Digest>,
    /// What is listed as referrer of every manifest, whatever it is.
    pub(crate) lies: Vec<Descriptor>,
    /// How many manifests with a subject are being put.
    pub(crate) referrers_underway: usize,
    /// Registries have to take what refers to nothing; not all do.
    pub(crate) wants_subjects: bool,
}

pub(crate) struct MemoryPlace {
    location: Location,
    store: Arc<Mutex<Store>>,
}

impl MemoryPlace {
    pub(crate) fn new(location: &str) -> Self {
        Self { location: location.parse().unwrap(), store: Arc::default() }
    }

    pub(crate) fn beside(&self, location: &str) -> Self {
        Self { location: location.parse().unwrap(), store: Arc::clone(&self.store) }
    }

    pub(crate) fn store<T>(&self, act: impl FnOnce(&mut Store) -> T) -> T {
        act(&mut self.store.lock().unwrap())
    }

    pub(crate) fn blob(&self, bytes: &str) -> Value {
        let bytes = Bytes::copy_from_slice(bytes.as_bytes());
        let digest = Digest::of(&bytes);
        let entry = json!({"mediaType": "m", "digest": digest.as_str(), "size": bytes.len()});
        self.store(|store| store.blobs.insert(digest, bytes));
        entry
    }

    pub(crate) fn add(&self, value: &Value) -> Value {
        let media_type = value["mediaType"].as_str().unwrap();
        let manifest = RawManifest::new(media_type, value.to_string());
        let (digest, size) = (manifest.digest().clone(), manifest.bytes().len());
        self.store(|store| store.manifests.insert(digest.clone(), manifest));
        json!({"mediaType": media_type, "digest": digest.as_str(), "size": size})
    }

    pub(crate) fn image(&self, text: &str) -> Value {
        let layers = ["common", text].map(|text| self.blob(text));
        self.add(&json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": self.blob(&format!("config of {text}")), "layers": layers,
        }))
    }

    pub(crate) fn index(&self, entries: &[Value]) -> Value {
        self.add(&json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries,
        }))
    }

    pub(crate) fn referrer(&self, subject: &Value, text: &str) -> Value {
        self.add(&json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": "a/b",
            "config": self.blob("{}"), "layers": [self.blob(text)], "subject": subject,
        }))
    }

    pub(crate) fn name(&self, entry: &Value) -> Digest {
        let digest = digest(entry);
        let name = self.location.to_string();
        self.store(|store| store.names.insert(name, digest.clone()));
        digest
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.store(|store| std::mem::take(&mut store.log))
    }

    /// Everything below a digest is here: manifests, blobs and referrers.
    pub(crate) fn assert_whole(&self, from: &Self) {
        let (blobs, manifests) = from.store(|store| {
            let blobs: BTreeSet<Digest> = store.blobs.keys().cloned().collect();
            (blobs, store.manifests.keys().cloned().collect::<BTreeSet<_>>())
        });
        self.store(|store| {
            assert_eq!(store.blobs.keys().cloned().collect::<BTreeSet<_>>(), blobs);
            assert_eq!(store.manifests.keys().cloned().collect::<BTreeSet<_>>(), manifests);
        });
    }
}

pub(crate) fn digest(entry: &Value) -> Digest {
    entry["digest"].as_str().unwrap().parse().unwrap()
}

pub(crate) fn absent() -> Error {
    Error::new(ErrorKind::NotFound, "absent")
}

#[async_trait]
impl ImagePlace for MemoryPlace {
    fn location(&self) -> &Location {
        &self.location
    }

    async fn named_digest(&self) -> Result<Option<Digest>, Error> {
        Ok(self.store(|store| store.names.get(&self.location.to_string()).cloned()))
    }

    async fn named(&self) -> Result<RawManifest, Error> {
        let digest = self.named_digest().await?.ok_or_else(absent)?;
        self.manifest(&digest).await
    }

    async fn manifest(&self, digest: &Digest) -> Result<RawManifest, Error> {
        self.store(|store| store.manifests.get(digest).cloned()).ok_or_else(absent)
    }

    async fn has_manifest(&self, digest: &Digest) -> Result<bool, Error> {
        Ok(self.store(|store| store.manifests.contains_key(digest)))
    }

    async fn blob(&self, blob: &Descriptor) -> Result<BlobStream, Error> {
        let bytes = self.store(|store| store.blobs.get(&blob.digest).cloned());
        bytes.ok_or_else(absent)?.open().await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        let refers = |manifest: &&RawManifest| {
            manifest.parse().unwrap().subject().is_some_and(|known| known.digest == *subject)
        };
        Ok(self.store(|store| {
            let listed = store.manifests.values().filter(refers).map(RawManifest::descriptor);
            listed.chain(store.lies.iter().cloned()).collect()
        }))
    }

    async fn put_blob(
        &self,
        blob: &Descriptor,
        source: &dyn BlobSource,
        mount_from: Option<&Repository>,
    ) -> Result<Delivery, Error> {
        if self.store(|store| store.blobs.contains_key(&blob.digest)) {
            return Ok(Delivery::Present);
        }
        if self.store(|store| store.refuse.as_ref() == Some(&blob.digest)) {
            return Err(Error::new(ErrorKind::Denied, "refused"));
        }
        let pieces: Vec<Bytes> = source.open().await?.try_collect().await?;
        let bytes = Bytes::from(pieces.concat());
        assert_eq!(Digest::of(&bytes), blob.digest);
        let from = mount_from.map_or_else(String::new, |from| format!(" or from {}", from.name()));
        self.store(|store| {
            store.log.push(format!("blob {}{from}", String::from_utf8_lossy(&bytes)));
            store.blobs.insert(blob.digest.clone(), bytes);
        });
        Ok(Delivery::Written)
    }

    async fn put_manifest(&self, manifest: &RawManifest) -> Result<(), Error> {
        let content = manifest.parse().unwrap();
        let refers = usize::from(content.subject().is_some());
        self.store(|store| store.referrers_underway += refers);
        tokio::task::yield_now().await;
        self.store(|store| {
            assert!(store.referrers_underway <= 1 || refers == 0, "one list, two writers");
            store.referrers_underway -= refers;
            for blob in content.blobs().filter(|blob| !blob.is_non_distributable()) {
                assert!(store.blobs.contains_key(&blob.digest), "a blob is missing: {blob:?}");
            }
            for entry in content.children() {
                let there = store.manifests.contains_key(&entry.digest)
                    || store.blobs.contains_key(&entry.digest);
                assert!(there, "a child is missing: {entry:?}");
            }
            if let Some(subject) = content.subject().filter(|_| store.wants_subjects) {
                assert!(store.manifests.contains_key(&subject.digest), "the subject is missing");
            }
            store.log.push("manifest".to_owned());
            store.manifests.insert(manifest.digest().clone(), manifest.clone());
        });
        Ok(())
    }

    async fn put_named(&self, manifest: &RawManifest) -> Result<(), Error> {
        if !self.has_manifest(manifest.digest()).await? {
            self.put_manifest(manifest).await?;
        }
        let name = self.location.to_string();
        self.store(|store| {
            if store.names.get(&name) == Some(manifest.digest()) {
                return;
            }
            store.log.push(format!("name {name}"));
            store.names.insert(name, manifest.digest().clone());
        });
        Ok(())
    }
}

pub(crate) async fn run(from: &MemoryPlace, to: &MemoryPlace) -> Result<CopyReport, Error> {
    copy(from, to, &CopyOptions::default(), Arc::new(())).await
}
