//! What a copy begins with.

use futures_util::TryStreamExt as _;

use super::place::ImagePlace;
use crate::error::{Error, ErrorKind};
use crate::image_config::ImageConfig;
use crate::manifest::{Descriptor, Manifest, RawManifest};
use crate::platform::Platform;

/// Largest config that is read, in bytes.
const CONFIG_LIMIT: u64 = 8 * 1024 * 1024;

/// The manifest that is to be copied.
pub(super) async fn root(
    from: &dyn ImagePlace,
    platform: Option<&Platform>,
) -> Result<RawManifest, Error> {
    let named = from.named().await?;
    let Some(platform) = platform else { return Ok(named) };
    let index = match named.parse()? {
        Manifest::Index(index) => index,
        Manifest::Image(image) => {
            let config = config(from, &image.config).await?;
            if config.is_for(platform) {
                return Ok(named);
            }
            let offered: Vec<String> = config.platform().iter().map(ToString::to_string).collect();
            return Err(wrong_platform(from, platform, &offered));
        }
    };
    let offered: Vec<String> = index.platforms().map(ToString::to_string).collect();
    match index.select(platform) {
        Some(entry) => {
            let chosen = from.manifest(&entry.digest).await?;
            if matches!(chosen.parse()?, Manifest::Index(_)) {
                let message = format!("{} is an index of indexes", from.location());
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            Ok(chosen)
        }
        None => Err(wrong_platform(from, platform, &offered)),
    }
}

async fn config(from: &dyn ImagePlace, config: &Descriptor) -> Result<ImageConfig, Error> {
    if config.size > CONFIG_LIMIT {
        let message = format!("a config of {} bytes is no image's", config.size);
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    // The stream ends with an error where there are more bytes than the descriptor says.
    let bytes = from.blob(config).await?.try_fold(Vec::new(), |mut bytes, piece| async move {
        bytes.extend_from_slice(&piece);
        Ok(bytes)
    });
    ImageConfig::parse(&bytes.await?)
}

fn wrong_platform(from: &dyn ImagePlace, wanted: &Platform, offered: &[String]) -> Error {
    let offered = if offered.is_empty() { "no platform".to_owned() } else { offered.join(", ") };
    let message = format!("{} is for {offered}, not for {wanted}", from.location());
    Error::new(ErrorKind::WrongPlatform, message)
}
