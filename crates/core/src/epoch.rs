//! Periods of time that enter keys, so that an image is built again now and then.

use std::fmt;
use std::str::FromStr;

use time::{Date, Duration, Month, Weekday};

/// How often an image gets another key though nothing that its build reads has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Each day.
    Daily,
    /// Each ISO 8601 week: from Monday on.
    Weekly,
    /// Each month.
    Monthly,
}

/// A day, week or month in UTC, as it enters a key: `2026-11-21`, `2026-W47` or `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(Period);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Period {
    Day(Date),
    /// The week-based year, which is not always the calendar's, and the week's number.
    Week(i32, u8),
    Month(i32, Month),
}

/// A text that is no [`Epoch`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid epoch {0:?}: it is a day (2026-11-21), an ISO week (2026-W47) or a month (2026-11)"
)]
pub struct InvalidEpoch(String);

impl Refresh {
    /// The epoch that this day is in.
    pub fn epoch(self, day: Date) -> Epoch {
        Epoch(match self {
            Self::Daily => Period::Day(day),
            Self::Weekly => {
                let (year, week, _) = day.to_iso_week_date();
                Period::Week(year, week)
            }
            Self::Monthly => Period::Month(day.year(), day.month()),
        })
    }

    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }
}

impl Epoch {
    /// Which refresh has such epochs.
    pub fn refresh(self) -> Refresh {
        match self.0 {
            Period::Day(_) => Refresh::Daily,
            Period::Week(..) => Refresh::Weekly,
            Period::Month(..) => Refresh::Monthly,
        }
    }

    /// The first day (UTC) after it.
    pub fn expires(self) -> Date {
        let next = match self.0 {
            Period::Day(day) => day.next_day(),
            Period::Week(year, week) => Date::from_iso_week_date(year, week, Weekday::Monday)
                .ok()
                .and_then(|monday| monday.checked_add(Duration::WEEK)),
            Period::Month(year, Month::December) => {
                Date::from_calendar_date(year + 1, Month::January, 1).ok()
            }
            Period::Month(year, month) => Date::from_calendar_date(year, month.next(), 1).ok(),
        };
        // Only the last of all dates has no next one.
        next.unwrap_or(Date::MAX)
    }
}

impl FromStr for Refresh {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Daily, Self::Weekly, Self::Monthly]
            .into_iter()
            .find(|refresh| refresh.as_str() == text)
            .ok_or(())
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Period::Day(day) => {
                let (year, month, day) = day.to_calendar_date();
                write!(formatter, "{year:04}-{:02}-{day:02}", u8::from(month))
            }
            Period::Week(year, week) => write!(formatter, "{year:04}-W{week:02}"),
            Period::Month(year, month) => write!(formatter, "{year:04}-{:02}", u8::from(month)),
        }
    }
}

impl FromStr for Epoch {
    type Err = InvalidEpoch;

