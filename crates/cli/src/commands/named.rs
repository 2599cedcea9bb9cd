//! Images as commands name them that work with a project and without: an image of the project, or a
//! reference.

use std::path::Path;

use dockit_core::lookup::content_reference;
use dockit_core::selection::is_glob;
use dockit_core::{Error, Image, ImageGraph, ImageName, Lockfile, Project, compute_keys};
use dockit_registry::{Location, Platform, Reference};

use super::transfer::location;
use crate::diagnostics::{Exit, Failure};
use crate::session;
use crate::ui::notes;

/// An image in a registry, as a command line names it.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// What was typed.
    pub(super) text: String,
    /// Where it is.
    pub(super) reference: Reference,
    /// What it is called in the project, if it is one of its images; of a part, what its index is.
    pub(super) name: Option<ImageName>,
    /// The only platform that an image of the project is for.
    pub(super) platform: Option<Platform>,
    /// What an image of the project is called in an engine besides.
    pub(super) aliases: Vec<Reference>,
}

impl Named {
    /// Whether it is an image of the project; its reference is that of its key.
    pub(super) fn is_of_project(&self) -> bool {
        self.name.is_some()
    }

    /// Says that the registry does not hold it, in the registry's own words where there are any.
    pub(super) fn absent(&self, error: Option<&dockit_registry::Error>) -> Failure {
        let said = error.map(|error| format!(": {error}")).unwrap_or_default();
        if self.is_of_project() {
            let message =
                format!("{} is not in its registry: {} is absent{said}", self.text, self.reference);
            return Failure::new(Exit::Registry, message)
                .hint(format!("`dockit build {} --push always` puts it there", self.text));
        }
        Failure::new(Exit::Registry, format!("{} is absent{said}", self.reference.familiar()))
            .hint("check the name and the tag")
    }
}

/// Puts the images of the project that a glob matches in its place.
pub(super) fn expanded(
    project: Option<&Project>,
    texts: Vec<String>,
) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for text in texts {
        // The host of a reference may be an address in brackets.
        if !is_glob(&text) || text.parse::<Reference>().is_ok() {
            names.push(text);
            continue;
        }
        let Some(project) = project else {
            return Err(neither(None, &text));
        };
        let selected = project.select(std::slice::from_ref(&text)).map_err(Error::from)?;
        let whole = selected.iter().filter(|name| !name.is_part());
        names.extend(whole.map(ToString::to_string));
    }
    Ok(names)
}

/// Finds out what these texts mean: what the project calls an image is that image, under the content
/// tag of its key as the work tree is now. Everything else with a `/`, `:` or `@` is a reference.
pub(super) fn resolve(project: Option<&Project>, texts: &[String]) -> Result<Vec<Named>, Failure> {
    let known =
        |text: &str| project?.images.iter().find(|(name, _)| name.as_str() == text).map(|(_, i)| i);
    let images: Vec<&Image> = texts.iter().filter_map(|text| known(text)).collect();
    let mut content = match project {
        Some(project) if !images.is_empty() => content_references(project, &images)?,
        _ => Vec::new(),
    }
    .into_iter();
    texts
        .iter()
        .map(|text| {
            if let Some(image) = known(text) {
                let reference = content.next().expect("there is one for each known image");
                let declared = image.declared_name();
                let called =
                    project.and_then(|project| project.images.get(declared)).unwrap_or(image);
                return Ok(Named {
                    text: text.clone(),
                    reference,
                    name: Some(declared.clone()),
                    platform: (!image.is_index()).then(|| image.platform.clone()),
                    aliases: called.aliases.clone(),
                });
            }
            if !session::is_written_as_reference(text) {
                return Err(neither(project, text));
            }
            match location(text)? {
                Location::Registry(reference) => {
                    let reference = reference.or_latest();
                    let aliases = Vec::new();
                    let (name, platform) = (None, None);
                    Ok(Named { text: text.clone(), reference, name, platform, aliases })
                }
                Location::Layout(_) => {
                    let message = format!("{text} is in a layout: tag and pull work on registries");
                    Err(Failure::new(Exit::Usage, message)
                        .hint("`dockit copy` copies between layouts and registries"))
                }
            }
        })
        .collect()
}

/// The content references of these images, in this order.
fn content_references(project: &Project, images: &[&Image]) -> Result<Vec<Reference>, Failure> {
    if let Some(image) = images.iter().find(|image| !image.has_registry) {
        let message = format!("image {} is in no registry: the project names none", image.name);
        return Err(Failure::new(Exit::Usage, message)
            .hint("set `registry` in dockit.toml, or name the image by a reference"));
    }
    let graph = ImageGraph::new(project).map_err(Error::from)?;
    let names = images.iter().map(|image| image.name.clone()).collect();
    let lockfile = Lockfile::load(&project.lockfile).map_err(Error::from)?;
    let options = session::key_options();
    let keys = compute_keys(project, &graph, &names, &lockfile, &options).map_err(Error::from)?;
    notes::warn(&keys);
    images
        .iter()
        .map(|image| {
            let key = keys.key(&image.name).ok_or_else(|| {
                Failure::new(Exit::Failed, format!("image {} has no key", image.name))
            })?;
            Ok(content_reference(image, &key))
        })
        .collect()
}

/// A name alone that the project does not know.
fn neither(project: Option<&Project>, text: &str) -> Failure {
    let hub = format!("docker.io/library/{text}");
    let (message, known) = match project {
        Some(project) => (
            format!(
                "{text:?} is neither an image of {} nor a reference",
                project.config_file.display()
            ),
            "`dockit list` names the images".to_owned(),
        ),
        None => (
            format!(
                "{text:?} could only be an image of a project, and there is no dockit.toml here"
            ),
            "to name an image of a project, go to its directory or use -C DIR".to_owned(),
        ),
    };
    let failure = Failure::new(Exit::Usage, message);
    if Path::new(text).is_dir() {
        return failure.hint(format!("oci:{text} is the layout in that directory"));
    }
    failure.hint(known).hint(format!(
        "a reference has a registry, a tag or a digest: HOST/REPOSITORY:TAG, or {hub}"
    ))
}
