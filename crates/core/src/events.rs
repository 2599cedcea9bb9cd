//! What happens during a run, as typed events: the library says nothing itself.

use dockit_registry::{Digest, Reference, Repository};

use crate::backend::BuildEvent;
use crate::execute::ImageReport;
use crate::image_name::ImageName;
use crate::inputs::PublishError;
use crate::key::KeyWarning;

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
    /// A build began.
    BuildStarted {
        /// The image.
        image: ImageName,
        /// Its reference with the content tag.
        reference: Reference,
    },
    /// Something happened within a build.
    Build {
        /// The image.
        image: ImageName,
        /// What happened.
        event: BuildEvent,
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
    /// Somebody else pushed the same key first, or last: their image is used, ours is not named.
    Adopted {
        /// The image.
        image: ImageName,
        /// The digest that the content tag is on.
        digest: Digest,
    },
    /// The image was pushed, but the list of its inputs could not be published with it: it cannot be
    /// compared with others without its sources.
    InputsNotPublished {
        /// The image.
        image: ImageName,
        /// Why.
        error: PublishError,
    },
    /// A pull for `--load` began.
    PullStarted {
        /// The image.
        image: ImageName,
        /// What is pulled.
        reference: Reference,
    },
    /// Nothing more will be done for an image.
    Finished(ImageReport),
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