    fn from_str(text: &str) -> Result<Self, InvalidEpoch> {
        let number = |text: &str, digits: usize| {
            let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| text.parse::<u16>().ok()).flatten()
        };
        let short = |text: &str| number(text, 2).and_then(|number| u8::try_from(number).ok());
        let period = || {
            let (year, rest) = text.split_once('-')?;
            let year = i32::from(number(year, 4)?);
            if let Some(week) = rest.strip_prefix('W') {
                let week = short(week)?;
                // The last week of a year may be its 53rd or not.
                Date::from_iso_week_date(year, week, Weekday::Monday).ok()?;
                return Some(Period::Week(year, week));
            }
            let Some((month, day)) = rest.split_once('-') else {
                return Some(Period::Month(year, Month::try_from(short(rest)?).ok()?));
            };
            let month = Month::try_from(short(month)?).ok()?;
            Some(Period::Day(Date::from_calendar_date(year, month, short(day)?).ok()?))
        };
        period().map(Self).ok_or_else(|| InvalidEpoch(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::date;

    use super::*;

    #[test]
    fn years_end_as_iso_8601_says() {
        let table = [
            (date!(2026 - 11 - 21), "2026-W47", date!(2026 - 11 - 23)),
            (date!(2024 - 12 - 29), "2024-W52", date!(2024 - 12 - 30)),
            (date!(2024 - 12 - 30), "2025-W01", date!(2025 - 01 - 06)),
            (date!(2026 - 12 - 31), "2026-W53", date!(2027 - 01 - 04)),
            (date!(2027 - 01 - 03), "2026-W53", date!(2027 - 01 - 04)),
            (date!(2027 - 01 - 04), "2027-W01", date!(2027 - 01 - 11)),
            (date!(2021 - 01 - 01), "2020-W53", date!(2021 - 01 - 04)),
            (date!(2022 - 01 - 01), "2021-W52", date!(2022 - 01 - 03)),
        ];
        for (day, week, expires) in table {
            let epoch = Refresh::Weekly.epoch(day);
            assert_eq!((epoch.to_string().as_str(), epoch.expires()), (week, expires), "{day}");
        }
        let december = Refresh::Monthly.epoch(date!(2026 - 12 - 31));
        assert_eq!(
            (december.to_string().as_str(), december.expires()),
            ("2026-12", date!(2027 - 01 - 01))
        );
        let leap_day = Refresh::Daily.epoch(date!(2028 - 02 - 28));
        assert_eq!(
            (leap_day.to_string().as_str(), leap_day.expires()),
            ("2028-02-28", date!(2028 - 02 - 29))
        );
    }

    #[test]
    fn what_is_no_period_is_no_epoch() {
        for bad in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "2026-1",
            "2026-W00",
            "2026-W54",
            "2025-W53",
            "2026-W7",
            "2026-w47",
            "2026-02-29",
            "2026-11-31",
            "2026-11-21-01",
            "26-11",
            "+026-11",
            "2026-+1",
            " 2026-11",
            "2026-11 ",
        ] {
            assert!(bad.parse::<Epoch>().is_err(), "{bad:?}");
        }
        assert!("2026-W53".parse::<Epoch>().is_ok());
    }

    /// The calendar without the crate that is tested with: days since 1970 to year, month and day.
    fn civil(days: i64) -> (i64, i64, i64) {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut left) = (1970, days);
        while left >= if leap(year) { 366 } else { 365 } {
            left -= if leap(year) { 366 } else { 365 };
            year += 1;
        }
        let february = if leap(year) { 29 } else { 28 };
        let mut month = 1;
        for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            if left < length {
                break;
            }
            left -= length;
            month += 1;
        }
        (year, month, left + 1)
    }

    /// A week belongs to the year that its Thursday is in; 1970-01-01 was a Thursday.
    fn iso_week(days: i64) -> (i64, i64) {
        let monday = days - (days + 3).rem_euclid(7);
        let thursday = monday + 3;
        let (year, ..) = civil(thursday);
        let mut first = thursday;
        while first >= 7 && civil(first - 7).0 == year {
            first -= 7;
        }
        (year, (thursday - first) / 7 + 1)
    }

    proptest! {
        #[test]
        fn epochs_agree_with_another_calendar(days in 10i64..60_000) {
            let day = date!(1970 - 01 - 01) + Duration::days(days);
            let (year, month, of_month) = civil(days);
            let (week_year, week) = iso_week(days);
            let text = |refresh: Refresh| refresh.epoch(day).to_string();
            prop_assert_eq!(text(Refresh::Daily), format!("{year:04}-{month:02}-{of_month:02}"));
            prop_assert_eq!(text(Refresh::Weekly), format!("{week_year:04}-W{week:02}"));
            prop_assert_eq!(text(Refresh::Monthly), format!("{year:04}-{month:02}"));
        }

        #[test]
        fn an_epoch_ends_where_the_next_begins_and_reads_as_written(days in 10i64..60_000) {
            let day = date!(1970 - 01 - 01) + Duration::days(days);
            for refresh in [Refresh::Daily, Refresh::Weekly, Refresh::Monthly] {
                let epoch = refresh.epoch(day);
                let expires = epoch.expires();
                prop_assert!(day < expires);
                prop_assert_eq!(refresh.epoch(expires.previous_day().unwrap()), epoch);
                prop_assert!(refresh.epoch(expires) > epoch);
                prop_assert_eq!(epoch.to_string().parse::<Epoch>().unwrap(), epoch);
                prop_assert_eq!(epoch.refresh(), refresh);
            }
        }
    }
}
