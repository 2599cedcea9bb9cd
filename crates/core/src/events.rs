//! What happens during a run, as typed events: the library says nothing itself.

use std::time::Duration;

use dockit_hashing::dockerfile::SecretMountKind;
use dockit_registry::{Digest, Reference, Repository, Tag};

use crate::backend::{BackendError, BuildEvent};
use crate::check::CheckPlace;
use crate::execute::ImageReport;
use crate::image_name::ImageName;
use crate::inputs::PublishError;
use crate::key::KeyWarning;
use crate::moving_tags::HeldTag;

/// What a test is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckSubject {
    /// An image.
    Image(ImageName),
    /// The project as a whole.
    Project,
}

/// Something that happened to an image during a run, or before it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A command that prepares images began; it is told for the first of them.
    PrepareStarted {
        /// The image.
        image: ImageName,
        /// The command.
        command: String,
    },
    /// Such a command wrote something.
    PrepareOutput {
        /// The image.
        image: ImageName,
        /// A piece of its output, of either stream.
        bytes: Vec<u8>,
    },
    /// Such a command ended.
    PrepareFinished {
        /// The image.
        image: ImageName,
        /// Whether it ended well and made its outputs.
        succeeded: bool,
        /// How long it took.
        seconds: f64,
    },
    /// Something about an image's key that somebody should look after.
    KeyWarning(KeyWarning),
    /// A secret or ssh agent is configured, and none of the images that it is configured for mounts it.
    SecretNotMounted {
        /// The first of these images.
        image: ImageName,
        /// What it is.
        kind: SecretMountKind,
        /// What it is called.
        id: String,
    },
    /// The Dockerfile mounts a secret or ssh agent if there is one, and nothing says where it is: the build
    /// does without.
    SecretNotConfigured {
        /// The image.
        image: ImageName,
        /// What it is.
        kind: SecretMountKind,
        /// What the Dockerfile calls it.
        id: String,
    },
    /// All that was to be known before is known: now images are worked on.
    RunStarted {
        /// The images of the plan, in its order.
        images: Vec<ImageName>,
    },
    /// A build began.
    BuildStarted {
        /// The image.
        image: ImageName,
        /// Its reference with the content tag.
        reference: Reference,
        /// What builds it, where there is a choice.
        backend: Option<String>,
    },
    /// A build backend does not answer any more. What it was building is built by another one, if one is
    /// left that can.
    BackendLost {
        /// Its name.
        backend: String,
        /// Why.
        error: BackendError,
    },
    /// It could not be found out whether an earlier image has layers that the build could take over.
    /// The build does without.
    CacheNotLookedUp {
        /// The image.
        image: ImageName,
        /// The earlier image.
        reference: Reference,
        /// Why.
        error: String,
    },
    /// Something happened within a build.
    Build {
        /// The image.
        image: ImageName,
        /// What happened.
        event: BuildEvent,
    },
    /// A test began.
    CheckStarted {
        /// What it is about.
        of: CheckSubject,
        /// The command.
        command: String,
        /// Where it runs.
        on: CheckPlace,
    },
    /// A test wrote something.
    CheckOutput {
        /// What it is about.
        of: CheckSubject,
        /// A piece of its output, of either stream.
        bytes: Vec<u8>,
    },
    /// A test ended.
    CheckFinished {
        /// What it is about.
        of: CheckSubject,
        /// Whether it ended with exit code 0.
        passed: bool,
        /// How long it took.
        seconds: f64,
    },
    /// The repository that an image will be pushed to was not there, and was made.
    RepositoryCreated {
        /// The image.
        image: ImageName,
        /// The repository.
        repository: Repository,
    },
    /// A push began.
    PushStarted {
        /// The image.
        image: ImageName,
        /// What it is pushed as.
        reference: Reference,
    },
    /// A push failed for a reason that may pass, and is tried again.
    PushRetried {
        /// The image.
        image: ImageName,
        /// Why it failed.
        error: BackendError,
        /// How long the run waits before it tries again.
        wait: Duration,
    },
    /// Somebody else pushed the same key first, or last: their image is used, ours is not named.
    Adopted {
        /// The image.
        image: ImageName,
        /// The digest that the content tag is on.
        digest: Digest,
    },
    /// A content tag was moved to what this run has built.
    Replaced {
        /// The image.
        image: ImageName,
        /// What the tag was on before. It stays in the registry.
        old: Digest,
        /// What it is on now.
        digest: Digest,
    },
    /// What a content tag was on before could not be written beside the image that it is on now.
    ReplacedNotRecorded {
        /// The image.
        image: ImageName,
        /// What the tag was on before.
        old: Digest,
        /// Why.
        error: dockit_registry::Error,
    },
    /// The image was pushed, but the list of its inputs could not be published with it: it cannot be
    /// compared with others without its sources.
    InputsNotPublished {
        /// The image.
        image: ImageName,
        /// Why.
        error: PublishError,
    },
    /// What became of the moving tags of an image, after all images had ended.
    TagsMoved {
        /// The image.
        image: ImageName,
        /// Those that were put on it.
        tags: Vec<Tag>,
        /// Those that could have been, and stay where they are.
        held: Vec<HeldTag>,
    },
    /// Images are absent that another run is expected to make; told at the beginning and from time to
    /// time.
    Waiting {
        /// What is waited for.
        images: Vec<(ImageName, Reference)>,
        /// How long at most, from now on.
        left: Duration,
    },
    /// An image that was waited for is there.
    Appeared {
        /// The image.
        image: ImageName,
        /// Its reference with the content tag.
        reference: Reference,
    },
    /// A registry did not say whether an image that is waited for is there. It is asked again.
    WaitFailed {
        /// The image.
        image: ImageName,
        /// What happened.
        error: String,
    },
    /// A tag is put, but for which commit could not be written beside the image: a later run compares with
    /// the commit that the image was built from.
    TagNotRecorded {
        /// The image.
        image: ImageName,
        /// The tag.
        tag: Tag,
        /// Why.
        error: dockit_registry::Error,
    },
    /// A pull for `--load` began.
    PullStarted {
        /// The image.
        image: ImageName,
        /// What is pulled.
        reference: Reference,
    },
    /// Nothing more will be done for an image, except that its tags may move when all have ended. Told
    /// again if that fails.
    Finished(Box<ImageReport>),
}

/// Who wants to know what happens. Called from the run's task: be quick.
pub trait Observer: Send + Sync {
    /// Takes an event.
    fn event(&self, event: Event);
}

/// Drops all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event) {}
}
