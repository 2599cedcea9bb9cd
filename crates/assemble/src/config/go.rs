//! How programs in Go write texts, durations and paths, by the documentation of its packages `strconv`,
//! `time` and `path`: the history of an image holds what BuildKit's `%q` makes.

use std::fmt::Write as _;

/// A text in double quotes, as `strconv.Quote` has it.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for ch in text.chars() {
        escape(ch, '"', &mut quoted);
    }
    quoted.push('"');
    quoted
}

/// A list of texts in quotes: `["a" "b"]`.
pub(super) fn quote_all(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quote(text)).collect();
    format!("[{}]", texts.join(" "))
}

/// A number taken for a character, as `strconv.QuoteRune` has it.
pub(super) fn quote_rune(number: i64) -> String {
    let ch = u32::try_from(number).ok().and_then(char::from_u32);
    let mut quoted = String::from('\'');
    escape(ch.unwrap_or(char::REPLACEMENT_CHARACTER), '\'', &mut quoted);
    quoted.push('\'');
    quoted
}

fn escape(ch: char, quote: char, out: &mut String) {
    let short = match ch {
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        '\\' => '\\',
        _ if ch == quote => quote,
        _ if is_printed(ch) => {
            out.push(ch);
            return;
        }
        _ => {
            let code = u32::from(ch);
            let written = match code {
                0..0x80 => write!(out, "\\x{code:02x}"),
                0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
                _ => write!(out, "\\U{code:08x}"),
            };
            written.expect("a String takes everything");
            return;
        }
    };
    out.extend(['\\', short]);
}

/// Whether a character stands for itself: letters, marks, numbers, punctuation, symbols, and the blank.
/// Characters that Unicode has not assigned are taken for such.
fn is_printed(ch: char) -> bool {
    let invisible = matches!(
        ch,
        '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{feff}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{fffe}'..='\u{ffff}'
            | '\u{e0000}'..='\u{e0fff}'
            | '\u{f0000}'..
    );
    ch == ' ' || !(ch.is_control() || ch.is_whitespace() || invisible)
}

/// A duration of so many nanoseconds, as `time.Duration` is written: `1m30s`.
pub(super) fn duration(nanoseconds: i64) -> String {
    let all = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let (unit, name) = match all {
        0 => return "0s".to_owned(),
        1..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let seconds = all / unit;
    let mut text = sign.to_owned();
    let (hours, minutes, rest) = match unit {
        1_000_000_000 => (seconds / 3600, seconds / 60 % 60, seconds % 60),
        _ => (0, 0, seconds),
    };
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        text.push_str(&format!("{minutes}m"));
    }
    text.push_str(&rest.to_string());
    let fraction = all % unit;
    if fraction > 0 {
        let width = unit.ilog10() as usize;
        let digits = format!("{fraction:0width$}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text + name
}

/// An absolute path without `.`, `..` and empty components, as `path.Clean` has it.
pub(super) fn clean_path(path: &str) -> String {
    let mut components = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            component => components.push(component),
        }
    }
    format!("/{}", components.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_quotes_them() {
        for (text, expected) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("it's \"so\"", r#""it's \"so\"""#),
            ("\\\n\t\u{7}\u{1}\u{7f}", r#""\\\n\t\a\x01\x7f""#),
            ("schön ☃ 🦀", "\"schön ☃ 🦀\""),
            ("e\u{301}", "\"e\u{301}\""),
            ("\u{a0}\u{feff}\u{85}", r#""\u00a0\ufeff\u0085""#),
            ("\u{e0001}", r#""\U000e0001""#),
        ] {
            assert_eq!(quote(text), expected);
        }
        assert_eq!(quote_all(&["a".to_owned(), "b c".to_owned()]), r#"["a" "b c"]"#);
        assert_eq!(quote_all(&[]), "[]");
        for (number, expected) in [
            (0, r"'\x00'"),
            (3, r"'\x03'"),
            (10, r"'\n'"),
            (39, r"'\''"),
            (34, "'\"'"),
            (65, "'A'"),
        ] {
            assert_eq!(quote_rune(number), expected);
        }
        assert_eq!(quote_rune(0x0011_0000), "'\u{fffd}'");
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanoseconds, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (3_600_000_000_000, "1h0m0s"),
            (480_000_000_001, "8m0.000000001s"),
            (-1_500_000_000, "-1.5s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(duration(nanoseconds), expected);
        }
    }

    #[test]
    fn paths_are_cleaned_within_the_root() {
        for (path, expected) in
            [("/", "/"), ("//a/./b/", "/a/b"), ("/../a/../../b", "/b"), ("/a/b/..", "/a")]
        {
            assert_eq!(clean_path(path), expected);
        }
    }
}
