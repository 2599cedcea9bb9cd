//! How long something may take, as it is written: `90s`, `30m`, `1h30m`.

use std::time::Duration;

/// Hours, minutes and seconds in this order, each at most once; none if the text is no such thing, is
/// nothing at all, or more than a year.
pub fn time_limit(text: &str) -> Option<Duration> {
    const YEAR: u64 = 366 * 24 * 60 * 60;
    let mut rest = text;
    let mut seconds: u64 = 0;
    for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if let Some(after) = rest[digits..].strip_prefix(unit) {
            let count: u64 = rest[..digits].parse().ok()?;
            seconds = seconds.checked_add(count.checked_mul(length)?)?;
            rest = after;
        }
    }
    (rest.is_empty() && (1..=YEAR).contains(&seconds)).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_hours_minutes_and_seconds() {
        for (text, seconds) in
            [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2h", 7200), ("1h1s", 3601)]
        {
            assert_eq!(time_limit(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "30",
            "m",
            "30m1h",
            "1m1m",
            "-1s",
            "1.5h",
            "1 h",
            "0s",
            "9999999h",
            "99999999999999999999s",
        ] {
            assert_eq!(time_limit(bad), None, "{bad}");
        }
    }
}
