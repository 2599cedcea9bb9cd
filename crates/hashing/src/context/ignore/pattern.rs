//! One pattern: how it is compiled, and which paths it matches.

use super::error::Problem;
use super::glob::{Glob, Step};

/// A pattern of an ignore file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// Whether it brings paths back (`!`).
    pub(super) exception: bool,
    form: Form,
}

/// BuildKit compares text where it can, and that gives other verdicts than its regular expression
/// would: a prefix and a suffix know no components.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// No wildcard.
    Exact(Box<[u8]>),
    /// `text**`
    Prefix(Box<[u8]>),
    /// `**text`; of `**/text` the slash belongs to the text.
    Suffix(Box<[u8]>),
    Glob(Glob),
}

/// Whose verdict is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Current,
    /// Docker 20.10, which knew no [`Form::Suffix`].
    Docker20,
}

impl Pattern {
    /// Compiles a cleaned pattern.
    pub(super) fn compile(cleaned: &[u8]) -> Result<Self, Problem> {
        let (exception, text) = match cleaned {
            b"!" => return Err(Problem::invalid("nothing follows the exclamation mark")),
            [b'!', rest @ ..] => (true, rest),
            _ => (false, cleaned),
        };
        if text.starts_with("\u{feff}".as_bytes()) {
            return Err(Problem::unsupported("it starts with a byte order mark"));
        }
        let form = if !has_wildcard(text) {
            Form::Exact(text.into())
        } else if let Some(rest) = text.strip_prefix(b"**").filter(|rest| !has_wildcard(rest)) {
            Form::Suffix(rest.into())
        } else if let Some(rest) = text.strip_suffix(b"**").filter(|rest| !has_wildcard(rest)) {
            Form::Prefix(rest.into())
        } else {
            Form::Glob(Glob::new(compile(text)?))
        };
        Ok(Self { exception, form })
    }

    pub(super) fn matches(&self, path: &[u8], engine: Engine) -> bool {
        match &self.form {
            Form::Exact(text) => path == &**text,
            Form::Prefix(text) => path.starts_with(text),
            Form::Suffix(text) => {
                let Some(before) = path.strip_suffix(&**text) else {
                    return text.strip_prefix(b"/") == Some(path);
                };
                let whole_name = before.is_empty() || before.ends_with(b"/");
                whole_name || engine == Engine::Current || !self.is_ambiguous()
            }
            Form::Glob(glob) => glob.matches(path),
        }
    }

    /// Whether the two engines give different verdicts on some path.
    pub(super) fn is_ambiguous(&self) -> bool {
        matches!(&self.form, Form::Suffix(text) if !text.is_empty() && !text.starts_with(b"/"))
    }

    /// Whether a path that starts with `below`, which ends in a slash, may match.
    pub(super) fn may_match_below(&self, below: &[u8]) -> bool {
        let literal = match &self.form {
            Form::Exact(text) => return text.starts_with(below),
            Form::Prefix(text) => text,
            Form::Suffix(_) => return true,
            Form::Glob(glob) => glob.literal_prefix(),
        };
        literal.starts_with(below) || below.starts_with(literal)
    }
}

fn has_wildcard(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\'))
}

fn compile(text: &[u8]) -> Result<Vec<Step>, Problem> {
    let text = std::str::from_utf8(text)
        .map_err(|_| Problem::unsupported("it has wildcards and bytes that are not UTF-8"))?;
    if text.contains(['\0', '\u{fffd}']) {
        return Err(Problem::unsupported("it has wildcards and NUL or U+FFFD"));
    }
    Compiler { rest: text, after_star: false }.steps()
}

struct Compiler<'a> {
    rest: &'a str,
    /// BuildKit checks the syntax by a trial match, which may end at a star.
    after_star: bool,
}

