//! Variables, quotes and escapes in the words of an instruction.
//!
//! The language is the one that BuildKit documents for environment replacement: `$x`, `${x}`,
//! `${x:-w}`, `${x-w}`, `${x:+w}`, `${x+w}`, `${x:?w}`, `${x?w}`, `${x#p}`, `${x##p}`, `${x%p}`,
//! `${x%%p}`, `${x/p/r}`, `${x//p/r}`. Any other modifier is an error.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// What is known of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable<'a> {
    Set(&'a str),
    Unset,
    /// Depends on the environment of the base image.
    Unknown,
}

/// A word after expansion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expansion {
    /// `None` where the value depends on a variable that is not known.
    pub(super) value: Option<String>,
    /// The words that the value falls into; as little known as the value.
    pub(super) words: Vec<String>,
    /// Every variable that the word names, even where its value is not used.
    pub(super) names: BTreeSet<String>,
}

/// Expands a word. An error is a lowercase fragment.
pub(super) fn expand<'v>(
    word: &str,
    escape: char,
    variables: &'v dyn Fn(&str) -> Variable<'v>,
) -> Result<Expansion, String> {
    expand_as(word, escape, Mode::EXPAND, variables)
}

/// Expands the body of a heredoc: quotes are like any other character, and `\` is the escape token
/// whatever the file says. An error is a lowercase fragment.
pub(super) fn expand_body<'v>(
    body: &str,
    variables: &'v dyn Fn(&str) -> Variable<'v>,
) -> Result<Expansion, String> {
    expand_as(body, '\\', Mode { plain_quotes: true, ..Mode::EXPAND }, variables)
}

fn expand_as<'v>(
    text: &str,
    escape: char,
    mode: Mode,
    variables: &'v dyn Fn(&str) -> Variable<'v>,
) -> Result<Expansion, String> {
    let mut lexer = Lexer::new(text, escape, mode, variables);
    let (value, words) = lexer.run(None, false)?;
    Ok(Expansion { value: (!lexer.unknown).then_some(value), words, names: lexer.names })
}

/// Splits a line into words; variables stay as they are written.
pub(super) fn split_words(line: &str, mode: Mode) -> Result<Vec<String>, String> {
    let mut lexer = Lexer::new(line, '\\', mode, &|_| Variable::Unset);
    lexer.run(None, mode.raw_escapes).map(|(_, words)| words)
}

/// What stays as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    pub(super) raw_quotes: bool,
    pub(super) raw_escapes: bool,
    /// A variable that is not set stays `$x` instead of vanishing.
    pub(super) keep_unset: bool,
    /// Quotes have no meaning.
    pub(super) plain_quotes: bool,
}

impl Mode {
    const EXPAND: Self =
        Self { raw_quotes: false, raw_escapes: false, keep_unset: false, plain_quotes: false };
}

/// How deep `${x:-${y:-…}}` may nest: far more than anybody writes, far less than the stack holds.
const MAX_DEPTH: usize = 64;

/// Reads a text once, from the left.
pub(super) struct Lexer<'a, 'v> {
    pub(super) chars: Peekable<Chars<'a>>,
    escape: char,
    pub(super) mode: Mode,
    raw_escapes: bool,
    pub(super) variables: &'v dyn Fn(&str) -> Variable<'v>,
    /// The unfinished word. Nested substitutions share it and empty it, as BuildKit's do.
    word: String,
    depth: usize,
    pub(super) names: BTreeSet<String>,
    /// Whether the text so far depends on a variable that is not known.
    pub(super) unknown: bool,
}

/// Words as they are found on one level of nesting.
#[derive(Default)]
struct Words {
    words: Vec<String>,
    in_word: bool,
}

impl Words {
    fn end(&mut self, word: &mut String) {
        if !word.is_empty() {
            self.words.push(std::mem::take(word));
            self.in_word = false;
        }
    }

    /// Takes a character that ends the word if it is white space.
    fn splitting(&mut self, word: &mut String, ch: char) {
        if !ch.is_whitespace() {
            self.verbatim(word, ch);
        } else if self.in_word {
            self.end(word);
        }
    }

    fn verbatim(&mut self, word: &mut String, ch: char) {
        word.push(ch);
        self.in_word = true;
    }
}

