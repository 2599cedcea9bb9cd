//! Promotions as configured.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::command_line::CommandLine;
use crate::tag_template::{InvalidTagTemplate, TagTemplate};

/// A `[promotions.NAME]` table: which images get which tags, and what has to hold before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// The table's name, or the tag where there is no table.
    pub name: String,
    /// The tags that every image gets; never empty. `{prefix}` and the `-` beside it vanish for an image
    /// without a tag prefix.
    pub tags: Vec<TagTemplate>,
    /// Where each image's manifest comes from.
    pub from: PromotionSource,
    /// Names and globs of images; empty: all of the project that have a registry.
    pub images: Vec<String>,
    /// Promotions and tags that each image's manifest has to be under already.
    pub after: Vec<Predecessor>,
    /// The branch that has to be checked out.
    pub branch: Option<String>,
    /// Whether the files that git tracks have to be as committed.
    pub clean: bool,
    /// Commands that have to pass.
    pub gates: Vec<Gate>,
}

/// Where a promotion takes the manifest of each image from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PromotionSource {
    /// What the lockfile records.
    #[default]
    Lock,
    /// What this tag of each image is on.
    Tag(TagTemplate),
}

/// What has to come before a promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// All tags of another promotion of the configuration.
    Promotion(String),
    /// A tag.
    Tag(TagTemplate),
}

/// A command that has to end with exit code 0 before anything is promoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// What it is called where it is skipped.
    pub name: String,
    /// The command. It runs on this machine, in the directory of the configuration file.
    pub command: CommandLine,
    /// How long it may take.
    pub timeout: Duration,
}

/// How long a gate may take if nothing else is said.
pub const GATE_TIMEOUT: Duration = Duration::from_secs(1800);

impl Promotion {
    /// A promotion that is not configured: this tag, from the lockfile, without conditions.
    pub fn plain(tag: TagTemplate) -> Self {
        Self {
            name: tag.to_string(),
            tags: vec![tag],
            from: PromotionSource::Lock,
            images: Vec::new(),
            after: Vec::new(),
            branch: None,
            clean: false,
            gates: Vec::new(),
        }
    }
}

impl FromStr for PromotionSource {
    type Err = InvalidTagTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTagTemplate> {
        if text == "lock" { Ok(Self::Lock) } else { text.parse().map(Self::Tag) }
    }
}

impl fmt::Display for PromotionSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock => formatter.write_str("lock"),
            Self::Tag(tag) => tag.fmt(formatter),
        }
    }
}

impl fmt::Display for Predecessor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promotion(name) => formatter.write_str(name),
            Self::Tag(tag) => tag.fmt(formatter),
        }
    }
}

/// A gate that is not run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedGate {
    /// The gate.
    pub name: String,
    /// What the person said who skips it.
    pub reason: String,
}
