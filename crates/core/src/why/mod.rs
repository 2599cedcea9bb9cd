//! Why an image has another key than it had in another state: which file, argument, base image,
//! instruction or dependency differs, followed through the graph.
//!
//! [`why`] settles what two [`State`]s are, and compares the inputs of their keys. What the keys of
//! published images were computed from is read from the documents that hang on them, so that no
//! sources are needed: see [`inputs`](crate::inputs).

mod library;
mod settle;
mod state;

use std::collections::BTreeMap;
use std::path::Path;

use dockit_registry::{Reference, Registry};
use tokio_util::sync::CancellationToken;

pub(crate) use settle::is_inside;
pub use state::{InvalidState, State};

use self::library::Library;
use self::settle::Settled;
use crate::config::LoadOptions;
use crate::error::Error;
use crate::image_name::ImageName;
use crate::inputs::{Change, Document, How, Origin, What, changes};
use crate::key::{ImageKey, ImageUseInput, KeyOptions};
use crate::project::Project;
use crate::revision::RevisionError;

/// What is needed to answer.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The project; without one, only [references](State::Image) can be compared.
    pub project: Option<&'a Project>,
    /// The registries, if they may be asked.
    pub registry: Option<&'a dyn Registry>,
    /// What keys are computed with.
    pub keys: &'a KeyOptions,
    /// What the configuration of a revision is read with.
    pub load: LoadOptions<'a>,
    /// A directory for the files of a revision while it is looked at.
    pub temporary: &'a Path,
    /// Ends what is running.
    pub cancel: &'a CancellationToken,
}

/// What differs between two states of an image.
#[derive(Clone, Debug)]
pub struct Why {
    /// The image.
    pub image: ImageName,
    /// The state that it is compared with.
    pub from: Side,
    /// The state that is asked about.
    pub to: Side,
    /// What differs: first in the image itself, then in what it depends on, each only once. Nothing if
    /// the keys are equal.
    pub images: Vec<ImageChanges>,
}

/// One of the two states.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// What was asked for.
    pub state: State,
    /// The key of the image.
    pub key: ImageKey,
    /// The image by digest, where a registry was asked or the lockfile says.
    pub reference: Option<Reference>,
    /// The commit of a revision.
    pub commit: Option<String>,
    /// When and from what a published image was built, where that is said.
    pub origin: Option<Origin>,
}

/// What differs in one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageChanges {
    /// The image.
    pub image: ImageName,
    /// The key that it had.
    pub from: ImageKey,
    /// The key that it has.
    pub to: ImageKey,
    /// What differs, dependencies among it.
    pub changes: Vec<Change>,
    /// Why nothing more is known than that the keys differ.
    pub unknown: Option<String>,
}

impl ImageChanges {
    /// The dependencies because of which the image changes.
    pub fn because(&self) -> impl Iterator<Item = &str> {
        self.changes.iter().filter(|change| is_follow_up(change)).map(|change| &*change.subject)
    }
}

/// Whether the change is one of a dependency, which is explained for itself.
fn is_follow_up(change: &Change) -> bool {
    change.what == What::Dependency && change.how == How::Changed
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhyError {
    /// The project, its keys, or its lockfile.
    #[error(transparent)]
    Project(#[from] Error),
    /// A revision.
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// A registry did not say what an image is.
    #[error(transparent)]
    Registry(#[from] dockit_registry::Error),
    /// There is no such state of this image.
    #[error("{0}")]
    State(String),
    /// Nothing was said of what to compare with, and there is no pinned, built or tagged image.
    #[error("nothing to compare {image} with: {tried}")]
    NothingToCompare {
        /// The image.
        image: ImageName,
        /// Where something could have been.
        tried: String,
    },
}

/// Compares two states of an image.
///
/// Without `from`, it is the image that the lockfile records; or else the one that was last built in
/// this work tree; or else the one that the first of its configured tags is on. `image` may be left
/// out where both states are [references](State::Image).
///
/// # Errors
///
/// There is no such image or state, or it cannot be found out. That the inputs of a key are not known
/// is no error: [`ImageChanges::unknown`] says it.
pub async fn why(
    sources: &Sources<'_>,
    image: Option<&str>,
    from: Option<&State>,
    to: &State,
) -> Result<Why, WhyError> {
    let mut library = Library::new(*sources);
    let name = image.map(|image| settle::named(sources, image)).transpose()?;
    let to = settle::settle(sources, &mut library, name.as_ref(), to).await?;
    let from = match from {
        Some(from) => settle::settle(sources, &mut library, name.as_ref(), from).await?,
        None => settle::usual(sources, &mut library, name.as_ref()).await?,
    };
    let images = if from.side.key == to.side.key {
        Vec::new()
    } else {
        explain(&mut library, &from, &to).await
    };
    Ok(Why { image: to.name, from: from.side, to: to.side, images })
}

/// The image itself, and everything that follows.
async fn explain(library: &mut Library<'_>, from: &Settled, to: &Settled) -> Vec<ImageChanges> {
    let mut explained: Vec<ImageChanges> = Vec::new();
    let mut waiting = vec![(to.name.clone(), from.side.key, to.side.key)];
    while let Some((image, from, to)) = waiting.pop() {
        if explained.iter().any(|known| (&known.image, known.from, known.to) == (&image, from, to))
        {
            continue;
        }
        let (old, new) = match (library.find(&image, from).await, library.find(&image, to).await) {
            (Ok(old), Ok(new)) => (old, new),
            (old, new) => {
                let missing = |key: ImageKey, found: Result<Document, String>| {
                    found.err().map(|reason| format!("{}: {reason}", key.short()))
                };
                let reasons: Vec<String> =
                    missing(from, old).into_iter().chain(missing(to, new)).collect();
                let unknown = Some(reasons.join("; "));
                let changes = Vec::new();
                explained.push(ImageChanges { image, from, to, changes, unknown });
                continue;
            }
        };
        let changes = changes(&old, &new);
        let (before, after) = (dependencies(&old), dependencies(&new));
        // What is pushed last is explained first.
        for change in changes.iter().rev().filter(|change| is_follow_up(change)) {
            let known = before.get_key_value(&*change.subject).zip(after.get(&*change.subject));
            if let Some(((dependency, from), to)) = known
                && let Ok(dependency) = dependency.parse()
            {
                waiting.push((dependency, *from, *to));
            }
        }
        explained.push(ImageChanges { image, from, to, changes, unknown: None });
    }
    explained
}

fn dependencies(document: &Document) -> BTreeMap<String, ImageKey> {
    let inputs = &document.inputs;
    let used = inputs.uses.iter().filter_map(|used| match used {
        ImageUseInput::Image { name, key } => Some((name.to_string(), *key)),
        ImageUseInput::Base { .. } => None,
    });
    used.chain(inputs.needs.iter().map(|need| (need.name.to_string(), need.key))).collect()
}
