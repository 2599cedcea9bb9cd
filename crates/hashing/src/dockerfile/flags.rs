//! The `--flags` of an instruction.

use std::ops::Range;

use super::error::{DockerfileError, DockerfileErrorKind, nearest};
use super::keyword::{FlagType, Keyword};
use super::lines::LogicalLine;

/// A flag of an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    /// With dashes and value; quotes and escapes are removed.
    Plain(String),
    /// `--from=` of a `COPY`, not empty.
    From(Mention),
    /// `--mount=` of a `RUN`.
    Mount(Mount),
}

/// `--mount=` as its comma-separated fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The fields as written, without quotes; variables are not expanded.
    pub(super) fields: Vec<String>,
    /// The field, by index, that says `from=`, and what it says.
    pub(super) from: Option<(usize, Mention)>,
}

/// The name of a stage or an image, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// As written, without quotes.
    pub(super) name: String,
    /// Its bytes in the source.
    pub(super) span: Range<usize>,
    /// Quotes to put after a replacement, where quotes open or close within the span.
    pub(super) quotes: String,
}

impl Flag {
    /// The stage or image that the flag names.
    pub(super) fn mention(&self) -> Option<&Mention> {
        match self {
            Self::Plain(_) => None,
            Self::From(mention) => Some(mention),
            Self::Mount(mount) => mount.from.as_ref().map(|(_, mention)| mention),
        }
    }
}

/// A character of a flag, and where it came from.
#[derive(Clone, Copy, Debug)]
struct FlagChar {
    ch: char,
    /// Bytes in the logical line, an escape token included.
    start: usize,
    end: usize,
    /// The quote that it stands in.
    quote: Option<char>,
}

/// Splits off the flags at the beginning of `line.text[range]`; also says where the rest begins.
///
/// As in BuildKit the bytes of a flag are taken one by one, so that anything but ASCII is garbled.
fn split_flags(text: &str, range: Range<usize>, escape: char) -> (Vec<Vec<FlagChar>>, usize) {
    let byte = |at: usize| char::from(text.as_bytes()[at]);
    let mut flags = Vec::new();
    let mut at = range.start;
    loop {
        while at < range.end && byte(at).is_whitespace() {
            at += 1;
        }
        if !text.as_bytes()[at..range.end].starts_with(b"--") {
            return (flags, at);
        }
        let mut flag = Vec::new();
        let mut quote = None;
        let mut quoted = false;
        while at < range.end {
            let ch = byte(at);
            if quote.is_none() && ch.is_whitespace() {
                break;
            }
            let start = at;
            at += 1;
            if quote == Some(ch) {
                quote = None;
                continue;
            }
            if quote.is_none() && matches!(ch, '\'' | '"') {
                quote = Some(ch);
                quoted = true;
                continue;
            }
            let ch = if ch != escape {
                ch
            } else if at < range.end {
                at += 1;
                byte(at - 1)
            } else {
                break;
            };
            flag.push(FlagChar { ch, start, end: at, quote });
        }
        if text_of(&flag) == "--" {
            return (flags, at);
        }
        if quoted || !flag.is_empty() {
            flags.push(flag);
        }
    }
}

fn text_of(chars: &[FlagChar]) -> String {
    chars.iter().map(|found| found.ch).collect()
}

