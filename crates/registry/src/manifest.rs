//! Manifests and indexes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::platform::Platform;

/// Media types of what a registry's manifest endpoint holds.
pub mod media_type {
    /// An image manifest of the image spec.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An index of the image spec.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker's image manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's name for an index.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// All of them, best first. A registry may answer 404 to a request that leaves one out.
    pub const ALL: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
}

/// Largest manifest that registries have to accept, in bytes (distribution spec, *Pushing manifests*).
pub const MAX_MANIFEST_SIZE: u64 = 4 * 1024 * 1024;

/// A manifest or index, byte for byte as stored, with its digest. Never serialised again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    media_type: String,
    bytes: Arc<[u8]>,
    digest: Digest,
}

impl RawManifest {
    /// A manifest of these bytes, under their SHA-256 digest.
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Vec<u8> = bytes.into();
        Self { media_type: media_type.into(), digest: Digest::of(&bytes), bytes: bytes.into() }
    }

    /// A manifest that was asked for, or announced, under this digest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DigestMismatch`]: the bytes do not have this digest.
    pub fn verified(
        media_type: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
        digest: Digest,
    ) -> Result<Self, Error> {
        let bytes: Vec<u8> = bytes.into();
        if !digest.matches(&bytes) {
            let found = Digest::of(&bytes);
            let message = format!("the manifest should be {digest}, but its bytes are {found}");
            return Err(Error::new(ErrorKind::DigestMismatch, message));
        }
        Ok(Self { media_type: media_type.into(), bytes: bytes.into(), digest })
    }

    /// The same bytes under another media type.
    #[must_use]
    pub(crate) fn with_media_type(mut self, media_type: &str) -> Self {
        media_type.clone_into(&mut self.media_type);
        self
    }

    /// The media type it is stored under.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The bytes as stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What points to it: media type, digest and size.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest.clone(), self.bytes.len() as u64)
    }

    /// What the bytes say.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for Docker's schema 1; [`ErrorKind::Invalid`] for bytes that are
    /// no manifest, or are one of another type than the media type says (image spec, *Media Types*:
    /// what can be read as both an index and a manifest is refused).
    pub fn parse(&self) -> Result<Manifest, Error> {
        parse(&self.media_type, &self.bytes)
            .map_err(|(kind, message)| Error::new(kind, format!("{}: {message}", self.digest)))
    }
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// One image.
    Image(ImageManifest),
    /// Images for several platforms.
    Index(Index),
}

impl Manifest {
    /// The manifest that it refers to: that one's referrers then list it.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Image(image) => image.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
        }
    }

    /// What it is in a list of referrers: its artifact type, or else the media type of its config;
    /// an index without one is nothing in particular (distribution spec, *Listing Referrers*).
    pub fn type_as_referrer(&self) -> Option<&str> {
        match self {
            Self::Image(image) => Some(image.type_as_referrer()),
            Self::Index(index) => index.artifact_type.as_deref(),
        }
    }

    /// The annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Image(image) => &image.annotations,
            Self::Index(index) => &index.annotations,
        }
    }

    /// The manifests that it needs to be there: an index's entries.
    pub fn children(&self) -> &[Descriptor] {
        match self {
            Self::Image(_) => &[],
            Self::Index(index) => &index.entries,
        }
    }

    /// The blobs that it needs to be there, config first.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let image = match self {
            Self::Image(image) => Some(image),
            Self::Index(_) => None,
        };
        image.into_iter().flat_map(|image| std::iter::once(&image.config).chain(&image.layers))
    }
}

/// The manifest of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageManifest {
    /// The config blob.
    pub config: Descriptor,
    /// The layer blobs, lowest first.
    pub layers: Vec<Descriptor>,
    /// What it holds, if that is no image (image spec, *Guidelines for Artifact Usage*).
    pub artifact_type: Option<String>,
    /// The manifest that it refers to: that one's referrers then list it.
    pub subject: Option<Descriptor>,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
}

impl ImageManifest {
    /// What it is in a list of referrers: its artifact type, or else the media type of its config
    /// (distribution spec, *Listing Referrers*).
    pub fn type_as_referrer(&self) -> &str {
        self.artifact_type.as_deref().unwrap_or(&self.config.media_type)
    }
}

