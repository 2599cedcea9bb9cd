//! Files with holes.

use std::io;

use super::damaged;

/// Most fragments that the sparse files of an archive may have together. Each is held.
pub(super) const MOST_FRAGMENTS: usize = 1024 * 1024;

/// A part of a file that an archive holds; between them are zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Checks that fragments follow each other in a file of this size, and that as many bytes are stored as
/// they have. Empty ones, which mark the end, are left out, and those that touch become one.
pub(super) fn check(map: Vec<Fragment>, size: u64, stored: u64) -> io::Result<Vec<Fragment>> {
    let wrong = || damaged("a sparse file's map does not fit the file");
    let mut merged: Vec<Fragment> = Vec::new();
    let mut end = 0;
    let mut sum = 0_u64;
    for fragment in map {
        if fragment.offset < end {
            return Err(wrong());
        }
        // What it ends with is at most `end`, which was checked.
        let touched = merged.last_mut().filter(|last| last.offset + last.length == fragment.offset);
        match touched {
            Some(last) => last.length = last.length.saturating_add(fragment.length),
            None if fragment.length > 0 => merged.push(fragment),
            None => {}
        }
        end = fragment.offset.checked_add(fragment.length).ok_or_else(wrong)?;
        sum = sum.checked_add(fragment.length).ok_or_else(wrong)?;
    }
    if end > size || sum != stored {
        return Err(wrong());
    }
    Ok(merged)
}

/// The error of an archive that has too many.
pub(super) fn too_many() -> io::Error {
    damaged(&format!("its sparse files have more than {MOST_FRAGMENTS} fragments"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_fit_their_file() {
        let map = |pairs: &[(u64, u64)]| {
            pairs
                .iter()
                .map(|(offset, length)| Fragment { offset: *offset, length: *length })
                .collect()
        };
        for (pairs, size, stored, fits) in [
            (&[][..], 0, 0, true),
            (&[], 10, 0, true),
            (&[], 10, 1, false),
            (&[(0, 5)], 5, 5, true),
            (&[(0, 5)], 4, 5, false),
            (&[(2, 2), (4, 1), (9, 0)], 9, 3, true),
            (&[(2, 2), (3, 1)], 9, 3, false),
            (&[(4, 1), (2, 2)], 9, 3, false),
            (&[(u64::MAX, 1)], u64::MAX, 1, false),
            (&[(0, 1), (1, u64::MAX - 1)], u64::MAX, u64::MAX, true),
        ] {
            assert_eq!(check(map(pairs), size, stored).is_ok(), fits, "{pairs:?} {size} {stored}");
        }
    }

    #[test]
    fn fragments_that_touch_become_one() {
        let map = |pairs: &[(u64, u64)]| -> Vec<Fragment> {
            let fragment =
                |(offset, length): &(u64, u64)| Fragment { offset: *offset, length: *length };
            pairs.iter().map(fragment).collect()
        };
        for (pairs, expected) in [
            (&[(0, 1), (1, 1), (2, 3)][..], &[(0, 5)][..]),
            (&[(0, 1), (2, 1), (3, 1)], &[(0, 1), (2, 2)]),
            (&[(0, 0), (2, 2), (4, 0), (4, 1)], &[(2, 3)]),
            (&[(2, 2), (6, 0), (6, 3), (9, 0)], &[(2, 2), (6, 3)]),
        ] {
            let stored = pairs.iter().map(|(_, length)| length).sum();
            assert_eq!(check(map(pairs), 9, stored).unwrap(), map(expected), "{pairs:?}");
        }
    }
}