/// Reads the flags of an instruction from `line.text[range]`; also says where its arguments begin.
pub(super) fn parse(
    keyword: Keyword,
    line: &LogicalLine,
    range: Range<usize>,
    escape: char,
) -> Result<(Vec<Flag>, usize), DockerfileError> {
    let (found, rest) = split_flags(&line.text, range, escape);
    let mut flags = Vec::with_capacity(found.len());
    let mut seen = Vec::new();
    for chars in found {
        let text = text_of(&chars);
        let invalid = |message: String| DockerfileError::invalid(line.number, message);
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text.as_str(), None),
        };
        let short = name.strip_prefix("--").unwrap_or(name);
        let known = keyword.flags().iter().find(|(known, _)| *known == short);
        let Some((short, flag_type)) = known else {
            return Err(unknown_flag(keyword, short, line.number));
        };
        if *flag_type != FlagType::List && seen.contains(short) {
            return Err(invalid(format!("duplicate flag --{short}")));
        }
        seen.push(*short);
        match (flag_type, value) {
            (FlagType::Switch, None) => {}
            (FlagType::Switch, Some(value))
                if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") => {}
            (FlagType::Switch, Some(value)) if !value.is_empty() => {
                return Err(invalid(format!("flag --{short} is true or false, not {value:?}")));
            }
            (FlagType::Switch, Some(_)) | (_, None) => {
                return Err(invalid(format!("missing a value on flag --{short}")));
            }
            (FlagType::Value | FlagType::List, Some(_)) => {}
        }
        let value_chars = &chars[(short.len() + 3).min(chars.len())..];
        flags.push(match *short {
            "from" if !value_chars.is_empty() => Flag::From(mention(line, value_chars)),
            "mount" => Flag::Mount(mount(line, value_chars)?),
            _ => Flag::Plain(text),
        });
    }
    Ok((flags, rest))
}

fn unknown_flag(keyword: Keyword, flag: &str, line: u32) -> DockerfileError {
    let nearest = nearest(flag, keyword.flags().iter().map(|(name, _)| *name));
    let kind = DockerfileErrorKind::UnknownFlag {
        instruction: keyword.as_str(),
        flag: flag.to_owned(),
        nearest: nearest.map(|name| format!("--{name}")),
    };
    DockerfileError::new(line, kind)
}

/// `chars` is not empty.
fn mention(line: &LogicalLine, chars: &[FlagChar]) -> Mention {
    let (first, last) = (chars[0], chars[chars.len() - 1]);
    let mut quotes = String::new();
    if first.quote != last.quote {
        quotes.extend(first.quote);
        quotes.extend(last.quote);
    }
    Mention { name: text_of(chars), span: line.in_source(first.start..last.end), quotes }
}

/// Splits the fields of a mount as a line of comma-separated values (RFC 4180).
fn mount(line: &LogicalLine, chars: &[FlagChar]) -> Result<Mount, DockerfileError> {
    let invalid = |what: &str| DockerfileError::invalid(line.number, format!("{what} in --mount"));
    if chars.is_empty() {
        return Err(invalid("no fields"));
    }
    let mut mount = Mount { fields: Vec::new(), from: None };
    let mut rest = chars;
    loop {
        let mut field = Vec::new();
        let quoted = rest.first().is_some_and(|found| found.ch == '"');
        if quoted {
            rest = &rest[1..];
            loop {
                match rest {
                    [] => return Err(invalid("unterminated quotes")),
                    [one, two, ..] if one.ch == '"' && two.ch == '"' => {
                        field.push(*one);
                        rest = &rest[2..];
                    }
                    [one, after @ ..] if one.ch == '"' => {
                        rest = after;
                        break;
                    }
                    [one, after @ ..] => {
                        field.push(*one);
                        rest = after;
                    }
                }
            }
        }
        let comma = rest.iter().position(|found| found.ch == ',');
        let plain = &rest[..comma.unwrap_or(rest.len())];
        if (quoted && !plain.is_empty()) || plain.iter().any(|found| found.ch == '"') {
            return Err(invalid("stray quote"));
        }
        field.extend(plain);
        let text = text_of(&field);
        if let Some((key, _)) = text.split_once('=')
            && key.eq_ignore_ascii_case("from")
        {
            let value = &field[key.chars().count() + 1..];
            mount.from = (!value.is_empty()).then(|| (mount.fields.len(), mention(line, value)));
        }
        mount.fields.push(text);
        match comma {
            Some(comma) => rest = &rest[comma + 1..],
            None => return Ok(mount),
        }
    }
}