impl<'a, 'v> Lexer<'a, 'v> {
    fn new(
        text: &'a str,
        escape: char,
        mode: Mode,
        variables: &'v dyn Fn(&str) -> Variable<'v>,
    ) -> Self {
        let chars = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
        Self {
            chars,
            escape,
            mode,
            raw_escapes: mode.raw_escapes,
            variables,
            word: String::new(),
            depth: 0,
            names: BTreeSet::new(),
            unknown: false,
        }
    }

    /// Reads up to `stop`, or to the end: the text, and its words.
    pub(super) fn run(
        &mut self,
        stop: Option<char>,
        raw: bool,
    ) -> Result<(String, Vec<String>), String> {
        if self.depth == MAX_DEPTH {
            return Err(format!("substitutions nest deeper than {MAX_DEPTH}"));
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.raw_escapes, raw);
        let found = self.run_level(stop);
        self.raw_escapes = outer;
        self.depth -= 1;
        found
    }

    fn run_level(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), String> {
        let mut text = String::new();
        let mut words = Words::default();
        self.word.clear();
        while let Some(&ch) = self.chars.peek() {
            if stop == Some(ch) {
                self.chars.next();
                words.end(&mut self.word);
                return Ok((text, words.words));
            }
            match ch {
                '$' => {
                    let value = self.dollar()?;
                    for ch in value.chars() {
                        words.splitting(&mut self.word, ch);
                    }
                    text.push_str(&value);
                }
                '\'' | '"' | '<' if ch == '<' || !self.mode.plain_quotes => {
                    let piece = match ch {
                        '\'' => self.single_quoted()?,
                        '"' => self.double_quoted()?,
                        _ => self.angle(),
                    };
                    self.word.push_str(&piece);
                    words.in_word = true;
                    text.push_str(&piece);
                }
                _ => {
                    self.chars.next();
                    if ch != self.escape {
                        words.splitting(&mut self.word, ch);
                        text.push(ch);
                        continue;
                    }
                    if self.raw_escapes {
                        words.verbatim(&mut self.word, ch);
                        text.push(ch);
                    }
                    let Some(escaped) = self.chars.next() else {
                        break;
                    };
                    words.verbatim(&mut self.word, escaped);
                    text.push(escaped);
                }
            }
        }
        match stop {
            Some(stop) => Err(format!("missing {stop:?}")),
            None => {
                words.end(&mut self.word);
                Ok((text, words.words))
            }
        }
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        self.chars.next();
        let mut text = String::new();
        loop {
            match self.chars.next() {
                None => return Err("missing closing single quote".to_owned()),
                Some('\'') => return Ok(self.quoted('\'', text)),
                Some(ch) => text.push(ch),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, String> {
        self.chars.next();
        let mut text = String::new();
        loop {
            match self.chars.peek().copied() {
                None => return Err("missing closing double quote".to_owned()),
                Some('"') => {
                    self.chars.next();
                    return Ok(self.quoted('"', text));
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(ch) => {
                    self.chars.next();
                    let escaped = self.chars.peek().copied();
                    if ch != self.escape {
                        text.push(ch);
                        continue;
                    }
                    if self.raw_escapes {
                        text.push(ch);
                    }
                    match escaped {
                        None => {}
                        Some(escaped) if escaped == '"' || escaped == '$' || escaped == ch => {
                            self.chars.next();
                            text.push(escaped);
                        }
                        Some(_) => text.push(ch),
                    }
                }
            }
        }
    }

    fn quoted(&self, quote: char, text: String) -> String {
        if self.mode.raw_quotes { format!("{quote}{text}{quote}") } else { text }
    }

    /// `<`, or `<<` with the blanks after it, so that `<< EOF` is one word.
    fn angle(&mut self) -> String {
        self.chars.next();
        let mut text = String::from("<");
        if self.chars.next_if_eq(&'<').is_some() {
            text.push('<');
            while let Some(blank) = self.chars.next_if(|ch| matches!(ch, '\t' | '\r' | ' ')) {
                text.push(blank);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Variable<'static> {
        match name {
            "x" => Variable::Set("one"),
            "path" => Variable::Set("a/b/c.tar.gz"),
            "empty" => Variable::Set(""),
            "base" => Variable::Unknown,
            _ => Variable::Unset,
        }
    }

    #[test]
    fn words_expand_as_buildkit_expands_them() {
        let table = [
            ("plain", "plain"),
            ("$x", "one"),
            ("${x}", "one"),
            ("$xy", ""),
            ("${x}y", "oney"),
            ("$x-$x", "one-one"),
            ("$", "$"),
            ("a$ b", "a$ b"),
            ("$1", ""),
            ("\\$x", "$x"),
            ("a\\b", "ab"),
            ("'$x'", "$x"),
            ("\"$x\"", "one"),
            ("\"\\$x\\a\\\"\"", "$x\\a\""),
            ("'a\\'b", "a\\b"),
            ("${x:-w}", "one"),
            ("${empty:-w}", "w"),
            ("${empty-w}", ""),
            ("${no-w}", "w"),
            ("${no:-$x}", "one"),
            ("${no:-${no:-deep}}", "deep"),
            ("${no:-a b}", "a b"),
            ("${x:+w}", "w"),
            ("${empty:+w}", ""),
            ("${empty+w}", "w"),
            ("${no+w}", ""),
            ("${x:?w}", "one"),
            ("${empty?w}", ""),
            ("${path#*/}", "b/c.tar.gz"),
            ("${path##*/}", "c.tar.gz"),
            ("${path%.*}", "a/b/c.tar"),
            ("${path%%.*}", "a/b/c"),
            ("${path/b/x}", "a/x/c.tar.gz"),
            ("${path/\\//-}", "a-b/c.tar.gz"),
            ("${path//\\//-}", "a-b-c.tar.gz"),
            ("${no#a}", ""),
            ("a<b", "a<b"),
            ("trailing\\", "trailing"),
        ];
        for (word, expected) in table {
            let expansion = expand(word, '\\', &variables).unwrap();
            assert_eq!(expansion.value.as_deref(), Some(expected), "{word}");
        }
        let backtick = expand("c:\\dir`$x", '`', &variables).unwrap();
        assert_eq!(backtick.value.as_deref(), Some("c:\\dir$x"));
    }

    #[test]
    fn what_buildkit_refuses_is_an_error() {
        for word in [
            "${x",
            "${",
            "${}",
            "${:x}",
            "${{x}}",
            "${x:",
            "${x:=w}",
            "${x=w}",
            "${x^}",
            "${x:#w}",
            "${x:/a/b}",
            "${x/a}",
            "${x:-w",
            "${no:?}",
            "${empty:?needed}",
            "${no?}",
            "'x",
            "\"x",
            "${x#\\a}",
            "${ x}",
        ] {
            assert!(expand(word, '\\', &variables).is_err(), "{word}");
        }
        let message = expand("${no:?give one}", '\\', &variables).unwrap_err();
        assert_eq!(message, "no: give one");
    }

    #[test]
    fn an_unknown_variable_makes_the_value_unknown_only_where_it_is_used() {
        for (word, known) in [
            ("$base", false),
            ("${base:-w}", false),
            ("${base%x}", false),
            ("${x:-$base}", true),
            ("${no:+$base}", true),
            ("${no:-$base}", false),
            ("'$base'", true),
        ] {
            let expansion = expand(word, '\\', &variables).unwrap();
            assert_eq!(expansion.value.is_some(), known, "{word}");
        }
    }

    #[test]
    fn values_fall_into_words_outside_quotes() {
        let list = |name: &str| match name {
            "ports" => Variable::Set("80  443"),
            other => variables(other),
        };
        for (word, expected) in [
            ("$ports", &["80", "443"][..]),
            ("$ports/udp", &["80", "443/udp"]),
            ("\"$ports\"", &["80  443"]),
            ("a$x", &["aone"]),
            ("$no", &[]),
        ] {
            assert_eq!(expand(word, '\\', &list).unwrap().words, expected, "{word}");
        }
    }

    #[test]
    fn quotes_in_a_body_are_nothing_special() {
        for (body, expected) in [
            ("it's \"$x\"\n", "it's \"one\"\n"),
            ("\\$x ${no:-'w'}\n", "$x 'w'\n"),
            ("a\\b `$x`", "ab `one`"),
            ("<<$x", "<<one"),
        ] {
            let expansion = expand_body(body, &variables).unwrap();
            assert_eq!(expansion.value.as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_not_a_crash() {
        let word = "${no:-".repeat(20_000);
        assert!(expand(&word, '\\', &variables).is_err());
    }
}