impl Compiler<'_> {
    fn steps(mut self) -> Result<Vec<Step>, Problem> {
        let mut steps = Vec::new();
        while let Some(character) = self.next() {
            let step = match character {
                '*' => self.stars(),
                '?' => Step::NoSlash,
                '[' => self.class()?,
                '\\' => Step::One(self.escaped()?),
                '^' => return Err(Problem::unsupported("a caret outside of brackets")),
                '|' => return Err(Problem::unsupported("a vertical bar outside of brackets")),
                '{' if self.rest.starts_with(|next: char| next.is_ascii_digit()) => {
                    return Err(Problem::unsupported("a digit behind an opening brace"));
                }
                literal => Step::One(literal),
            };
            steps.push(step);
        }
        Ok(steps)
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn take(&mut self, prefix: char) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn stars(&mut self) -> Step {
        self.after_star = true;
        if !self.take('*') {
            return Step::ManyNoSlash;
        }
        self.take('/');
        if self.rest.is_empty() { Step::Rest } else { Step::Directories }
    }

    fn escaped(&mut self) -> Result<char, Problem> {
        match self.next() {
            None => Err(self.syntax("it ends in a backslash")),
            Some(character) if !character.is_ascii() || character.is_ascii_alphanumeric() => {
                Err(Problem::unsupported("a backslash before a letter or digit"))
            }
            Some(character) => Ok(character),
        }
    }

    fn class(&mut self) -> Result<Step, Problem> {
        let negated = self.take('^');
        let mut ranges = Vec::new();
        loop {
            if !ranges.is_empty() && self.take(']') {
                return Ok(Step::Class { negated, ranges });
            }
            let first = self.class_character()?;
            let last = if self.take('-') { self.class_character()? } else { first };
            if last < first {
                return Err(Problem::unsupported("a range backwards in brackets"));
            }
            ranges.push(first..=last);
        }
    }

    fn class_character(&mut self) -> Result<char, Problem> {
        match self.next() {
            None => Err(self.syntax("a bracket is not closed")),
            Some('\\') => self.escaped(),
            Some(']') => Err(self.syntax("nothing stands before the closing bracket")),
            Some('-') => Err(self.syntax("a hyphen in brackets that makes no range")),
            Some('*' | '?') => Err(Problem::unsupported("a wildcard in brackets")),
            Some('[') if self.rest.starts_with(':') => {
                Err(Problem::unsupported("a named class in brackets"))
            }
            Some(character) => Ok(character),
        }
    }

    fn syntax(&self, reason: &'static str) -> Problem {
        if self.after_star { Problem::unsupported(reason) } else { Problem::invalid(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::IgnoreErrorKind::{self, Invalid, Unsupported};
    use super::*;

    #[test]
    fn patterns_that_cannot_be_used_say_whose_fault_it_is() {
        let table: [(&[u8], IgnoreErrorKind); 28] = [
            (b"!", Invalid),
            (b"[", Invalid),
            (b"a[", Invalid),
            (b"[]", Invalid),
            (b"[]a]", Invalid),
            (b"[^]a]", Invalid),
            (b"a\\", Invalid),
            (b"[-a]", Invalid),
            (b"[a-]", Invalid),
            (b"[a-b-c]", Invalid),
            (b"*[-a]", Unsupported),
            (b"a*\\", Unsupported),
            (b"*a[", Unsupported),
            (b"^*", Unsupported),
            (b"!a^?", Unsupported),
            (b"a|*", Unsupported),
            (b"*{2}", Unsupported),
            (b"?{2,}", Unsupported),
            (b"\\d", Unsupported),
            (b"[\\d]", Unsupported),
            (b"\\\xc3\xa9", Unsupported),
            (b"[*]", Unsupported),
            (b"[a?]", Unsupported),
            (b"[[:alpha:]]", Unsupported),
            (b"[b-a]", Unsupported),
            (b"*\xff", Unsupported),
            ("*\u{fffd}".as_bytes(), Unsupported),
            (b"\xef\xbb\xbfa", Unsupported),
        ];
        for (pattern, kind) in table {
            let problem = Pattern::compile(pattern).map(|_| ()).expect_err("no pattern");
            assert_eq!(problem.kind, kind, "{}", pattern.escape_ascii());
        }
    }

    #[test]
    fn without_wildcards_every_byte_is_literal() {
        for text in [&b"^a"[..], b"{a,b}", b"a\xff", b"a+(b)|c$", b"a\0"] {
            let pattern = Pattern::compile(text).expect("a pattern");
            assert!(pattern.matches(text, Engine::Current), "{}", text.escape_ascii());
        }
    }
}
