//! Layouts written by hand, as another tool would.

use std::path::Path;

use dockit_testkit::TestImage;

/// Writes a layout that holds these images under these names.
pub(crate) fn write(directory: &Path, images: &[(&str, &TestImage)]) {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let mut entries = Vec::new();
    for (name, image) in images {
        let manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
        let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
        let files = [
            (image.digest(), &image.manifest),
            (image.config_digest(), &image.config),
            (layer, &image.layer),
        ];
        for (digest, bytes) in files {
            std::fs::write(blobs.join(digest.strip_prefix("sha256:").unwrap()), bytes).unwrap();
        }
        entries.push(serde_json::json!({
            "mediaType": image.media_type,
            "digest": image.digest(),
            "size": image.manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": name},
        }));
    }
    let index = serde_json::json!({"schemaVersion": 2, "manifests": entries});
    std::fs::write(directory.join("index.json"), index.to_string()).unwrap();
}

/// The names in a layout, with the digests that they are on.
pub(crate) fn names(directory: &Path) -> Vec<(String, String)> {
    let index = std::fs::read(directory.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let entries = index["manifests"].as_array().unwrap().iter().map(|entry| {
        let name = &entry["annotations"]["org.opencontainers.image.ref.name"];
        (text(name), text(&entry["digest"]))
    });
    entries.collect()
}
