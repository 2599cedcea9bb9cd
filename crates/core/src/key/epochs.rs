//! Which epoch counts for an image.

use time::Date;

use super::warning::KeyWarning;
use crate::epoch::Epoch;
use crate::lockfile::Lockfile;
use crate::project::Image;

/// The recorded epoch, or else the one that `today` is in.
pub(super) fn epoch(
    image: &Image,
    lockfile: &Lockfile,
    today: Date,
    warnings: &mut Vec<KeyWarning>,
) -> Option<Epoch> {
    let refresh = image.refresh?;
    let name = || image.declared_name().clone();
    // Of several platforms it is told once.
    let mut warn = |warning| {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    };
    match lockfile.epoch(image.declared_name()) {
        Some(epoch) if epoch.refresh() == refresh => {
            if epoch.expires() <= today {
                warn(KeyWarning::ExpiredEpoch { image: name(), epoch });
            }
            return Some(epoch);
        }
        Some(epoch) => warn(KeyWarning::OtherRefresh { image: name(), epoch, refresh }),
        None => {}
    }
    Some(refresh.epoch(today))
}
