//! What a name in a Dockerfile means.

use dockit_hashing::dockerfile::ImageUseKind;
use dockit_registry::Reference;

use super::node::{Base, Use};
use crate::platforms::listed as listed_platforms;
use crate::project::{Image, Project};
use crate::variant::{ShortName, by_short_name, listed};

/// What a name in a Dockerfile means.
///
/// A short name means the image of the project that has this name, whatever tag or digest stands
/// beside it; in a variant, the same variant of that image where there is one. But never the image whose
/// Dockerfile it stands in, so that an image `python` can be built `FROM python:3.12`. A sibling's full
/// name `NAME-V` means that sibling; the variant's own is an error. A full reference means the image whose
/// repository it is. Of an image for several platforms the part for the one that is asked for is meant.
pub(super) fn meaning(
    project: &Project,
    image: &Image,
    kind: ImageUseKind,
    name: &str,
    platform: Option<&str>,
) -> Result<Use, String> {
    let platform = match platform {
        Some(text) => text.parse().map_err(|error| format!("--platform={text}: {error}"))?,
        None => image.platform.clone(),
    };
    let reference: Reference =
        name.parse().map_err(|error| format!("{name:?} is no image reference: {error}"))?;
    let frontend = kind == ImageUseKind::Syntax;
    if !frontend {
        let meant = match short(project, image, name)? {
            Some(meant) => Some(meant),
            None => full(project, &reference)?,
        };
        if let Some(meant) = meant {
            let found = meant.name_for(&platform).ok_or_else(|| {
                format!(
                    "{name:?} is the image {:?}, which is built for {}, not for {platform}",
                    meant.name.as_str(),
                    listed_platforms(meant.platforms())
                )
            })?;
            return Ok(Use::Image(found));
        }
    }
    Ok(Use::Base(Base { reference: reference.or_latest(), platform, frontend }))
}

/// The image that a short name means.
fn short<'a>(project: &'a Project, image: &Image, name: &str) -> Result<Option<&'a Image>, String> {
    let short = without_tag(name);
    if short == image.family().as_str() {
        return Ok(None);
    }
    // All variants of an image have one Dockerfile: in the others' it is a project image's name, so here
    // it is hardly an external one's.
    if short == image.declared_name().as_str() {
        return Err(format!(
            "{name:?} is the image itself: name another one, or write the registry of an external image"
        ));
    }
    let images = project.images.values().filter(|image| !image.is_part());
    let images = images.map(|image| (&image.name, image.variant.as_ref()));
    match by_short_name(images, image.variant.as_ref().map(|of| &of.variant), short) {
        ShortName::Image(meant) => Ok(project.images.get(meant)),
        ShortName::OnlyVariants(variants) => Err(format!(
            "{name:?} exists only as its variants {}: name one of them, or write the registry of an \
             external image",
            listed(variants)
        )),
        ShortName::Unknown => Ok(None),
    }
}

/// The image whose repository it is.
fn full<'a>(project: &'a Project, reference: &Reference) -> Result<Option<&'a Image>, String> {
    let mut candidates = project.images.values().filter(|image| {
        !image.is_part() && image.has_registry && image.repository == *reference.repository()
    });
    let (first, second) = (candidates.next(), candidates.next());
    let Some(second) = second else {
        return Ok(first);
    };
    let names = first.into_iter().chain([second]).chain(candidates).map(|image| &image.name);
    Err(format!(
        "{} is the repository of several images ({}): write the short name of the one that is meant",
        reference.repository().familiar(),
        listed(names)
    ))
}

/// The name before `@digest` and `:tag`. A colon before the last `/` belongs to a host's port.
fn without_tag(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}
