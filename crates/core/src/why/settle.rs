//! From a state to a key.

use std::collections::BTreeSet;
use std::path::Path;

use dockit_registry::{
    Error as RegistryError, ErrorKind, ImageChoice, Platform, Reference, choose_image,
};

use super::library::Library;
use super::state::State;
use super::{Side, Sources, WhyError};
use crate::backend::KEY_LABEL;
use crate::config;
use crate::declared_key::DeclaredSource;
use crate::error::Error;
use crate::graph::ImageGraph;
use crate::image_name::ImageName;
use crate::inputs::{self, Document};
use crate::key::{ImageKey, KeyOptions, compute_keys};
use crate::lockfile::Lockfile;
use crate::project::{Image, Project};
use crate::revision::{Checkout, RevisionError};

/// A state of which the key is known.
pub(super) struct Settled {
    pub(super) name: ImageName,
    pub(super) side: Side,
}

/// The image of the project that a person names.
pub(super) fn named(sources: &Sources<'_>, name: &str) -> Result<ImageName, WhyError> {
    let graph = ImageGraph::new(project(sources)?).map_err(Error::from)?;
    let name = graph.named(name).map_err(Error::from)?;
    let image = graph.node(&name).expect("it was found in this graph").image();
    if image.is_index() {
        let parts: Vec<String> = image.parts().map(|part| part.to_string()).collect();
        let message = format!(
            "{name} is for several platforms: name one of its images, {}",
            parts.join(", ")
        );
        return Err(WhyError::State(message));
    }
    Ok(name)
}

pub(super) async fn settle(
    sources: &Sources<'_>,
    library: &mut Library<'_>,
    name: Option<&ImageName>,
    state: &State,
) -> Result<Settled, WhyError> {
    if let State::Image(reference) = state {
        return published(sources, library, name, reference.clone(), state).await;
    }
    let Some(name) = name else {
        let message = format!("{state} is a state of an image of a project: name the image");
        return Err(WhyError::State(message));
    };
    let project = project(sources)?;
    let side =
        |key| Side { state: state.clone(), key, reference: None, commit: None, origin: None };
    let settled = |side| Ok(Settled { name: name.clone(), side });
    match state {
        State::WorkTree => settled(side(compute(project, sources.keys, name, library)?)),
        State::Revision(revision) => {
            let (key, commit) = at_revision(sources, project, name, revision, library).await?;
            settled(Side { commit: Some(commit), ..side(key) })
        }
        State::Locked => {
            let lockfile = Lockfile::load(&project.lockfile).map_err(Error::from)?;
            let declared = project.images[name].declared_name();
            let Some(locked) = lockfile.image(declared) else {
                return Err(WhyError::State(format!("the lockfile has no entry for {declared}")));
            };
            if name.is_part() {
                // It records the index, which leads to the part.
                let index = locked.reference.clone();
                return published(sources, library, Some(name), index, state).await;
            }
            library.place(locked.key, locked.reference.clone());
            settled(Side { reference: Some(locked.reference.clone()), ..side(locked.key) })
        }
        State::Last => match library.store().and_then(|store| store.last(name)) {
            Some(key) => settled(side(key)),
            None => {
                let message = format!("{name} was not built in this work tree since it is kept");
                Err(WhyError::State(message))
            }
        },
        State::Key(key) => settled(side(*key)),
        State::Tag(tag) => {
            let reference = repository(project, name)?.repository.with_tag(tag.clone());
            published(sources, library, Some(name), reference, state).await
        }
        State::Digest(digest) => {
            let reference = repository(project, name)?.repository.with_digest(digest.clone());
            published(sources, library, Some(name), reference, state).await
        }
        State::Image(_) => unreachable!("it was taken care of above"),
    }
}