/// An index of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Index {
    /// The manifests, in the index's order.
    pub entries: Vec<Descriptor>,
    /// What it holds, if that are no images.
    pub artifact_type: Option<String>,
    /// The manifest that it refers to.
    pub subject: Option<Descriptor>,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A pointer to stored bytes (image spec, *Content Descriptors*).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// The media type of what it points to.
    pub media_type: String,
    /// The digest of what it points to.
    pub digest: Digest,
    /// The size of what it points to, in bytes.
    pub size: u64,
    /// The platform of the manifest it points to; in index entries only, and not in all of them.
    /// Attestations, whose platform is written `unknown/unknown`, have none.
    pub platform: Option<Platform>,
    /// What the manifest it points to holds; in lists of referrers.
    pub artifact_type: Option<String>,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A pointer to bytes of which nothing else is known.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            platform: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    /// What a descriptor in JSON says, of whatever is known here.
    pub(crate) fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        DescriptorSchema::deserialize(value).map_err(|error| error.to_string())?.validate()
    }

    /// Whether it points to a layer that registries need not hold: its bytes are had elsewhere, and
    /// mostly must not be passed on (image spec, *Non-Distributable Layers*).
    pub fn is_non_distributable(&self) -> bool {
        self.media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
            || self.media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }
}

impl Index {
    /// The entry that serves a platform best: its own, or else that of the newest older variant of
    /// the same architecture. The first of equals; entries without a platform are never chosen.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        self.entries
            .iter()
            .filter_map(|entry| Some((platform.distance(entry.platform.as_ref()?)?, entry)))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, entry)| entry)
    }

    /// The platforms it has images for, in the index's order.
    pub fn platforms(&self) -> impl Iterator<Item = &Platform> {
        self.entries.iter().filter_map(|entry| entry.platform.as_ref())
    }
}

type Problem = (ErrorKind, String);

fn parse(media_type: &str, bytes: &[u8]) -> Result<Manifest, Problem> {
    let invalid = |message: String| (ErrorKind::Invalid, message);
    let schema: ManifestSchema = serde_json::from_slice(bytes)
        .map_err(|error| invalid(format!("not a manifest: {error}")))?;
    if schema.schema_version == 1 {
        let message = "a manifest of Docker's schema 1, which nothing writes any more".to_owned();
        return Err((ErrorKind::Unsupported, message));
    }
    if schema.schema_version != 2 {
        return Err(invalid(format!("unknown schema version {}", schema.schema_version)));
    }
    let known = |name: &str| media_type::ALL.contains(&name);
    // Some registries serve every manifest as plain JSON.
    let media_type = match schema.media_type.as_deref() {
        Some(inner) if known(media_type) && inner != media_type => {
            return Err(invalid(format!("stored as {media_type:?}, but says it is {inner:?}")));
        }
        Some(inner) if known(inner) => inner,
        _ if known(media_type) => media_type,
        _ => return Err(invalid(format!("unknown media type {media_type:?}"))),
    };
    let is_index = matches!(media_type, media_type::OCI_INDEX | media_type::DOCKER_LIST);
    match (schema.config, schema.layers, schema.manifests) {
        (None, None, Some(manifests)) if is_index => Ok(Manifest::Index(Index {
            entries: descriptors(manifests).map_err(invalid)?,
            artifact_type: schema.artifact_type,
            subject: schema.subject.map(DescriptorSchema::validate).transpose().map_err(invalid)?,
            annotations: schema.annotations.unwrap_or_default(),
        })),
        (Some(config), layers, None) if !is_index => Ok(Manifest::Image(ImageManifest {
            config: config.validate().map_err(invalid)?,
            layers: descriptors(layers.unwrap_or_default()).map_err(invalid)?,
            artifact_type: schema.artifact_type,
            subject: schema.subject.map(DescriptorSchema::validate).transpose().map_err(invalid)?,
            annotations: schema.annotations.unwrap_or_default(),
        })),
        _ => Err(invalid(format!("not of its media type {media_type:?}"))),
    }
}

