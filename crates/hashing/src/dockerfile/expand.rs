//! Variable expansion, as BuildKit's shell lexer does it.
//!
//! `$name`, `${name}`, `${name:-word}`, `${name-word}`, `${name:+word}`, `${name+word}`,
//! `${name:?word}`, `${name?word}`, `${name#pattern}`, `${name##pattern}`, `${name%pattern}`,
//! `${name%%pattern}`, `${name/pattern/word}`, `${name//pattern/word}`; words may hold variables.
//! Single quotes keep text as it is; an escape character keeps the next one.

use std::iter::Peekable;
use std::str::Chars;

/// Expands a word. `lookup` gives a variable's value; one that has none is empty.
pub(super) fn expand(
    word: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut expander = Expander { characters: word.chars().peekable(), escape, lookup };
    expander.until(None)
}

/// Names of the variables that an expansion would look at.
pub(super) fn variables(word: &str, escape: char) -> Vec<String> {
    let names = std::cell::RefCell::new(Vec::new());
    let note = |name: &str| {
        names.borrow_mut().push(name.to_owned());
        None
    };
    // Whatever is wrong with the word is reported where it is expanded for good.
    let _ = expand(word, escape, &note);
    names.into_inner()
}

struct Expander<'a> {
    characters: Peekable<Chars<'a>>,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Expander<'_> {
    /// Expands up to an unquoted `end`, or to the end of the word.
    fn until(&mut self, end: Option<char>) -> Result<String, String> {
        let mut text = String::new();
        loop {
            let Some(character) = self.characters.next() else {
                return match end {
                    Some(end) => Err(format!("bad substitution: {end:?} is missing")),
                    None => Ok(text),
                };
            };
            match character {
                _ if Some(character) == end => return Ok(text),
                '\'' => self.single_quoted(&mut text)?,
                '"' => self.double_quoted(&mut text)?,
                '$' => text.push_str(&self.variable()?),
                _ if character == self.escape => match self.characters.next() {
                    Some(next) => text.push(next),
                    // A lone escape character at the end stands for itself.
                    None => text.push(character),
                },
                other => text.push(other),
            }
        }
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), String> {
        for character in self.characters.by_ref() {
            if character == '\'' {
                return Ok(());
            }
            text.push(character);
        }
        Err("unexpected end of a word: a single quote is not closed".to_owned())
    }

    fn double_quoted(&mut self, text: &mut String) -> Result<(), String> {
        while let Some(character) = self.characters.next() {
            match character {
                '"' => return Ok(()),
                '$' => text.push_str(&self.variable()?),
                _ if character == self.escape => match self.characters.next() {
                    // Within double quotes only these can be escaped.
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        text.push(next);
                    }
                    Some(next) => {
                        text.push(character);
                        text.push(next);
                    }
                    None => text.push(character),
                },
                other => text.push(other),
            }
        }
        Err("unexpected end of a word: a double quote is not closed".to_owned())
    }

    /// After a `$`.
    fn variable(&mut self) -> Result<String, String> {
        if self.characters.next_if_eq(&'{').is_none() {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok((self.lookup)(&name).unwrap_or_default());
        }
        let name = self.name();
        if name.is_empty() {
            return Err("bad substitution: ${} without a name".to_owned());
        }
        let value = (self.lookup)(&name);
        let modifier = self.characters.next();
        match modifier {
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => {
                let modifier = self.characters.next();
                let word = self.until(Some('}'))?;
                let value = value.filter(|value| !value.is_empty());
                default(&name, value, modifier, word)
            }
            Some('-' | '+' | '?') => {
                let word = self.until(Some('}'))?;
                default(&name, value, modifier, word)
            }
            Some(side @ ('#' | '%')) => {
                let longest = self.characters.next_if_eq(&side).is_some();
                let pattern = Glob::new(&self.until(Some('}'))?);
                let value: Vec<char> = value.unwrap_or_default().chars().collect();
                Ok(pattern.trim(&value, side == '#', longest))
            }
            Some('/') => {
                let all = self.characters.next_if_eq(&'/').is_some();
                let pattern = Glob::new(&self.until(Some('/'))?);
                let word = self.until(Some('}'))?;
                let value: Vec<char> = value.unwrap_or_default().chars().collect();
                Ok(pattern.replace(&value, &word, all))
            }
            Some(other) => {
                Err(format!("bad substitution: unsupported modifier {other:?} of ${name}"))
            }
            None => Err(format!("bad substitution: ${{{name} is not closed")),
        }
    }

    /// A name, or one digit, or one special parameter.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if let Some(single) =
            self.characters.next_if(|next| next.is_ascii_digit() || "@*#?-!".contains(*next))
        {
            name.push(single);
            return name;
        }
        while let Some(next) =
            self.characters.next_if(|next| next.is_ascii_alphanumeric() || *next == '_')
        {
            name.push(next);
        }
        name
    }
}

