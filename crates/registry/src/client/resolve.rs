//! Resolving a reference to one platform's image.

use super::registry::Registry;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::image_config::ImageConfig;
use crate::manifest::{ImageManifest, Index, Manifest, RawManifest};
use crate::platform::Platform;
use crate::reference::{Reference, Repository};

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
    let repository = reference.repository();
    let image = match choose_image(registry, repository, &top, platform).await? {
        ImageChoice::Image(image) => image,
        ImageChoice::NoneFor(index) => {
            return Err(wrong_platform(reference, platform, index.platforms()));
        }
        ImageChoice::Nested(digest) => {
            let message = format!("{reference} is an index of indexes ({digest})");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    let config = image.config(registry, repository).await?;
    if image.digest == *top.digest() {
        check_platform(reference, platform, &config)?;
    }
    Ok(ResolvedImage { top: top.digest().clone(), platform_digest: image.digest, config })
}

/// What a manifest or index holds for a platform.
#[derive(Clone, Debug)]
pub enum ImageChoice {
    /// An image: the only one, whatever its platform, or the index's for this platform.
    Image(PlatformImage),
    /// Nothing; the index has only images for other platforms.
    NoneFor(Index),
    /// Another index, with this digest.
    Nested(Digest),
}

/// A single image's manifest, as an index or a reference names it.
#[derive(Clone, Debug)]
pub struct PlatformImage {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: ImageManifest,
}

/// Chooses a platform's image from a manifest or index that was read from this repository.
///
/// # Errors
///
/// As [`Registry::manifest`], for what the index points to; and `top` is none that is known.
pub async fn choose_image(
    registry: &dyn Registry,
    repository: &Repository,
    top: &RawManifest,
    platform: &Platform,
) -> Result<ImageChoice, Error> {
    let index = match top.parse()? {
        Manifest::Image(manifest) => {
            let digest = top.digest().clone();
            return Ok(ImageChoice::Image(PlatformImage { digest, manifest }));
        }
        Manifest::Index(index) => index,
    };
    let Some(entry) = index.select(platform) else {
        return Ok(ImageChoice::NoneFor(index));
    };
    let digest = entry.digest.clone();
    let chosen = registry.manifest(&repository.with_digest(digest.clone())).await?;
    Ok(match chosen.parse()? {
        Manifest::Image(manifest) => ImageChoice::Image(PlatformImage { digest, manifest }),
        Manifest::Index(_) => ImageChoice::Nested(digest),
    })
}

impl PlatformImage {
    /// Reads the image's config from the repository that its manifest is in.
    ///
    /// # Errors
    ///
    /// As [`Registry::blob`], with a bound of 8 MiB; or it is no config.
    pub async fn config(
        &self,
        registry: &dyn Registry,
        repository: &Repository,
    ) -> Result<ImageConfig, Error> {
        let digest = &self.manifest.config.digest;
        let bytes = registry.blob(repository, digest, CONFIG_LIMIT).await?;
        ImageConfig::parse(&bytes)
    }
}

/// A reference to a single manifest says nothing about its platform; only the config does. (An
/// index entry says it itself, and engines take its word.)
fn check_platform(
    reference: &Reference,
    platform: &Platform,
    config: &ImageConfig,
) -> Result<(), Error> {
    if config.is_for(platform) {
        return Ok(());
    }
    Err(wrong_platform(reference, platform, config.platform().iter()))
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
