//! What a name in a Dockerfile means.

use dockit_hashing::dockerfile::ImageUseKind;
use dockit_registry::Reference;

use super::node::{Base, Use};
use crate::project::{Image, Project};

/// What a name in a Dockerfile means.
///
/// A short name means the image of the project that has this name, whatever tag or digest stands
/// beside it; but never the image whose Dockerfile it stands in, so that an image `python` can be
/// built `FROM python:3.12`. A full reference means the image whose repository it is.
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
        let short = without_tag(name);
        let meant = project.images.values().find(|candidate| {
            let by_name = candidate.name.as_str() == short && candidate.name != image.name;
            let by_repository =
                candidate.has_registry && candidate.repository == *reference.repository();
            by_name || by_repository
        });
        if let Some(meant) = meant {
            if platform != meant.platform {
                return Err(format!(
                    "{name:?} is the image {:?}, which is built for {}, not for {platform}",
                    meant.name.as_str(),
                    meant.platform
                ));
            }
            return Ok(Use::Image(meant.name.clone()));
        }
    }
    Ok(Use::Base(Base { reference: reference.or_latest(), platform, frontend }))
}

/// The name before `@digest` and `:tag`. A colon before the last `/` belongs to a host's port.
fn without_tag(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}
