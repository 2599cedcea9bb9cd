//! Which images are pulled: those of today's keys, those that the lockfile records, or those that a tag
//! is on.

use dockit_core::{Error, Image, Lockfile, Project};
use dockit_registry::{Reference, Tag};

use crate::commands::named::{self, Named};
use crate::diagnostics::{Exit, Failure};

/// The images as `dockit.lock` records them. Without names those that it records.
pub(super) fn locked(project: &Project, texts: &[String]) -> Result<Vec<Named>, Failure> {
    let lockfile = Lockfile::load(&project.lockfile).map_err(Error::from)?;
    let mut missing: Vec<&str> = Vec::new();
    let mut wanted = Vec::new();
    for (text, image) in images(project, texts)? {
        match lockfile.image(image.declared_name()) {
            Some(locked) => wanted.push(named(project, image, text, locked.reference.clone())),
            None => missing.push(image.declared_name().as_str()),
        }
    }
    if !missing.is_empty() && (!texts.is_empty() || wanted.is_empty()) {
        missing.dedup();
        let message = format!("the lockfile has no entry for {}", missing.join(", "));
        return Err(Failure::new(Exit::Usage, message)
            .hint(format!("`dockit build --pin {}` records it", missing.join(" "))));
    }
    Ok(wanted)
}

/// The images that a tag of their repositories is on.
pub(super) fn tagged(
    project: &Project,
    texts: &[String],
    tag: &Tag,
) -> Result<Vec<Named>, Failure> {
    let images = images(project, texts)?;
    if let Some((_, image)) = images.iter().find(|(_, image)| !image.has_registry) {
        let message = format!("image {} is in no registry: the project names none", image.name);
        return Err(Failure::new(Exit::Usage, message).hint("set `registry` in dockit.toml"));
    }
    let wanted = images
        .into_iter()
        .map(|(text, image)| named(project, image, text, image.repository.with_tag(tag.clone())));
    Ok(wanted.collect())
}

/// The project's images that are named, each with its name as it was typed; all where none is.
fn images<'a>(project: &'a Project, texts: &[String]) -> Result<Vec<(String, &'a Image)>, Failure> {
    if texts.is_empty() {
        let whole = project.images.values().filter(|image| !image.is_part());
        return Ok(whole.map(|image| (image.name.to_string(), image)).collect());
    }
    let mut images: Vec<(String, &Image)> = Vec::new();
    for text in named::expanded(Some(project), texts.to_vec())? {
        let Some(image) = project.images.values().find(|image| image.name.as_str() == text) else {
            let error = project.select(std::slice::from_ref(&text)).err();
            return Err(match error {
                Some(error) => Error::from(error).into(),
                None => Failure::new(Exit::Usage, format!("no image is called {text:?}")),
            });
        };
        if !images.iter().any(|(_, known)| known.name == image.name) {
            images.push((text, image));
        }
    }
    Ok(images)
}

fn named(project: &Project, image: &Image, text: String, reference: Reference) -> Named {
    let called = project.images.get(image.declared_name()).unwrap_or(image);
    Named {
        text,
        reference,
        name: Some(called.name.clone()),
        platform: (!image.is_index()).then(|| image.platform.clone()),
        aliases: called.aliases.clone(),
    }
}
