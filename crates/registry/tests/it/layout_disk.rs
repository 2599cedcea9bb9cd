//! Layouts in temporary directories, written by hand.

use std::fs;
use std::path::{Path, PathBuf};

use dockit_registry::layout::{Layout, LayoutName, LayoutReference};
use dockit_registry::manifest::{Descriptor, media_type};
use dockit_registry::{Digest, Error, ErrorKind, RawManifest};
use serde_json::{Value, json};

pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A layout's directory.
pub(crate) struct Disk {
    root: tempfile::TempDir,
}

impl Disk {
    /// An empty directory.
    pub(crate) fn empty() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// A layout with these entries in its index; what they point to is for the caller to write.
    pub(crate) fn new() -> Self {
        let disk = Self::empty();
        disk.write("oci-layout", r#"{"imageLayoutVersion": "1.0.0"}"#);
        disk.index(&[]);
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn index(&self, entries: &[Value]) {
        self.write("index.json", json!({"schemaVersion": 2, "manifests": entries}).to_string());
    }

    pub(crate) fn read_index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.join("index.json")).unwrap()).unwrap()
    }

    /// Writes a blob and returns its descriptor.
    pub(crate) fn blob(&self, media_type: &str, bytes: &str) -> Value {
        let digest = Digest::of(bytes.as_bytes());
        self.write(&blob_path(&digest), bytes);
        json!({"mediaType": media_type, "digest": digest.as_str(), "size": bytes.len()})
    }

    /// Writes an image and returns its descriptor.
    pub(crate) fn image(&self, text: &str) -> Value {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": self.blob("application/vnd.oci.image.config.v1+json", "{}"),
            "layers": [self.blob("application/vnd.oci.image.layer.v1.tar", text)],
        });
        self.blob(media_type::OCI_MANIFEST, &manifest.to_string())
    }

    /// Writes what refers to another manifest and returns its descriptor.
    pub(crate) fn referrer(&self, subject: &Value, text: &str) -> Value {
        let manifest = referrer(subject, text);
        self.blob(manifest.media_type(), str::from_utf8(manifest.bytes()).unwrap());
        for bytes in ["{}", text] {
            self.blob("a/b", bytes);
        }
        json!({
            "mediaType": manifest.media_type(), "digest": manifest.digest().as_str(),
            "size": manifest.bytes().len(),
        })
    }

    /// Writes an index of these entries and returns its descriptor.
    pub(crate) fn list(&self, entries: &[Value]) -> Value {
        let index = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries,
        });
        self.blob(media_type::OCI_INDEX, &index.to_string())
    }

    pub(crate) fn open(&self) -> Layout {
        Layout::open(self.path()).unwrap()
    }

    pub(crate) fn reference(&self, rest: &str) -> LayoutReference {
        format!("oci:{}{rest}", self.path().display()).parse().unwrap()
    }

    /// The names of everything in it, sorted.
    pub(crate) fn listing(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut below = vec![self.path().to_owned()];
        while let Some(directory) = below.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.path()).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    below.push(path);
                } else {
                    names.push(name);
                }
            }
        }
        names.sort();
        names
    }
}

/// A manifest that refers to another one; its blobs are `{}` and `text`.
pub(crate) fn referrer(subject: &Value, text: &str) -> RawManifest {
    let blob = |bytes: &str| {
        let digest = Digest::of(bytes.as_bytes());
        json!({"mediaType": "a/b", "digest": digest.as_str(), "size": bytes.len()})
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": "text/note",
        "config": blob("{}"), "layers": [blob(text)], "subject": subject,
        "annotations": {"note": text},
    });
    RawManifest::new(media_type::OCI_MANIFEST, manifest.to_string())
}

/// The same descriptor with a name.
pub(crate) fn named(entry: &Value, name: &str) -> Value {
    let mut entry = entry.clone();
    entry["annotations"][REF_NAME] = name.into();
    entry
}

pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

pub(crate) fn digest(entry: &Value) -> Digest {
    entry["digest"].as_str().unwrap().parse().unwrap()
}

pub(crate) fn descriptor(entry: &Value) -> Descriptor {
    let media_type = entry["mediaType"].as_str().unwrap();
    Descriptor::new(media_type, digest(entry), entry["size"].as_u64().unwrap())
}

pub(crate) fn descriptor_of(bytes: &[u8]) -> Descriptor {
    Descriptor::new("application/octet-stream", Digest::of(bytes), bytes.len() as u64)
}

pub(crate) fn name(text: &str) -> LayoutName {
    text.parse().unwrap()
}

#[track_caller]
pub(crate) fn assert_kind<T>(result: Result<T, Error>, kind: &ErrorKind) -> Error {
    match result {
        Ok(_) => panic!("expected {kind:?}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            error
        }
    }
}
