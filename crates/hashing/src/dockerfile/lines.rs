//! From bytes to logical lines: directives, comments, continuations, here-documents.
//!
//! As BuildKit's `parser.Parse`: a UTF-8 byte order mark and carriage returns before line feeds fall
//! away, comment lines and empty lines within a continued instruction are dropped, and blanks before
//! an instruction are.

use std::ops::Range;

use super::error::DockerfileError;
use super::heredoc::{self, Heredoc};

/// Longest line that BuildKit's scanner takes.
const LINE_LIMIT: usize = 64 * 1024;

/// What stands at the top of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// `# syntax=`: the frontend, and where its name stands in the source.
    pub(super) syntax: Option<(String, Range<usize>, u32)>,
    /// `# escape=`: the character that continues lines; a backslash unless said otherwise.
    pub(super) escape: char,
}

/// An instruction's text, spliced from its physical lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogicalLine {
    /// The first physical line, counted from 1.
    pub(super) line: u32,
    /// The spliced text.
    pub(super) text: String,
    /// For each byte of `text`, its place in the source.
    pub(super) places: Vec<usize>,
    /// The here-documents that follow it.
    pub(super) heredocs: Vec<Heredoc>,
}

struct PhysicalLine<'a> {
    number: u32,
    start: usize,
    text: &'a str,
}

/// Splits a Dockerfile.
pub(super) fn split(source: &str) -> Result<(Directives, Vec<LogicalLine>), DockerfileError> {
    let mut physical = physical_lines(source)?.into_iter().peekable();
    let mut directives = Directives { escape: '\\', ..Directives::default() };
    let mut escape_seen = false;
    while let Some(line) = physical.peek() {
        let Some((name, value, place)) = directive(line) else {
            break;
        };
        let number = line.number;
        match name.as_str() {
            "syntax" if directives.syntax.is_some() => {
                return Err(DockerfileError::new(number, "only one syntax directive is allowed"));
            }
            "syntax" => directives.syntax = Some((value, place, number)),
            "escape" if escape_seen => {
                return Err(DockerfileError::new(number, "only one escape directive is allowed"));
            }
            "escape" => {
                escape_seen = true;
                directives.escape = match value.as_str() {
                    "\\" => '\\',
                    "`" => '`',
                    other => {
                        let message = format!("invalid escape character {other:?}: it is ` or \\");
                        return Err(DockerfileError::new(number, message));
                    }
                };
            }
            "check" => {}
            // Anything else ends the directives and is a comment.
            _ => break,
        }
        physical.next();
    }
    let mut logical = Vec::new();
    while let Some(line) = physical.next() {
        if is_comment(line.text) || line.text.trim().is_empty() {
            continue;
        }
        let mut current = LogicalLine {
            line: line.number,
            text: String::new(),
            places: Vec::new(),
            heredocs: Vec::new(),
        };
        let indent = line.text.len() - line.text.trim_start().len();
        let mut continued =
            append(&mut current, &line.text[indent..], line.start + indent, directives.escape);
        while continued {
            let Some(next) = physical.next() else {
                break;
            };
            if is_comment(next.text) || next.text.trim().is_empty() {
                continue;
            }
            continued = append(&mut current, next.text, next.start, directives.escape);
        }
        let blanks = current.text.len() - current.text.trim_end().len();
        current.text.truncate(current.text.len() - blanks);
        current.places.truncate(current.text.len());
        current.heredocs = heredoc::announced(&current.text, directives.escape);
        for heredoc in &mut current.heredocs {
            let mut terminated = false;
            for body in physical.by_ref() {
                if heredoc.take_line(body.text) {
                    terminated = true;
                    break;
                }
            }
            if !terminated {
                let message = format!("the here-document {:?} has no end", heredoc.name);
                return Err(DockerfileError::new(current.line, message));
            }
        }
        logical.push(current);
    }
    Ok((directives, logical))
}

fn physical_lines(source: &str) -> Result<Vec<PhysicalLine<'_>>, DockerfileError> {
    let mut start = if source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut lines = Vec::new();
    let mut number = 0;
    while start < source.len() {
        number += 1;
        let rest = &source[start..];
        let end = rest.find('\n').unwrap_or(rest.len());
        let text = rest[..end].strip_suffix('\r').unwrap_or(&rest[..end]);
        if text.len() >= LINE_LIMIT {
            return Err(DockerfileError::new(number, "the line is longer than 64 KiB"));
        }
        lines.push(PhysicalLine { number, start, text });
        start += end + 1;
    }
    Ok(lines)
}

fn is_comment(text: &str) -> bool {
    text.trim_start().starts_with('#')
}

/// `# name = value`: the lower-cased name, the value, and the value's place in the source.
fn directive(line: &PhysicalLine<'_>) -> Option<(String, String, Range<usize>)> {
    let body = line.text.strip_prefix('#')?;
    let (name, value) = body.split_once('=')?;
    let name = name.trim();
    if !name.starts_with(|first: char| first.is_ascii_alphabetic())
        || !name.chars().all(|next| next.is_ascii_alphanumeric())
    {
        return None;
    }
    let trimmed = value.trim();
    if trimmed.is_empty() {
        return None;
    }
    let start =
        line.start + (line.text.len() - value.len()) + (value.len() - value.trim_start().len());
    Some((name.to_ascii_lowercase(), trimmed.to_owned(), start..start + trimmed.len()))
}

/// Appends a physical line; returns whether it is continued. An escape character continues a line
/// if only blanks follow it and it is not itself escaped.
fn append(line: &mut LogicalLine, text: &str, start: usize, escape: char) -> bool {
    let trimmed = text.trim_end_matches([' ', '\t']);
    let body = trimmed.strip_suffix(escape).filter(|body| !body.ends_with(escape));
    let kept = body.unwrap_or(text);
    line.text.push_str(kept);
    line.places.extend(start..start + kept.len());
    body.is_some()
}
