//! What was done for each image.

use dockit_registry::{Digest, Reference};

use crate::image_name::ImageName;
use crate::key::ImageKey;

/// What a run did, in the plan's order.
#[derive(Clone, Debug, Default)]
pub struct RunReport {
    /// One entry for each step of the plan.
    pub images: Vec<ImageReport>,
}

/// What was done for one image.
#[derive(Clone, Debug)]
pub struct ImageReport {
    /// The image.
    pub image: ImageName,
    /// Its key.
    pub key: ImageKey,
    /// How it ended.
    pub status: Status,
    /// The reference with the content tag.
    pub reference: Reference,
    /// The digest that the content tag is on, where a registry holds the image.
    pub digest: Option<Digest>,
    /// Whether this run pushed it.
    pub pushed: bool,
    /// Moving tags that were put on it.
    pub tags: Vec<dockit_registry::Tag>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Why it failed or was skipped.
    pub error: Option<ImageError>,
}

/// How an image ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It was there; also when somebody else's push of the same key won.
    Reused,
    /// It was there, and moving tags were put on it.
    Retagged,
    /// It was built.
    Built,
    /// Its build, push or retag failed.
    Failed,
    /// It was not needed, or something it needs failed.
    Skipped,
    /// The run was interrupted, or stopped early, before it was done.
    Cancelled,
}

impl Status {
    /// The word for this status in text and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::Retagged => "retagged",
            Self::Built => "built",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why an image failed or was skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ImageError {
    /// What kind of failure.
    pub kind: ImageErrorKind,
    /// What happened.
    pub message: String,
}

/// Kinds of [`ImageError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageErrorKind {
    /// The build failed.
    Build,
    /// The build context changed, or cannot be read.
    Context,
    /// There is no engine, or it went away.
    Engine,
    /// The registry, or the credentials for it.
    Registry,
    /// The repository has to be made first.
    NoRepository,
    /// Something that the image needs failed.
    Dependency,
}

impl RunReport {
    /// The entry of an image.
    pub fn image(&self, name: &ImageName) -> Option<&ImageReport> {
        self.images.iter().find(|report| report.image == *name)
    }

    /// Whether every image ended well.
    pub fn succeeded(&self) -> bool {
        self.images.iter().all(|report| {
            report.error.is_none() && !matches!(report.status, Status::Failed | Status::Cancelled)
        })
    }

    /// How many images have this status.
    pub fn count(&self, status: Status) -> usize {
        self.images.iter().filter(|report| report.status == status).count()
    }
}
