//! Configs of images.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::platform::{Platform, PlatformError};

/// What an image's config blob says (image spec, *Image Configuration*), as far as a build on top of
/// the image depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageConfig {
    /// The operating system; empty in configs that are no image's.
    pub os: String,
    /// The architecture by its Go name; empty in configs that are no image's.
    pub architecture: String,
    /// The variant of the architecture.
    pub variant: Option<String>,
    /// The environment, as `NAME=value`, in the config's order.
    pub env: Vec<String>,
    /// Dockerfile instructions that a build on top of the image runs first.
    pub onbuild: Vec<String>,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// What made the image, the oldest first. It is optional, and only for people.
    pub history: Vec<HistoryEntry>,
    /// The digests of the unpacked layers, the lowest first.
    pub diff_ids: Vec<Digest>,
}

/// One entry of an image's history (image spec, *Image Configuration*, `history`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The command that made it.
    pub created_by: String,
    /// Whether it made no layer.
    pub empty_layer: bool,
}

impl ImageConfig {
    /// Reads a config blob, of Docker's or the image spec's media type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`]: the bytes are no image config.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let schema: ConfigSchema = serde_json::from_slice(bytes).map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("not an image config: {error}"))
        })?;
        let container = schema.config.unwrap_or_default();
        Ok(Self {
            os: schema.os.unwrap_or_default(),
            architecture: schema.architecture.unwrap_or_default(),
            variant: schema.variant.filter(|variant| !variant.is_empty()),
            env: container.env.unwrap_or_default(),
            onbuild: container.onbuild.unwrap_or_default(),
            labels: container.labels.unwrap_or_default(),
            history: schema
                .history
                .unwrap_or_default()
                .into_iter()
                .map(|entry| HistoryEntry {
                    created_by: entry.created_by.unwrap_or_default(),
                    empty_layer: entry.empty_layer.unwrap_or(false),
                })
                .collect(),
            diff_ids: schema
                .rootfs
                .and_then(|files| files.diff_ids)
                .unwrap_or_default()
                .iter()
                .filter_map(|digest| digest.parse().ok())
                .collect(),
        })
    }

    /// Whether the image runs where `platform` is wanted. Many configs leave the variant out, and then
    /// it could be any.
    #[cfg(feature = "client")]
    pub(crate) fn is_for(&self, platform: &Platform) -> bool {
        self.platform().is_ok_and(|found| {
            let unsaid = self.variant.is_none()
                && found.os() == platform.os()
                && found.architecture() == platform.architecture();
            unsaid || platform.distance(&found).is_some()
        })
    }

    /// The platform that the image was built for.
    ///
    /// # Errors
    ///
    /// The config names none.
    pub fn platform(&self) -> Result<Platform, PlatformError> {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

/// Every field may also be `null`: Go writes empty lists so.
#[derive(Deserialize)]
struct ConfigSchema {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    config: Option<ContainerSchema>,
    history: Option<Vec<HistorySchema>>,
    rootfs: Option<FilesSchema>,
}

#[derive(Deserialize)]
struct HistorySchema {
    created_by: Option<String>,
    empty_layer: Option<bool>,
}

#[derive(Deserialize)]
struct FilesSchema {
    diff_ids: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct ContainerSchema {
    #[serde(rename = "Env")]
    env: Option<Vec<String>>,
    #[serde(rename = "OnBuild")]
    onbuild: Option<Vec<String>>,
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_triggers_and_labels_are_read() {
        let config = ImageConfig::parse(
            br#"{"os":"linux","architecture":"arm64","variant":"v8","created":"x","config":{
                "Env":["PATH=/bin","A="],"OnBuild":["COPY . /app"],"Labels":{"k":"v"},"User":""},
                "rootfs":{"type":"layers","diff_ids":[]}}"#,
        )
        .unwrap();
        assert_eq!(config.env, ["PATH=/bin", "A="]);
        assert_eq!(config.onbuild, ["COPY . /app"]);
        assert_eq!(config.labels["k"], "v");
        assert_eq!(config.platform().unwrap().to_string(), "linux/arm64");
    }

    #[test]
    fn the_history_tells_layers_from_commands_without() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let json = format!(
            r#"{{"history":[{{"created":"x","created_by":"COPY a /"}},
                {{"created_by":"ENV A=b","empty_layer":true,"comment":"c"}},{{}}],
                "rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#
        );
        let config = ImageConfig::parse(json.as_bytes()).unwrap();
        let history: Vec<_> = config
            .history
            .iter()
            .map(|entry| (entry.created_by.as_str(), entry.empty_layer))
            .collect();
        assert_eq!(history, [("COPY a /", false), ("ENV A=b", true), ("", false)]);
        assert_eq!(config.diff_ids[0].as_str(), digest);
    }

    #[test]
    fn null_and_missing_are_empty() {
        for json in [
            r#"{"config":{"Env":null,"OnBuild":null,"Labels":null}}"#,
            r#"{"config":null,"history":null,"rootfs":null}"#,
            "{}",
        ] {
            let config = ImageConfig::parse(json.as_bytes()).unwrap();
            assert_eq!(config, ImageConfig::default());
            assert!(config.platform().is_err());
        }
    }

    #[test]
    fn other_bytes_are_invalid() {
        for bytes in ["", "[]", "<html>", r#"{"config":{"Env":"x"}}"#] {
            let error = ImageConfig::parse(bytes.as_bytes()).unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Invalid, "{bytes}");
        }
    }
}
