//! Which stamps tell that a file is the same.

use super::super::stamp::{Stamp, Time};

/// Seconds by which a stamp must be older than the run: more than the coarsest clock of a trusted
/// file system ticks in.
const MARGIN: i64 = 2;

/// What may be remembered of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust {
    device: u64,
    before: Time,
}

impl Trust {
    /// Trusts what is on the device and was left alone since before `start`.
    pub(super) fn new(device: u64, start: Time) -> Self {
        let before = Time { seconds: start.seconds - MARGIN, nanoseconds: start.nanoseconds };
        Self { device, before }
    }

    pub(super) fn device(&self) -> u64 {
        self.device
    }

    pub(super) fn allows(&self, stamp: &Stamp) -> bool {
        stamp.device == self.device && stamp.modified < self.before && stamp.changed < self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_older_than_the_margin_is_trusted() {
        let at = |seconds, nanoseconds| Time { seconds, nanoseconds };
        let trust = Trust::new(7, at(1000, 500));
        let stamp = |device, modified, changed| Stamp {
            device,
            inode: 1,
            size: 1,
            mode: 0o100_644,
            modified,
            changed,
        };
        let old = at(998, 499);
        assert!(trust.allows(&stamp(7, old, old)));
        assert!(trust.allows(&stamp(7, at(-5, 0), at(3, 0))));
        let fresh = [at(998, 500), at(998, 501), at(999, 0), at(1000, 500), at(1001, 0)];
        for fresh in fresh.into_iter().chain([at(i64::MAX, 0)]) {
            assert!(!trust.allows(&stamp(7, old, fresh)), "{fresh:?}");
            assert!(!trust.allows(&stamp(7, fresh, old)), "{fresh:?}");
        }
        assert!(!trust.allows(&stamp(8, old, old)), "another device");
    }
}
