//! From bytes to logical lines: line numbers, comments, continuations.
//!
//! Every logical line remembers where its text stood in the source, so that a part of it can be
//! replaced there.

use std::ops::Range;

use super::directives::Directives;
use super::error::DockerfileError;

/// Longest line that BuildKit's scanner takes, without its line feed.
const MAX_LINE: usize = 64 * 1024 - 1;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A line of the source with its ending.
#[derive(Clone, Copy, Debug)]
pub(super) struct PhysicalLine<'a> {
    /// With line ending.
    pub(super) bytes: &'a [u8],
    /// Offset in the source.
    pub(super) start: usize,
    /// 1-based.
    pub(super) number: u32,
}

/// An instruction after its continuation lines were joined.
#[derive(Clone, Debug)]
pub(super) struct LogicalLine {
    /// The joined text.
    pub(super) text: String,
    /// Number of the first physical line.
    pub(super) number: u32,
    /// For each run of text: where it begins in the text, and where it began in the source.
    runs: Vec<(usize, usize)>,
}

impl LogicalLine {
    /// Where a non-empty range of the text lies in the source.
    ///
    /// The result spans the continuation between the ends, if there is one.
    pub(super) fn in_source(&self, range: Range<usize>) -> Range<usize> {
        self.offset(range.start)..self.offset(range.end.max(1) - 1) + 1
    }

    fn offset(&self, at: usize) -> usize {
        let run = self.runs.partition_point(|(text, _)| *text <= at);
        self.runs.get(run.wrapping_sub(1)).map_or(0, |(text, source)| source + (at - text))
    }
}

/// Reads lines one after the other.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    source: &'a [u8],
    at: usize,
    number: u32,
}

impl<'a> Lines<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        Self { source, at: 0, number: 0 }
    }

    /// The next physical line as it is, or `None` at the end.
    pub(super) fn next_physical(&mut self) -> Result<Option<PhysicalLine<'a>>, DockerfileError> {
        let rest = &self.source[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let feed = rest.iter().position(|byte| *byte == b'\n');
        let length = feed.map_or(rest.len(), |feed| feed + 1);
        self.number = self.number.saturating_add(1);
        if feed.unwrap_or(length) > MAX_LINE {
            let message = format!("line is longer than {MAX_LINE} bytes");
            return Err(DockerfileError::invalid(self.number, message));
        }
        let start = self.at;
        self.at += length;
        Ok(Some(PhysicalLine { bytes: &rest[..length], start, number: self.number }))
    }

    /// The next instruction, or `None` at the end. Blank lines and comments before and within it
    /// are left out, and directives are noted.
    pub(super) fn next_logical(
        &mut self,
        directives: &mut Directives,
    ) -> Result<Option<LogicalLine>, DockerfileError> {
        while let Some(line) = self.next_physical()? {
            let (bytes, start) = match line.bytes.strip_prefix(BOM) {
                Some(bytes) if line.number == 1 => (bytes, line.start + BOM.len()),
                _ => (line.bytes, line.start),
            };
            let indented = trim_line_ending(bytes);
            let content = trim_start(indented);
            directives.see(content, line.number)?;
            if content.first() == Some(&b'#') {
                continue;
            }
            let (kept, mut continues) = cut_continuation(content, directives.escape());
            if kept.is_empty() && !continues {
                continue;
            }
            let mut splice = Splice::default();
            splice.push(kept, start + (indented.len() - content.len()));
            while continues {
                let Some(line) = self.next_physical()? else {
                    break;
                };
                let content = trim_line_ending(line.bytes);
                let text = trim_start(content);
                if text.is_empty() || text[0] == b'#' {
                    continue;
                }
                let (kept, more) = cut_continuation(content, directives.escape());
                splice.push(kept, line.start);
                continues = more;
            }
            return splice.finish(line.number).map(Some);
        }
        Ok(None)
    }
}

#[derive(Default)]
struct Splice {
    bytes: Vec<u8>,
    runs: Vec<(usize, usize)>,
}

