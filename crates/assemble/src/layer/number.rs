//! Numbers in headers of tars, in all the ways they are written.

use std::io;

use super::damaged;

/// A field of a header: octal digits between blanks and NULs, or a number to the base of 256 that begins
/// with a set bit, as GNU tar and others write what has too many digits.
pub(super) fn field(bytes: &[u8]) -> io::Result<i64> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base256(bytes),
        _ => octal(bytes),
    }
}

fn octal(bytes: &[u8]) -> io::Result<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(begin) = bytes.iter().position(|byte| !blank(byte)) else {
        return Ok(0);
    };
    let end = bytes.iter().rposition(|byte| !blank(byte)).unwrap_or(begin);
    bytes[begin..=end].iter().try_fold(0_i64, |value, byte| match byte {
        b'0'..=b'7' if value < 1 << 59 => Ok(value * 8 + i64::from(byte - b'0')),
        _ => Err(damaged("a header's number is none")),
    })
}

fn base256(bytes: &[u8]) -> io::Result<i64> {
    // The first bit says that it is such a number, the second is its sign.
    let negative = bytes[0] & 0x40 != 0;
    let first = if negative { bytes[0] | 0x80 } else { bytes[0] & 0x7f };
    let start: i128 = if negative { -1 } else { 0 };
    let value =
        std::iter::once(first).chain(bytes[1..].iter().copied()).try_fold(start, |value, byte| {
            let next = (value << 8) | i128::from(byte);
            i64::try_from(next).is_ok().then_some(next)
        });
    value
        .and_then(|value| i64::try_from(value).ok())
        .ok_or_else(|| damaged("a header's number is too large"))
}

/// A whole decimal number of a record.
pub(super) fn decimal(text: &[u8]) -> io::Result<u64> {
    let number = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.starts_with(|first: char| first.is_ascii_digit()));
    number
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| damaged("an extended header's number is none"))
}

/// A time of a record: seconds since 1970, and nanoseconds besides. Smaller parts are cut off.
pub(super) fn time(text: &[u8]) -> io::Result<(i64, u32)> {
    let none = || damaged("an extended header's time is none");
    let text = std::str::from_utf8(text).map_err(|_| none())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let negative = whole.starts_with('-');
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole.strip_prefix('-').unwrap_or(whole)) || !digits(fraction) {
        return Err(none());
    }
    let seconds: i64 = whole.parse().map_err(|_| none())?;
    let nanos = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    match (negative, nanos) {
        (true, 1..) => Ok((seconds.checked_sub(1).ok_or_else(none)?, 1_000_000_000 - nanos)),
        _ => Ok((seconds, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_octal_or_to_the_base_of_256() {
        for (bytes, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777", Some(0o77777777)),
            (b"0000688\0", None),
            (b"64 4\0", None),
            (b"-1\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", Some(i64::MAX)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", Some(i64::MIN)),
            (b"\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0", None),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"7777777777777777777777777", None),
            (b"", Some(0)),
        ] {
            assert_eq!(field(bytes).ok(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn times_are_decimal_numbers() {
        for (text, expected) in [
            ("1", Some((1, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("-0.5", Some((-1, 500_000_000))),
            ("-1", Some((-1, 0))),
            ("-1.000000001", Some((-2, 999_999_999))),
            ("1.", Some((1, 0))),
            ("", None),
            (".5", None),
            ("+1", None),
            ("1.-5", None),
            ("1e3", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()).ok(), expected, "{text}");
        }
        assert_eq!(decimal(b"18446744073709551615").ok(), Some(u64::MAX));
        for text in ["", "+1", "-1", "1 ", "0x1", "18446744073709551616"] {
            assert!(decimal(text.as_bytes()).is_err(), "{text}");
        }
    }
}
