//! What is no error of a key.

use std::fmt;

use crate::epoch::{Epoch, Refresh};
use crate::image_name::ImageName;

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
    /// Arguments are configured that no reachable stage declares: they have no effect.
    UndeclaredArguments {
        /// The image.
        image: ImageName,
        /// The arguments' names.
        arguments: Vec<String>,
    },
}

impl KeyWarning {
    /// The image that it is about.
    pub fn image(&self) -> &ImageName {
        match self {
            Self::ExpiredEpoch { image, .. }
            | Self::OtherRefresh { image, .. }
            | Self::UndeclaredArguments { image, .. } => image,
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
            Self::UndeclaredArguments { arguments, .. } => {
                write!(formatter, "its Dockerfile declares no ARG {}", arguments.join(", "))
            }
        }
    }
}