impl Splice {
    fn push(&mut self, bytes: &[u8], source: usize) {
        if !bytes.is_empty() {
            self.runs.push((self.bytes.len(), source));
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn finish(self, number: u32) -> Result<LogicalLine, DockerfileError> {
        let text = String::from_utf8(self.bytes)
            .map_err(|_| DockerfileError::invalid(number, "instruction is not UTF-8"))?;
        Ok(LogicalLine { text, number, runs: self.runs })
    }
}

/// Without all trailing carriage returns and line feeds.
pub(super) fn trim_line_ending(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    &line[..end.map_or(0, |last| last + 1)]
}

/// Without leading white space as Unicode has it.
pub(super) fn trim_start(line: &[u8]) -> &[u8] {
    let valid = line.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    &line[valid.len() - valid.trim_start().len()..]
}

/// Cuts the token that continues a line, and says whether there was one.
///
/// The token continues the line when only blanks and tabs follow it, unless another one stands
/// directly before it.
fn cut_continuation(line: &[u8], escape: char) -> (&[u8], bool) {
    let end = line.iter().rposition(|byte| !matches!(byte, b' ' | b'\t'));
    let is_escape = |at: usize| char::from(line[at]) == escape;
    match end {
        Some(last) if is_escape(last) && (last == 0 || !is_escape(last - 1)) => {
            (&line[..last], true)
        }
        _ => (line, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logical(source: &str) -> Vec<(u32, String)> {
        let mut lines = Lines::new(source.as_bytes());
        let mut directives = Directives::default();
        let mut found = Vec::new();
        while let Some(line) = lines.next_logical(&mut directives).unwrap() {
            found.push((line.number, line.text));
        }
        found
    }

    #[test]
    fn lines_are_joined_as_buildkit_joins_them() {
        let table: &[(&str, &[(u32, &str)])] = &[
            ("a\nb\n", &[(1, "a"), (2, "b")]),
            ("a\r\nb", &[(1, "a"), (2, "b")]),
            ("  a \n", &[(1, "a ")]),
            ("\u{feff}a", &[(1, "a")]),
            ("a\\\n  b", &[(1, "a  b")]),
            ("a \\ \t\nb", &[(1, "a b")]),
            ("a \\\r\nb\r\n", &[(1, "a b")]),
            ("a\\\\\nb", &[(1, "a\\\\"), (2, "b")]),
            ("\\\na", &[(1, "a")]),
            ("a\\\n\n # c\nb\nc", &[(1, "ab"), (5, "c")]),
            ("a\\\n# c \\\nb", &[(1, "ab")]),
            ("# a\\\nb", &[(2, "b")]),
            ("a\\", &[(1, "a")]),
            ("a # b", &[(1, "a # b")]),
            ("# escape=`\na`\nb\\\nc", &[(2, "ab\\"), (4, "c")]),
        ];
        for (source, expected) in table {
            let expected: Vec<_> =
                expected.iter().map(|(number, text)| (*number, (*text).to_owned())).collect();
            assert_eq!(logical(source), expected, "{source:?}");
        }
    }

    #[test]
    fn a_range_of_text_is_found_again_in_the_source() {
        let source = "\u{feff}  ab\\\n # c\n cd\\\r\nef\n";
        let mut lines = Lines::new(source.as_bytes());
        let line = lines.next_logical(&mut Directives::default()).unwrap().unwrap();
        assert_eq!(line.text, "ab cdef");
        let at = |range| &source[line.in_source(range)];
        assert_eq!(at(0..2), "ab");
        assert_eq!(at(3..5), "cd");
        assert_eq!(at(5..7), "ef");
        assert_eq!(at(4..6), "d\\\r\ne");
    }

    #[test]
    fn a_line_may_have_64_kib_with_its_line_feed() {
        let mut source = vec![b'a'; MAX_LINE];
        source.push(b'\n');
        assert!(Lines::new(&source).next_physical().is_ok());
        source.insert(0, b'a');
        let error = Lines::new(&source).next_physical().unwrap_err();
        assert_eq!(error.line(), 1);
    }
}