/// What an image is compared with where nobody says it.
pub(super) async fn usual(
    sources: &Sources<'_>,
    library: &mut Library<'_>,
    name: Option<&ImageName>,
) -> Result<Settled, WhyError> {
    let Some(name) = name else {
        return Err(WhyError::State("name an image, or two references".to_owned()));
    };
    let project = project(sources)?;
    let image = &project.images[name];
    let declared = project.images.get(image.declared_name()).unwrap_or(image);
    let lockfile = Lockfile::load(&project.lockfile).map_err(Error::from)?;
    let may_be_asked = !image.is_part() || sources.registry.is_some();
    if lockfile.image(&declared.name).is_some() && may_be_asked {
        return settle(sources, library, Some(name), &State::Locked).await;
    }
    if library.store().is_some_and(|store| store.last(name).is_some()) {
        return settle(sources, library, Some(name), &State::Last).await;
    }
    let mut tried =
        "the lockfile has no entry for it, and it was not built in this work tree".to_owned();
    match declared.fixed_tags().next() {
        Some(tag) if image.has_registry && sources.registry.is_some() => {
            let state = State::Tag(tag);
            match settle(sources, library, Some(name), &state).await {
                Err(WhyError::State(message)) => tried = format!("{tried}; {message}"),
                settled => return settled,
            }
        }
        Some(_) if image.has_registry => tried.push_str("; no registry may be asked for its tags"),
        _ => {}
    }
    Err(WhyError::NothingToCompare { image: name.clone(), tried })
}

fn project<'a>(sources: &Sources<'a>) -> Result<&'a Project, WhyError> {
    sources.project.ok_or_else(|| WhyError::State("there is no project".to_owned()))
}

fn repository<'a>(project: &'a Project, name: &ImageName) -> Result<&'a Image, WhyError> {
    let image = &project.images[name];
    if image.has_registry {
        Ok(image)
    } else {
        Err(WhyError::State(format!("{name} is in no registry: the project has none for it")))
    }
}

/// The key of an image in a directory; documents of all that it depends on go to the library.
fn compute(
    project: &Project,
    options: &KeyOptions,
    name: &ImageName,
    library: &mut Library<'_>,
) -> Result<ImageKey, Error> {
    let graph = ImageGraph::new(project)?;
    let lockfile = Lockfile::load(&project.lockfile)?;
    let keys = compute_keys(project, &graph, &BTreeSet::from([name.clone()]), &lockfile, options)?;
    for (name, keyed) in keys.iter() {
        let image = &project.images[name];
        library.add(Document::of(project, image, keyed).without_secrets(&image.publish_args));
    }
    Ok(keys.get(name).expect("the keys of what was asked for are there").key)
}

async fn at_revision(
    sources: &Sources<'_>,
    project: &Project,
    name: &ImageName,
    revision: &str,
    library: &mut Library<'_>,
) -> Result<(ImageKey, String), WhyError> {
    let checkout =
        Checkout::new(&project.root, revision, sources.temporary, sources.cancel).await?;
    let outside = || RevisionError::NoRepository(project.config_file.clone());
    let file = checkout.counterpart(&project.config_file).ok_or_else(outside)?;
    let file_name = project.config_file.file_name().unwrap_or_default().to_string_lossy();
    if !file.is_file() {
        return Err(WhyError::State(format!("there is no {file_name} at {revision}")));
    }
    // Files are named where they lie now, not where they lay for a moment.
    let root = checkout.root();
    let told = |error: Error| {
        let text = error.to_string().replace(&format!("{}/", root.display()), "");
        WhyError::State(format!(
            "at {revision}: {}",
            text.replace('\n', &format!("\nat {revision}: "))
        ))
    };
    let then = config::load(&file, &sources.load).map_err(|problems| told(problems.into()))?;
    if !then.images.contains_key(name) {
        return Err(WhyError::State(format!("there is no image {name} at {revision}")));
    }
    inside(&checkout, &then, name).map_err(|(image, path)| {
        WhyError::State(format!(
            "at {revision}: image {:?}: {path} is not part of the repository",
            image.as_str()
        ))
    })?;
    // What is hashed there is never hashed again.
    let options = KeyOptions { stat_cache: None, ..sources.keys.clone() };
    let key = compute(&then, &options, name, library).map_err(told)?;
    Ok((key, checkout.commit().to_owned()))
}

