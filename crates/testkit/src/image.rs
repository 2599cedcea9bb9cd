//! Small images.

use crate::http::exchange;

/// An image of one layer, without meaning.
#[derive(Clone, Debug)]
pub struct TestImage {
    /// The config blob.
    pub config: Vec<u8>,
    /// The layer blob: an empty tar archive, and what makes the image differ from others.
    pub layer: Vec<u8>,
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The manifest's media type, which is the image spec's.
    pub media_type: &'static str,
}

impl TestImage {
    /// An image for linux/amd64; images of different seeds differ.
    pub fn new(seed: &str) -> Self {
        Self::for_platform(seed, "linux", "amd64")
    }

    /// An image for a platform.
    pub fn for_platform(seed: &str, os: &str, architecture: &str) -> Self {
        // Two blocks of zeroes are the end of a tar archive; what follows is not read.
        let mut layer = vec![0; 1024];
        layer.extend_from_slice(seed.as_bytes());
        let config = serde_json::json!({
            "created": "2026-01-02T03:04:05Z",
            "os": os,
            "architecture": architecture,
            "config": {"Env": ["PATH=/bin", format!("SEED={seed}")], "OnBuild": ["RUN true"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "size": config.len(),
                "digest": sha256(&config),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "size": layer.len(),
                "digest": sha256(&layer),
            }],
        });
        let manifest = manifest.to_string().into_bytes();
        Self { config, layer, manifest, media_type }
    }

    /// The manifest's digest.
    pub fn digest(&self) -> String {
        sha256(&self.manifest)
    }

    /// The config's digest.
    pub fn config_digest(&self) -> String {
        sha256(&self.config)
    }

    /// Pushes the image to the registry at `host:port`, under a tag or its digest. `authorization` is
    /// the header's value.
    pub fn push(&self, host: &str, repository: &str, tag: &str, authorization: Option<&str>) {
        for blob in [&self.config, &self.layer] {
            push_blob(host, repository, blob, authorization);
        }
        put_manifest(host, repository, tag, self.media_type, &self.manifest, authorization);
    }

    /// An index of these images with their platforms, as bytes of the image spec's media type.
    pub fn index(images: &[(&Self, &str, &str)]) -> Vec<u8> {
        let manifests: Vec<serde_json::Value> = images
            .iter()
            .map(|(image, os, architecture)| {
                serde_json::json!({
                    "mediaType": image.media_type,
                    "size": image.manifest.len(),
                    "digest": image.digest(),
                    "platform": {"os": os, "architecture": architecture},
                })
            })
            .collect();
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        });
        index.to_string().into_bytes()
    }

    /// Pushes an index whose images are in the repository; returns its digest.
    pub fn push_index(
        index: &[u8],
        host: &str,
        repository: &str,
        tag: &str,
        authorization: Option<&str>,
    ) -> String {
        let media_type = "application/vnd.oci.image.index.v1+json";
        put_manifest(host, repository, tag, media_type, index, authorization);
        sha256(index)
    }
}

fn put_manifest(
    host: &str,
    repository: &str,
    tag: &str,
    media_type: &str,
    manifest: &[u8],
    authorization: Option<&str>,
) {
    let mut headers = vec![("Content-Type", media_type)];
    headers.extend(authorization.map(|value| ("Authorization", value)));
    let target = format!("/v2/{repository}/manifests/{tag}");
    let reply = exchange(host, "PUT", &target, &headers, manifest).expect("the registry answers");
    assert_eq!(reply.status(), 201, "{}", String::from_utf8_lossy(&reply.body));
}

fn push_blob(host: &str, repository: &str, blob: &[u8], authorization: Option<&str>) {
    let headers: Vec<_> = authorization.map(|value| ("Authorization", value)).into_iter().collect();
    let target = format!("/v2/{repository}/blobs/uploads/");
    let reply = exchange(host, "POST", &target, &headers, b"").expect("the registry answers");
    assert_eq!(reply.status(), 202, "{}", String::from_utf8_lossy(&reply.body));
    let location = reply.header("location").expect("an upload has a location");
    let location = location.strip_prefix(&format!("http://{host}")).unwrap_or(location);
    let separator = if location.contains('?') { '&' } else { '?' };
    let target = format!("{location}{separator}digest={}", sha256(blob));
    let reply = exchange(host, "PUT", &target, &headers, blob).expect("the registry answers");
    assert_eq!(reply.status(), 201, "{}", String::from_utf8_lossy(&reply.body));
}

/// `sha256:` and the hex digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
