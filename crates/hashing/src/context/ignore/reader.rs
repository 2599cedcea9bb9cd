//! From the text of an ignore file to cleaned patterns, as BuildKit's `ignorefile.ReadAll` reads.

use super::error::{IgnoreError, Problem};

/// Bytes that a line must stay below.
const LINE_LIMIT: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Counted from 1.
    pub(super) number: usize,
    /// Cleaned like a path, with its `!` in front; never empty.
    pub(super) pattern: Vec<u8>,
}

/// The patterns in their order, without comments and empty lines.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Result<Line, IgnoreError>> {
    text.split(|byte| *byte == b'\n').enumerate().filter_map(|(index, line)| {
        let number = index + 1;
        if line.len() >= LINE_LIMIT {
            let problem = Problem::invalid("the line has 65536 bytes or more");
            return Some(Err(IgnoreError::new(number, b"", problem)));
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line =
            if index == 0 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        let pattern = pattern(line)?;
        Some(Ok(Line { number, pattern }))
    })
}

fn pattern(line: &[u8]) -> Option<Vec<u8>> {
    if line.starts_with(b"#") {
        return None;
    }
    let line = trim(line);
    let (mark, rest) = match line.strip_prefix(b"!") {
        Some(rest) => (&b"!"[..], trim(rest)),
        None => (&b""[..], line),
    };
    let mut pattern = mark.to_vec();
    if !rest.is_empty() {
        let cleaned = clean(rest);
        pattern.extend_from_slice(match cleaned.as_slice() {
            [b'/', relative @ ..] if !relative.is_empty() => relative,
            whole => whole,
        });
    }
    // The matcher does it once more, now with the mark.
    cleaned(&pattern)
}

/// A pattern as BuildKit's matcher itself takes it; none if it is blank.
pub(super) fn cleaned(pattern: &[u8]) -> Option<Vec<u8>> {
    let pattern = trim(pattern);
    (!pattern.is_empty()).then(|| clean(pattern))
}

/// Removes Unicode white space from both ends.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let Some(length) = white_space(first_character(bytes)) {
        bytes = &bytes[length..];
    }
    while let Some(length) = white_space(last_character(bytes)) {
        bytes = &bytes[..bytes.len() - length];
    }
    bytes
}

/// Length of a character that is white space.
fn white_space(character: Option<char>) -> Option<usize> {
    character.filter(|character| character.is_whitespace()).map(char::len_utf8)
}

fn first_character(bytes: &[u8]) -> Option<char> {
    bytes[..bytes.len().min(4)].utf8_chunks().next()?.valid().chars().next()
}

fn last_character(bytes: &[u8]) -> Option<char> {
    (1..=bytes.len().min(4)).find_map(|length| {
        let tail = std::str::from_utf8(&bytes[bytes.len() - length..]).ok()?;
        tail.chars().next()
    })
}

/// The shortest spelling of a path, by its text alone, as Go's `path.Clean` has it.
fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => match components.last() {
                Some(last) if *last != b".." => drop(components.pop()),
                _ if rooted => {}
                _ => components.push(component),
            },
            _ => components.push(component),
        }
    }
    let joined = components.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/".as_slice(), &joined].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<String> {
        lines(text)
            .map(|line| line.expect("a line that can be read").pattern)
            .map(|pattern| String::from_utf8_lossy(&pattern).into_owned())
            .collect()
    }

    #[test]
    fn every_line_is_cleaned() {
        let table: [(&[u8], &[&str]); 22] = [
            (b"", &[]),
            (b"\n\r\n  \n", &[]),
            (b"a\nb", &["a", "b"]),
            (b"a\r\nb\r\n", &["a", "b"]),
            (b"a\r\r\n", &["a"]),
            (b"\xef\xbb\xbf# comment\na", &["a"]),
            (b"\xef\xbb\xbfa", &["a"]),
            (b"# comment\n # no comment", &["# no comment"]),
            (b"a # no comment", &["a # no comment"]),
            (b"  a\t ", &["a"]),
            ("\u{a0}a\u{3000}\x0b".as_bytes(), &["a"]),
            (b"a/../b\n./b\nb/\n//b\n/b", &["b", "b", "b", "b", "b"]),
            (b"/\n.\n..\n/..", &["/", ".", "..", "/"]),
            (b"!a\n! a\n!/a", &["!a", "!a", "!a"]),
            (b"!\n!/\n!  ", &["!", "!", "!"]),
            (b"!!a", &["!!a"]),
            (b"/!a\n./!a", &["!a", "!a"]),
            (b"a/ /", &["a"]),
            (b"a/**/", &["a/**"]),
            (b"../../a", &["../../a"]),
            (b"\xff \n\x85", &["\u{fffd}", "\u{fffd}"]),
            (b"a\0b", &["a\0b"]),
        ];
        for (text, patterns) in table {
            assert_eq!(read(text), patterns, "{:?}", text.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_line_counts_even_when_it_holds_no_pattern() {
        let numbers: Vec<usize> =
            lines(b"# comment\n\na\n").map(|line| line.expect("readable").number).collect();
        assert_eq!(numbers, [3]);
    }

    #[test]
    fn a_line_of_64_kib_is_an_error() {
        let mut text = b"a\n".to_vec();
        text.resize(2 + LINE_LIMIT - 1, b'x');
        assert!(lines(&text).all(|line| line.is_ok()));
        text.push(b'x');
        let error = lines(&text).find_map(Result::err).expect("an error");
        assert_eq!(error.line(), 2);
    }
}