fn descriptors(schemas: Vec<DescriptorSchema>) -> Result<Vec<Descriptor>, String> {
    schemas.into_iter().map(DescriptorSchema::validate).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestSchema {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<DescriptorSchema>,
    layers: Option<Vec<DescriptorSchema>>,
    manifests: Option<Vec<DescriptorSchema>>,
    artifact_type: Option<String>,
    subject: Option<DescriptorSchema>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescriptorSchema {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<PlatformSchema>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct PlatformSchema {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

impl DescriptorSchema {
    fn validate(self) -> Result<Descriptor, String> {
        let digest = self.digest.parse().map_err(|error| format!("a descriptor: {error}"))?;
        Ok(Descriptor {
            media_type: self.media_type,
            digest,
            size: self.size,
            platform: self.platform.and_then(PlatformSchema::known),
            artifact_type: self.artifact_type,
            annotations: self.annotations.unwrap_or_default(),
        })
    }
}

impl PlatformSchema {
    /// `None` for attestations and for what names no platform.
    fn known(self) -> Option<Platform> {
        let (os, architecture) = (self.os?, self.architecture?);
        if os == "unknown" || architecture == "unknown" {
            return None;
        }
        Platform::new(&os, &architecture, self.variant.as_deref()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(byte: &str) -> String {
        format!("sha256:{}", byte.repeat(32))
    }

    fn image(media_type: &str) -> String {
        let (config, layer) = (digest("aa"), digest("bb"));
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"c","size":7,
            "digest":"{config}"}},"layers":[{{"mediaType":"l","size":9,"digest":"{layer}"}}]}}"#
        )
    }

    fn index(media_type: &str, platforms: &[&str]) -> String {
        let entries: Vec<String> = platforms
            .iter()
            .enumerate()
            .map(|(number, platform)| {
                let digest = digest(&format!("{number:02}"));
                format!(r#"{{"mediaType":"m","size":1,"digest":"{digest}","platform":{platform}}}"#)
            })
            .collect();
        let entries = entries.join(",");
        format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{entries}]}}"#)
    }

    #[test]
    fn manifests_of_both_families_are_read() {
        for name in [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST] {
            for stored in [name, "application/json"] {
                let raw = RawManifest::new(stored, image(name));
                let Manifest::Image(manifest) = raw.parse().unwrap() else { panic!("{name}") };
                assert_eq!(manifest.config.digest.as_str(), digest("aa"));
                assert_eq!((manifest.layers[0].size, manifest.layers.len()), (9, 1));
            }
        }
        for name in [media_type::OCI_INDEX, media_type::DOCKER_LIST] {
            let text = index(name, &[r#"{"os":"linux","architecture":"amd64"}"#]);
            let Manifest::Index(index) = RawManifest::new(name, text).parse().unwrap() else {
                panic!("{name}")
            };
            assert_eq!(index.platforms().next(), Some(&Platform::linux_amd64()));
        }
    }

    #[test]
    fn the_best_entry_is_chosen_and_attestations_never() {
        let text = index(
            media_type::OCI_INDEX,
            &[
                r#"{"os":"unknown","architecture":"unknown"}"#,
                r#"{"os":"linux","architecture":"arm","variant":"v5"}"#,
                r#"{"os":"linux","architecture":"arm","variant":"v6"}"#,
                r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#,
                r#"{"os":"linux","architecture":"arm64"}"#,
                "null",
            ],
        );
        let Manifest::Index(index) = RawManifest::new(media_type::OCI_INDEX, text).parse().unwrap()
        else {
            panic!("not an index")
        };
        for (wanted, entry) in [
            ("linux/arm/v7", Some("02")),
            ("linux/arm/v5", Some("01")),
            ("linux/arm64", Some("03")),
            ("linux/amd64", None),
            ("unknown/unknown", None),
        ] {
            let found = index.select(&wanted.parse().unwrap());
            let found = found.map(|entry| entry.digest.as_str().to_owned());
            assert_eq!(found, entry.map(digest), "{wanted}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let oci = media_type::OCI_MANIFEST;
        let both = image(oci).replacen("\"layers\"", "\"manifests\":[],\"layers\"", 1);
        for (stored, text, kind) in [
            (oci, "<html></html>".to_owned(), ErrorKind::Invalid),
            (oci, String::new(), ErrorKind::Invalid),
            (oci, "{}".to_owned(), ErrorKind::Invalid),
            (oci, r#"{"schemaVersion":1}"#.to_owned(), ErrorKind::Unsupported),
            (oci, r#"{"schemaVersion":2}"#.to_owned(), ErrorKind::Invalid),
            (oci, image(media_type::DOCKER_MANIFEST), ErrorKind::Invalid),
            (media_type::OCI_INDEX, image(media_type::OCI_INDEX), ErrorKind::Invalid),
            (oci, both, ErrorKind::Invalid),
            (oci, image(oci).replace(&digest("aa"), "sha256:1"), ErrorKind::Invalid),
            ("text/plain", r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), ErrorKind::Invalid),
        ] {
            let error = RawManifest::new(stored, text.clone()).parse().unwrap_err();
            assert_eq!(*error.kind(), kind, "{text}: {error}");
        }
    }

    #[test]
    fn bytes_are_checked_against_the_digest_they_are_asked_under() {
        let raw = RawManifest::new("m", "abc");
        assert_eq!(RawManifest::verified("m", "abc", raw.digest().clone()).unwrap(), raw);
        let error = RawManifest::verified("m", "abd", raw.digest().clone()).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::DigestMismatch);
    }
}