/// Whether a revision has everything that the key of an image is computed from, or else the image and
/// the path of which it does not: beside the repository lies something else now than then, and beside
/// its files in the temporary directory something of no project.
fn inside(
    checkout: &Checkout,
    project: &Project,
    name: &ImageName,
) -> Result<(), (ImageName, String)> {
    let outside = |image: &Image, path: &Path, text: String| {
        if checkout.has(path) { Ok(()) } else { Err((image.name.clone(), text)) }
    };
    let from_root = |path: &Path| relative(&project.root, path);
    // The graph needs the Dockerfiles of all images.
    for image in project.images.values() {
        outside(image, &image.dockerfile, from_root(&image.dockerfile))?;
        outside(image, &image.context, from_root(&image.context))?;
    }
    // What is wrong with the graph is told where the key is computed.
    let Ok(graph) = ImageGraph::new(project) else {
        return Ok(());
    };
    for node in graph.with_dependencies(&BTreeSet::from([name.clone()])) {
        let image = node.image();
        let declared = image.declared_key.iter().map(DeclaredSource::file);
        for path in image.inputs.iter().chain(declared) {
            outside(image, path.location(), path.to_string())?;
        }
    }
    Ok(())
}

/// Whether a revision has everything that the key of an image is computed from.
pub(crate) fn is_inside(checkout: &Checkout, project: &Project, name: &ImageName) -> bool {
    inside(checkout, project, name).is_ok()
}

/// A path as the configuration may have named it.
fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// An image in a registry: its label says its key.
async fn published(
    sources: &Sources<'_>,
    library: &mut Library<'_>,
    name: Option<&ImageName>,
    reference: Reference,
    state: &State,
) -> Result<Settled, WhyError> {
    let platform =
        name.and_then(|name| sources.project?.images.get(name)).map(|image| image.platform.clone());
    let Some(registry) = sources.registry else {
        return Err(WhyError::State(format!("{state}: no registry may be asked")));
    };
    let absent = |error: RegistryError| match error.kind() {
        ErrorKind::NotFound => WhyError::State(format!("{reference} is absent")),
        _ => WhyError::Registry(error),
    };
    let top = registry.manifest(&reference).await.map_err(absent)?;
    let repository = reference.repository();
    let wanted = platform.unwrap_or_else(Platform::linux_amd64);
    let chosen = match choose_image(registry, repository, &top, &wanted).await? {
        ImageChoice::Image(image) => image,
        ImageChoice::NoneFor(_) => {
            return Err(WhyError::State(format!("{reference} has no image for {wanted}")));
        }
        ImageChoice::Nested(_) => {
            return Err(WhyError::State(format!("{reference} is an index of indexes")));
        }
    };
    let config = chosen.config(registry, repository).await?;
    let key = config.labels.get(KEY_LABEL).and_then(|key| key.parse().ok());
    let Some(key) = key else {
        return Err(WhyError::State(format!("{reference} has no key: dockit did not build it")));
    };
    let image = repository.with_digest(chosen.digest);
    library.place(key, image.clone());
    let name = match name {
        Some(name) => name.clone(),
        None => unnamed(library, &image, key).await?,
    };
    // Nothing depends on it: who cannot list what hangs on an image is told the rest.
    let digest = image.digest().expect("it was named by digest");
    let origins = inputs::origins(registry, repository, digest).await.unwrap_or_default();
    let origin = origins.into_iter().next();
    let side = Side { state: state.clone(), key, reference: Some(image), commit: None, origin };
    Ok(Settled { name, side })
}

/// What the image is called in its project: its document says so, or else the end of its repository.
async fn unnamed(
    library: &mut Library<'_>,
    image: &Reference,
    key: ImageKey,
) -> Result<ImageName, WhyError> {
    let repository = image.repository().name().as_str();
    let last = repository.rsplit('/').next().unwrap_or(repository);
    let guess: ImageName =
        last.parse().map_err(|_| WhyError::State(format!("{image} has no name")))?;
    let found = library.find(&guess, key).await;
    Ok(found.map_or(guess, |document| document.image))
}
