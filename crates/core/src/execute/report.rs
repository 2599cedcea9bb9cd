//! What was done for each image.

use std::fmt;

use dockit_registry::{Digest, Platform, Reference};

use crate::check::CheckResult;
use crate::image_name::ImageName;
use crate::key::ImageKey;
use crate::moving_tags::HeldTag;

/// What a run did, in the plan's order.
#[derive(Clone, Debug, Default)]
pub struct RunReport {
    /// One entry for each step of the plan.
    pub images: Vec<ImageReport>,
    /// What the project's tests said of them.
    pub project_tests: ProjectTests,
}

/// What became of the tests of a project. They gate moving tags; every image keeps its own status.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ProjectTests {
    /// There are none.
    #[default]
    None,
    /// They did not run: nothing was built and no tag moves, or not every image ended well.
    NotRun,
    /// They ran, at least to the first that failed.
    Ran(Vec<CheckResult>),
    /// They could not run, for this reason.
    Broken(String),
}

impl ProjectTests {
    /// Why moving tags must stay where they are, if they must.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::None | Self::NotRun => None,
            Self::Ran(results) => {
                let failed = results.iter().find(|result| !result.passed())?;
                Some(format!("the project's test {}", failed.describe()))
            }
            Self::Broken(reason) => Some(format!("the project's tests did not run: {reason}")),
        }
    }
}

/// What was done for one image.
#[derive(Clone, Debug)]
pub struct ImageReport {
    /// The image.
    pub image: ImageName,
    /// The platforms that it is for; several of an index.
    pub platforms: Vec<Platform>,
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
    /// What this run has moved the content tag away from. It stays in the registry.
    pub replaced: Option<Digest>,
    /// Moving tags that were put on it.
    pub tags: Vec<dockit_registry::Tag>,
    /// Moving tags that stayed where they were, though the image ended well.
    pub held_tags: Vec<HeldTag>,
    /// The build backend that worked on it, where there was a choice.
    pub backend: Option<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The tests that ran on it, at least to the first that failed.
    pub tests: Vec<CheckResult>,
    /// Why it failed or was skipped.
    pub error: Option<ImageError>,
    /// Why an index was not put together, where that is no failure.
    pub skipped: Option<Skipped>,
}

/// Why an index was not put together, though nothing went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skipped {
    /// There are no images for these platforms yet: the run that builds the last of them does it.
    MissingPlatforms(Vec<Platform>),
    /// The run does not push, and nothing but a registry holds an index.
    NotPushed,
}

impl Skipped {
    /// The word for this reason in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::MissingPlatforms(_) => "missing-platforms",
            Self::NotPushed => "not-pushed",
        }
    }

    /// The platforms that are missing.
    pub fn platforms(&self) -> &[Platform] {
        match self {
            Self::MissingPlatforms(platforms) => platforms,
            Self::NotPushed => &[],
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingPlatforms(platforms) => {
                let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
                write!(formatter, "there is no image for {} yet", platforms.join(", "))
            }
            Self::NotPushed => {
                formatter.write_str("an index is only in a registry, and this run does not push")
            }
        }
    }
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
    /// Whether an image with the key is there now, as far as the run knows.
    pub fn is_there(self) -> bool {
        matches!(self, Self::Reused | Self::Retagged | Self::Built)
    }

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
    /// It was built, and one of its tests did not pass.
    Test,
    /// There is no engine, or it went away.
    Engine,
    /// There is one, and it would read the Dockerfile differently.
    EngineUnsuited,
    /// The registry, or the credentials for it.
    Registry,
    /// The repository has to be made first.
    NoRepository,
    /// The registry does not let the content tag move.
    Immutable,
    /// Something that the image needs failed.
    Dependency,
    /// No image has the key, and nothing was to be built.
    Absent,
    /// The same, and no other run can make one: the work tree is not as committed.
    OnlyHere,
}

impl RunReport {
    /// The entry of an image.
    pub fn image(&self, name: &ImageName) -> Option<&ImageReport> {
        self.images.iter().find(|report| report.image == *name)
    }

    /// Whether every image ended well, and no test of the project says otherwise.
    pub fn succeeded(&self) -> bool {
        let images_are_well = self.images.iter().all(|report| {
            report.error.is_none() && !matches!(report.status, Status::Failed | Status::Cancelled)
        });
        images_are_well && self.project_tests.failure().is_none()
    }

    /// How many images have this status.
    pub fn count(&self, status: Status) -> usize {
        self.images.iter().filter(|report| report.status == status).count()
    }
}
