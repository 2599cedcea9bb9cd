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
