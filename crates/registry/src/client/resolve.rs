//! Resolving a reference to one platform's image.

use super::registry::Registry;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::image_config::ImageConfig;
use crate::manifest::{ImageManifest, Manifest};
use crate::platform::Platform;
use crate::reference::Reference;

/// Largest config that is read, in bytes. Configs hold an image's history and labels; those of real
/// images stay below some hundred kilobytes.
const CONFIG_LIMIT: u64 = 8 * 1024 * 1024;

/// What a reference stood for when it was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The digest of what the reference points to: an index, or a single manifest.
    pub top: Digest,
    /// The digest of the platform's manifest; the same as `top` if the reference names no index.
    pub platform_digest: Digest,
    /// The platform's image config.
    pub config: ImageConfig,
}

/// Resolves a reference for one platform. Without tag and digest it means `latest`.
///
/// # Errors
///
/// As [`Registry::manifest`], and [`ErrorKind::WrongPlatform`] if there is no image for the platform.
pub async fn resolve_image(
    registry: &dyn Registry,
    reference: &Reference,
    platform: &Platform,
) -> Result<ResolvedImage, Error> {
    let top = registry.manifest(reference).await?;
    let (platform_digest, manifest) = match top.parse()? {
        Manifest::Image(manifest) => {
            let config = config(registry, reference, &manifest).await?;
            check_platform(reference, platform, &config)?;
            let digest = top.digest().clone();
            return Ok(ResolvedImage { top: digest.clone(), platform_digest: digest, config });
        }
        Manifest::Index(index) => {
            let entry = index
                .select(platform)
                .ok_or_else(|| wrong_platform(reference, platform, index.platforms()))?;
            let chosen = reference.repository().with_digest(entry.digest.clone());
            let Manifest::Image(manifest) = registry.manifest(&chosen).await?.parse()? else {
                let message = format!("{reference} is an index of indexes ({})", entry.digest);
                return Err(Error::new(ErrorKind::Unsupported, message));
            };
            (entry.digest.clone(), manifest)
        }
    };
    let config = config(registry, reference, &manifest).await?;
    Ok(ResolvedImage { top: top.digest().clone(), platform_digest, config })
}

async fn config(
    registry: &dyn Registry,
    reference: &Reference,
    manifest: &ImageManifest,
) -> Result<ImageConfig, Error> {
    let digest = &manifest.config.digest;
    let bytes = registry.blob(reference.repository(), digest, CONFIG_LIMIT).await?;
    ImageConfig::parse(&bytes)
}

/// A reference to a single manifest says nothing about its platform; only the config does. (An
/// index entry says it itself, and engines take its word.)
fn check_platform(
    reference: &Reference,
    platform: &Platform,
    config: &ImageConfig,
) -> Result<(), Error> {
    let Ok(found) = config.platform() else {
        return Err(wrong_platform(reference, platform, std::iter::empty()));
    };
    // Many configs leave the variant out, and then it could be any.
    let unsaid = config.variant.is_none()
        && found.os() == platform.os()
        && found.architecture() == platform.architecture();
    if unsaid || platform.distance(&found).is_some() {
        Ok(())
    } else {
        Err(wrong_platform(reference, platform, std::iter::once(&found)))
    }
}

fn wrong_platform<'a>(
    reference: &Reference,
    wanted: &Platform,
    offered: impl Iterator<Item = &'a Platform>,
) -> Error {
    let offered: Vec<String> = offered.map(ToString::to_string).collect();
    let offered = match offered.as_slice() {
        [] => "names no platform".to_owned(),
        offered => format!("is for {}", offered.join(", ")),
    };
    Error::new(ErrorKind::WrongPlatform, format!("{reference} {offered}, not for {wanted}"))
}
