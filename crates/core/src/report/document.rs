//! A report as data.

use std::collections::BTreeMap;

use serde::Serialize;

/// The name of the document's form. Fields may be added to it; none is renamed.
pub const REPORT_SCHEMA: &str = "dockit.image-report/1";

/// What is known about one image at the end of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageDocument {
    /// [`REPORT_SCHEMA`].
    pub schema: &'static str,
    /// The image's name.
    pub name: String,
    /// Its key.
    pub key: String,
    /// Its reference with the content tag.
    pub reference: String,
    /// The digest that the content tag is on, where a registry holds the image.
    pub digest: Option<String>,
    /// What the run did: `built`, `reused` or `retagged`.
    pub status: &'static str,
    /// The platform that it was built for.
    pub platform: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The size of all layers.
    pub size: SizeEntry,
    /// What made the image, the oldest first; every layer is among it.
    pub layers: Vec<LayerEntry>,
    /// The steps of its build, in the order in which they ended; none if this run did not build it.
    pub steps: Vec<StepEntry>,
    /// The tests that this run ran on it.
    pub tests: Vec<TestEntry>,
    /// What its info commands say.
    pub info: Vec<InfoEntry>,
    /// What could not be found out, and why.
    pub problems: Vec<String>,
}

/// Sizes in bytes; none where nobody says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SizeEntry {
    /// As the registry holds it.
    pub compressed: Option<u64>,
    /// As the engine holds it.
    pub unpacked: Option<u64>,
}

/// A layer, or a command that made none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LayerEntry {
    /// The command that made it; none where the image's history does not tell.
    pub command: Option<String>,
    /// Whether the command made no layer at all, such as `ENV`.
    pub empty: bool,
    /// The digest of the layer as the registry holds it.
    pub digest: Option<String>,
    /// The digest of the unpacked layer.
    pub diff_id: Option<String>,
    /// Its size.
    pub size: SizeEntry,
}

/// A step of a build.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepEntry {
    /// As the engine words it.
    pub name: String,
    /// How long it ran.
    pub seconds: f64,
    /// Whether the layer cache had it.
    pub cached: bool,
}

/// A test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TestEntry {
    /// The command.
    pub command: String,
    /// `container` or `host`.
    pub on: &'static str,
    /// Whether it ended with exit code 0.
    pub passed: bool,
    /// The exit code, if it ended by itself.
    pub exit_code: Option<i64>,
    /// How long it took.
    pub seconds: f64,
    /// The end of what it wrote.
    pub output: String,
    /// Whether there was more before it.
    pub truncated: bool,
}

/// An info command.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InfoEntry {
    /// Its name.
    pub name: String,
    /// The command.
    pub command: String,
    /// How it failed, or why it did not run.
    pub error: Option<String>,
    /// The end of what it wrote.
    pub output: String,
    /// Whether there was more before it.
    pub truncated: bool,
}
