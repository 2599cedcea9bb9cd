//! Which epoch counts for an image.

use std::fmt;

use time::Date;

use crate::epoch::{Epoch, Refresh};
use crate::image_name::ImageName;
use crate::lockfile::Lockfile;
use crate::project::Image;

/// Something about keys that is no error, and that somebody should look after.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyWarning {
    /// The lockfile records an epoch that is over: the image is older than its `refresh` wants it.
    ExpiredEpoch {
        /// The image.
        image: ImageName,
        /// What the lockfile records.
        epoch: Epoch,
    },
    /// The lockfile's epoch is ignored, because the configuration wants another kind of it.
    OtherRefresh {
        /// The image.
        image: ImageName,
        /// What the lockfile records.
        epoch: Epoch,
        /// What the configuration wants.
        refresh: Refresh,
    },
}

impl KeyWarning {
    /// The image that it is about.
    pub fn image(&self) -> &ImageName {
        match self {
            Self::ExpiredEpoch { image, .. } | Self::OtherRefresh { image, .. } => image,
        }
    }
}

impl fmt::Display for KeyWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExpiredEpoch { epoch, .. } => {
                write!(formatter, "the lockfile's epoch {epoch} expired on {}", epoch.expires())
            }
            Self::OtherRefresh { epoch, refresh, .. } => write!(
                formatter,
                "the lockfile's epoch {epoch} is ignored, because refresh is {:?} now",
                refresh.as_str()
            ),
        }
    }
}

/// The recorded epoch, or else the one that `today` is in.
pub(super) fn epoch(
    image: &Image,
    lockfile: &Lockfile,
    today: Date,
    warnings: &mut Vec<KeyWarning>,
) -> Option<Epoch> {
    let refresh = image.refresh?;
    let name = || image.name.clone();
    match lockfile.epoch(&image.name) {
        Some(epoch) if epoch.refresh() == refresh => {
            if epoch.expires() <= today {
                warnings.push(KeyWarning::ExpiredEpoch { image: name(), epoch });
            }
            return Some(epoch);
        }
        Some(epoch) => warnings.push(KeyWarning::OtherRefresh { image: name(), epoch, refresh }),
        None => {}
    }
    Some(refresh.epoch(today))
}