fn default(
    name: &str,
    value: Option<String>,
    modifier: Option<char>,
    word: String,
) -> Result<String, String> {
    match (modifier, value) {
        (Some('-'), value) => Ok(value.unwrap_or(word)),
        (Some('+'), Some(_)) => Ok(word),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), Some(value)) => Ok(value),
        (Some('?'), None) if word.is_empty() => Err(format!("{name}: is not allowed to be unset")),
        (Some('?'), None) => Err(format!("{name}: {word}")),
        (other, _) => Err(format!("bad substitution: unsupported modifier {other:?} of ${name}")),
    }
}

/// A shell pattern with `*` and `?`.
struct Glob(Vec<Piece>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Literal(char),
    One,
    Run,
}

impl Glob {
    fn new(pattern: &str) -> Self {
        let mut pieces = Vec::new();
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            pieces.push(match character {
                '*' => Piece::Run,
                '?' => Piece::One,
                '\\' => Piece::Literal(characters.next().unwrap_or('\\')),
                other => Piece::Literal(other),
            });
        }
        Self(pieces)
    }

    fn matches(pieces: &[Piece], text: &[char]) -> bool {
        match (pieces.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Piece::Run, rest)), _) => {
                (0..=text.len()).any(|taken| Self::matches(rest, &text[taken..]))
            }
            (Some((Piece::One, pieces)), Some((_, text))) => Self::matches(pieces, text),
            (Some((Piece::Literal(wanted), pieces)), Some((found, text))) => {
                wanted == found && Self::matches(pieces, text)
            }
            (Some(_), None) => false,
        }
    }

    fn trim(&self, value: &[char], front: bool, longest: bool) -> String {
        let length = value.len();
        let mut lengths: Vec<usize> = (0..=length).collect();
        if longest {
            lengths.reverse();
        }
        for taken in lengths {
            let (part, rest) = if front {
                (&value[..taken], &value[taken..])
            } else {
                (&value[length - taken..], &value[..length - taken])
            };
            if Self::matches(&self.0, part) {
                return rest.iter().collect();
            }
        }
        value.iter().collect()
    }

    fn replace(&self, value: &[char], word: &str, all: bool) -> String {
        let mut text = String::new();
        let mut at = 0;
        while at < value.len() {
            let longest =
                (at + 1..=value.len()).rev().find(|end| Self::matches(&self.0, &value[at..*end]));
            match longest {
                Some(end) => {
                    text.push_str(word);
                    at = end;
                    if !all {
                        break;
                    }
                }
                None => {
                    text.push(value[at]);
                    at += 1;
                }
            }
        }
        text.extend(&value[at..]);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "set" => Some("a.b.c".to_owned()),
            "empty" => Some(String::new()),
            "path" => Some("usr/local/bin".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn words_are_expanded_as_the_shell_lexer_does() {
        for (word, expanded) in [
            ("plain", "plain"),
            ("$set/x", "a.b.c/x"),
            ("${set}x", "a.b.cx"),
            ("$unset-", "-"),
            ("${unset:-word}", "word"),
            ("${empty:-word}", "word"),
            ("${empty-word}", ""),
            ("${unset-word}", "word"),
            ("${set:+word}", "word"),
            ("${empty:+word}", ""),
            ("${empty+word}", "word"),
            ("${set:?gone}", "a.b.c"),
            ("${unset:-${set}}", "a.b.c"),
            ("${set#*.}", "b.c"),
            ("${set##*.}", "c"),
            ("${set%.*}", "a.b"),
            ("${set%%.*}", "a"),
            ("${set/./-}", "a-b.c"),
            ("${set//./-}", "a-b-c"),
            ("${path//\\//_}", "usr_local_bin"),
            ("'$set'", "$set"),
            ("\"$set\"", "a.b.c"),
            ("\\$set", "$set"),
            ("\"\\$set\"", "$set"),
            ("\"a\\b\"", "a\\b"),
            ("a$", "a$"),
        ] {
            assert_eq!(expand(word, '\\', &lookup).as_deref(), Ok(expanded), "{word}");
        }
        assert_eq!(expand("`$set", '`', &lookup).as_deref(), Ok("$set"));
    }

    #[test]
    fn what_cannot_be_expanded_is_an_error() {
        for word in ["${set", "${}", "${unset:?must be set}", "${set:=x}", "${set^^}", "'a", "\"a"]
        {
            assert!(expand(word, '\\', &lookup).is_err(), "{word}");
        }
        assert!(expand("${u:?must be set}", '\\', &lookup).unwrap_err().contains("must be set"));
    }

    #[test]
    fn variables_are_listed() {
        assert_eq!(variables("$a-${b:-$c}'$d'", '\\'), ["a", "b", "c"]);
    }
}
