//! `HEALTHCHECK`, and the durations in its flags.

use super::super::error::DockerfileError;
use super::super::flags::Flag;
use super::super::instruction::Arguments;
use super::super::steps::Healthcheck;
use super::instruction::command_line;
use super::words::Words;

pub(super) fn healthcheck(
    words: Words<'_>,
    command: Option<&Arguments>,
) -> Result<Healthcheck, DockerfileError> {
    // Flags of NONE mean nothing, so that BuildKit does not read them.
    let Some(command) = command else { return Ok(Healthcheck::None) };
    let (mut interval, mut timeout, mut start_period, mut start_interval) = (0, 0, 0, 0);
    let mut retries = 0;
    for flag in &words.instruction.flags {
        let Flag::Plain(text) = flag else { continue };
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let problem = |problem: String| words.invalid(format!("{name}={value}: {problem}"));
        let duration = || self::duration(value).map_err(problem);
        match name {
            "--interval" => interval = duration()?,
            "--timeout" => timeout = duration()?,
            "--start-period" => start_period = duration()?,
            "--start-interval" => start_interval = duration()?,
            "--retries" => retries = self::retries(value).map_err(problem)?,
            _ => {}
        }
    }
    let command = command_line(command);
    Ok(Healthcheck::Command { command, interval, timeout, start_period, start_interval, retries })
}

fn retries(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let number: i32 = text.parse().map_err(|_| "this is no number".to_owned())?;
    u64::try_from(number).map_err(|_| "it cannot be negative".to_owned())
}

/// Nanoseconds; an empty text is 0, which means not set.
fn duration(text: &str) -> Result<u64, String> {
    const MILLISECOND: u64 = 1_000_000;
    if text.is_empty() {
        return Ok(0);
    }
    let (negative, nanoseconds) = parse_duration(text)
        .ok_or_else(|| "this is no duration such as 30s or 1m30s".to_owned())?;
    match nanoseconds {
        0 => Ok(0),
        1.. if negative || nanoseconds < MILLISECOND => {
            Err("it cannot be less than 1ms".to_owned())
        }
        nanoseconds => Ok(nanoseconds),
    }
}

/// A duration as Go writes it, by the documentation of `time.ParseDuration`: numbers with fractions and
/// units. Whether it is negative, and its nanoseconds; the fraction of one is cut off.
fn parse_duration(text: &str) -> Option<(bool, u64)> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some((negative, 0));
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let whole = digits(&mut rest);
        let fraction = match rest.strip_prefix('.') {
            Some(behind) => {
                rest = behind;
                digits(&mut rest)
            }
            None => "",
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = rest.find(|ch: char| ch == '.' || ch.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, behind) = rest.split_at(end);
        rest = behind;
        let unit: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        total = total.checked_add(whole.checked_mul(unit)?)?.checked_add(part(fraction, unit))?;
        if total > i64::MAX.unsigned_abs() {
            return None;
        }
    }
    Some((negative, total))
}

/// The digits that a text begins with; they are cut off.
fn digits<'t>(text: &mut &'t str) -> &'t str {
    let end = text.find(|ch: char| !ch.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    digits
}

/// `0.FRACTION` of a unit. Digits beyond the nineteenth are less than a nanosecond of any unit.
fn part(fraction: &str, unit: u64) -> u64 {
    let digits = &fraction[..fraction.len().min(19)];
    let scale = (0..digits.len()).fold(1_u128, |scale, _| scale * 10);
    let value: u128 = digits.parse().unwrap_or(0);
    u64::try_from(value * u128::from(unit) / scale).unwrap_or(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("", 0),
            ("0", 0),
            ("0s", 0),
            ("-0s", 0),
            ("1ms", 1_000_000),
            ("30s", 30_000_000_000),
            ("+5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("30s1m", 90_000_000_000),
            ("1500us", 1_500_000),
            ("1500µs", 1_500_000),
            ("1500μs", 1_500_000),
            ("2000000ns", 2_000_000),
            ("1.0000000000000000000000001s", 1_000_000_000),
            ("2562047h47m16.854775807s", i64::MAX as u64),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for text in [
            "1",
            "s",
            ".s",
            "1x",
            "1 s",
            " 1s",
            "-1s",
            "999us",
            "1d",
            "1s-1s",
            "+",
            "-",
            "--1s",
            "é",
            "2562047h47m16.854775808s",
            "99999999999999999999s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
