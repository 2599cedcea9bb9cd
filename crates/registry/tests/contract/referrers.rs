//! What refers to a manifest.

use dockit_registry::manifest::media_type::OCI_MANIFEST;
use dockit_registry::{Digest, RawManifest, Registry as _};
use dockit_testkit::TestImage;

use super::{Vendor, push};

/// A manifest of this type that refers to an image, and has one blob.
pub(crate) fn referrer(image: &TestImage, artifact_type: &str, blob: &[u8]) -> RawManifest {
    let empty = b"{}";
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "size": empty.len(),
            "digest": Digest::of(empty).as_str(),
        },
        "layers": [{
            "mediaType": "application/octet-stream",
            "size": blob.len(),
            "digest": Digest::of(blob).as_str(),
        }],
        "subject": {
            "mediaType": image.media_type,
            "size": image.manifest.len(),
            "digest": image.digest(),
        },
    });
    RawManifest::new(OCI_MANIFEST, manifest.to_string())
}

pub(crate) async fn what_refers_to_a_manifest_is_listed(vendor: &impl Vendor) {
    let client = vendor.client();
    let at = vendor.repository("app").with_tag("1".parse().unwrap());
    let repository = at.repository();
    let image = TestImage::new("subject");
    let subject = push(&client, &at, &image).await;
    let list = async |artifact_type| {
        let list = vendor.client().referrers(repository, &subject, artifact_type).await.unwrap();
        let mut digests: Vec<Digest> = list.into_iter().map(|entry| entry.digest).collect();
        digests.sort();
        digests
    };
    assert_eq!(list(None).await, []);

    client.put_blob(repository, "{}".into()).await.unwrap();
    let mut put = Vec::new();
    for (artifact_type, blob) in [
        ("application/vnd.example.a", "one"),
        ("application/vnd.example.a", "two"),
        ("application/vnd.example.b", "three"),
    ] {
        client.put_blob(repository, blob.into()).await.unwrap();
        let manifest = referrer(&image, artifact_type, blob.as_bytes());
        for _ in 0..2 {
            let digest = client.put_referrer(repository, &manifest).await.unwrap();
            assert_eq!(digest, *manifest.digest());
        }
        put.push(manifest.digest().clone());
    }
    let mut all = put.clone();
    all.sort();
    assert_eq!(list(None).await, all);
    let mut ours = put[..2].to_vec();
    ours.sort();
    assert_eq!(list(Some("application/vnd.example.a")).await, ours);
    assert_eq!(list(Some("application/vnd.example.b")).await, [put[2].clone()]);
    assert_eq!(list(Some("application/vnd.example.c")).await, []);
}
