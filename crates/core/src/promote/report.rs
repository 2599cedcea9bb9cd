//! What became of a promotion.

use std::path::PathBuf;

use dockit_registry::{Digest, Reference};

use crate::check::CheckResult;

/// A promotion that was looked at, made, finished or undone.
#[derive(Clone, Debug)]
pub struct PromotionReport {
    /// How it ended.
    pub outcome: Outcome,
    /// What it is called in the journal; none if it did not come so far.
    pub id: Option<String>,
    /// The commit that the files are of, if they are as it says.
    pub revision: Option<String>,
    /// Every tag of every image, in the order of the promotions and the images' names.
    pub moves: Vec<MoveReport>,
    /// What does not hold though the configuration asks for it.
    pub unmet: Vec<Unmet>,
    /// The gates, in the order of the configuration.
    pub gates: Vec<GateReport>,
    /// Promoted, but for these images nothing is recorded beside them.
    pub not_recorded: Vec<(Reference, dockit_registry::Error)>,
    /// What was there before, in writing.
    pub journal: Option<PathBuf>,
}

/// How a promotion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was only looked at.
    Planned,
    /// All tags are where they belong.
    Promoted,
    /// A condition or gate kept it from beginning; nothing was changed.
    Refused,
    /// All is as it was before, as far as nobody else moved tags.
    RolledBack,
    /// Tags are neither all where they belong nor all back: it has to be finished.
    Unfinished,
}

/// One tag of one image.
#[derive(Clone, Debug)]
pub struct MoveReport {
    /// The promotion.
    pub set: String,
    /// The image.
    pub image: String,
    /// Where the manifest comes from.
    pub source: Reference,
    /// The tag.
    pub target: Reference,
    /// What it was on before.
    pub old: Option<Digest>,
    /// What it is to be on.
    pub new: Digest,
    /// What became of it.
    pub status: MoveStatus,
    /// What went wrong.
    pub error: Option<MoveError>,
}

/// What became of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MoveStatus {
    /// It is where it belongs, and was before.
    Unchanged,
    /// It would be made, or moved.
    Planned,
    /// It was made, or moved.
    Put,
    /// It is as it was before: nothing was done, or could be.
    Untouched,
    /// It was moved, and put back.
    Restored,
    /// It was made, and removed.
    Removed,
    /// It was made, and stays, as was asked for.
    Kept,
    /// Somebody else moved it meanwhile: to this digest, or away.
    Foreign(Option<Digest>),
    /// Where it is now is not known.
    Unknown,
}

/// What went wrong with a tag.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The registry failed or refused.
    #[error(transparent)]
    Registry(#[from] dockit_registry::Error),
    /// Somebody else moved it after it was looked at.
    #[error("somebody else moved it meanwhile")]
    Moved,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The promotion.
    pub set: String,
    /// What does not hold.
    pub message: String,
}

/// A gate.
#[derive(Clone, Debug)]
pub struct GateReport {
    /// The promotion.
    pub set: String,
    /// The gate.
    pub name: String,
    /// The command.
    pub command: String,
    /// How it ended.
    pub end: GateEnd,
}

/// How a gate ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum GateEnd {
    /// The promotion was only looked at, or something else failed before.
    NotRun,
    /// It was not run, for this reason.
    Skipped(String),
    /// It ran.
    Ran(CheckResult),
}

impl MoveStatus {
    /// The word for this status in JSON, for a tag that was there before or was not.
    pub fn as_str(&self, existed: bool) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Planned if existed => "would-move",
            Self::Planned => "would-create",
            Self::Put if existed => "moved",
            Self::Put => "created",
            Self::Untouched => "untouched",
            Self::Restored => "restored",
            Self::Removed => "removed",
            Self::Kept => "kept",
            Self::Foreign(_) => "foreign",
            Self::Unknown => "unknown",
        }
    }
}

impl Outcome {
    /// The word for this outcome in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Promoted => "promoted",
            Self::Refused => "refused",
            Self::RolledBack => "rolled-back",
            Self::Unfinished => "unfinished",
        }
    }
}

impl GateReport {
    /// Whether it keeps the promotion from beginning.
    pub fn failed(&self) -> bool {
        matches!(&self.end, GateEnd::Ran(result) if !result.passed())
    }
}

impl PromotionReport {
    /// What went wrong with tags.
    pub fn errors(&self) -> impl Iterator<Item = (&MoveReport, &MoveError)> {
        self.moves.iter().filter_map(|one| Some((one, one.error.as_ref()?)))
    }
}
