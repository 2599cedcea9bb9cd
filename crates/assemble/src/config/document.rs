//! A configuration as it is stored: the image spec's, with Docker's additions
//! (<https://github.com/opencontainers/image-spec/blob/main/config.md>).

use std::collections::{BTreeMap, BTreeSet};

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::TIME;

/// All of it. Members are in the order of the image spec's structures, as most tools write them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) author: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) architecture: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) os: String,
    #[serde(
        rename = "os.version",
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub(super) os_version: String,
    #[serde(
        rename = "os.features",
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(super) os_features: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) variant: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) config: Execution,
    #[serde(deserialize_with = "or_default")]
    pub(super) rootfs: RootFs,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(super) history: Vec<HistoryEntry>,
}

/// How a container of the image runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Execution {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) user: String,
    #[serde(with = "set", skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) exposed_ports: BTreeSet<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(super) env: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(super) entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(super) cmd: Vec<String>,
    #[serde(with = "set", skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) volumes: BTreeSet<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) working_dir: String,
    #[serde(deserialize_with = "texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) stop_signal: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub(super) args_escaped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) healthcheck: Option<HealthcheckDocument>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(super) on_build: Vec<String>,
    /// Seconds. No instruction sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<i64>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(super) shell: Vec<String>,
}

/// `Healthcheck`. Durations are in nanoseconds; 0 is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct HealthcheckDocument {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub(super) test: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub(super) interval: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub(super) timeout: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub(super) start_period: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub(super) start_interval: i64,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub(super) retries: i64,
}

/// The layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RootFs {
    #[serde(rename = "type", deserialize_with = "layers")]
    kind: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) diff_ids: Vec<String>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One entry of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HistoryEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) created_by: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) author: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub(super) comment: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_false")]
    pub(super) empty_layer: bool,
}

impl Document {
    /// Makes the history name as many layers as there are: tools that read both take each layer for the
    /// one of the next entry, and builders other than BuildKit leave entries out.
    pub(super) fn account_for_layers(&mut self) {
        let layers = self.rootfs.diff_ids.len();
        let mut named = 0;
        for entry in self.history.iter_mut().filter(|entry| !entry.empty_layer) {
            entry.empty_layer = named == layers;
            named += usize::from(!entry.empty_layer);
        }
        let missing = HistoryEntry {
            created: Some(TIME.to_owned()),
            comment: "buildkit.exporter.image.v0".to_owned(),
            ..HistoryEntry::default()
        };
        self.history.extend(std::iter::repeat_n(missing, layers - named));
    }
}

/// `null` is as good as nothing, as it is to programs in Go, which write it for empty lists.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// So are values of a map.
fn texts<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    let map: BTreeMap<String, Option<String>> = or_default(deserializer)?;
    Ok(map.into_iter().map(|(name, text)| (name, text.unwrap_or_default())).collect())
}

/// There is no other type.
fn layers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| "layers".to_owned())
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// Sets as objects whose members are empty: `{"80/tcp":{}}`.
mod set {
    use super::{BTreeMap, BTreeSet, Deserialize, Deserializer, IgnoredAny, Serialize, Serializer};

    #[derive(Serialize)]
    struct Nothing {}

    pub(super) fn serialize<S: Serializer>(
        set: &BTreeSet<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(set.iter().map(|name| (name, Nothing {})))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<String>, D::Error> {
        let map: Option<BTreeMap<String, IgnoredAny>> = Option::deserialize(deserializer)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }
}
