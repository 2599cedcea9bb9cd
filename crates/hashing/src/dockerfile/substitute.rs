//! `$x` and `${x…}`.

use super::expand::{Lexer, Variable};
use super::pattern::Pattern;

impl<'v> Lexer<'_, 'v> {
    /// Reads `$x` or `${…}`.
    pub(super) fn dollar(&mut self) -> Result<String, String> {
        self.chars.next();
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.look_up(&name) {
                Variable::Set(value) => value.to_owned(),
                Variable::Unset if self.mode.keep_unset => format!("${name}"),
                Variable::Unset => String::new(),
                Variable::Unknown => self.unknown(),
            });
        }
        match self.chars.peek() {
            None => return Err("missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        match self.chars.next() {
            Some('}') => Ok(match self.look_up(&name) {
                Variable::Set(value) => value.to_owned(),
                Variable::Unset if self.mode.keep_unset => format!("${{{name}}}"),
                Variable::Unset => String::new(),
                Variable::Unknown => self.unknown(),
            }),
            Some(':') => {
                let modifier = self.chars.next().ok_or("missing '}'")?;
                self.conditional(&name, modifier, true)
            }
            Some(modifier @ ('+' | '-' | '?')) => self.conditional(&name, modifier, false),
            Some(modifier @ ('#' | '%')) => self.trimmed(&name, modifier),
            Some('/') => self.replaced(&name),
            Some(other) => Err(format!("unsupported modifier {other:?} in substitution")),
            None => Err("missing '}'".to_owned()),
        }
    }

    fn conditional(
        &mut self,
        name: &str,
        modifier: char,
        empty_is_unset: bool,
    ) -> Result<String, String> {
        let colon = if empty_is_unset { ":" } else { "" };
        if matches!(modifier, '#' | '%') {
            return Err(format!("unsupported modifier \":{modifier}\" in substitution"));
        }
        let known_before = self.unknown;
        let (word, _) = self.run(Some('}'), false)?;
        let word_unknown = std::mem::replace(&mut self.unknown, known_before);
        let variable = self.look_up(name);
        if self.mode.keep_unset && variable == Variable::Unset {
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let value = match variable {
            Variable::Set("") if empty_is_unset => None,
            Variable::Set(value) => Some(value),
            Variable::Unset => None,
            Variable::Unknown if matches!(modifier, '-' | '+' | '?') => return Ok(self.unknown()),
            Variable::Unknown => None,
        };
        let word_used = match (modifier, value) {
            ('-' | '?', Some(value)) => return Ok(value.to_owned()),
            ('-', None) | ('+', Some(_)) => word,
            ('+', None) => return Ok(String::new()),
            ('?', None) => {
                let state = if variable == Variable::Unset { "unset" } else { "empty" };
                let fallback = format!("is not allowed to be {state}");
                return Err(format!("{name}: {}", if word.is_empty() { fallback } else { word }));
            }
            _ => {
                return Err(format!("unsupported modifier \"{colon}{modifier}\" in substitution"));
            }
        };
        self.unknown |= word_unknown;
        Ok(word_used)
    }

    fn trimmed(&mut self, name: &str, modifier: char) -> Result<String, String> {
        let (word, _) = self.run(Some('}'), true)?;
        match self.look_up(name) {
            Variable::Unset if self.mode.keep_unset => {
                return Ok(format!("${{{name}{modifier}{word}}}"));
            }
            Variable::Unknown => return Ok(self.unknown()),
            _ => {}
        }
        let (longest, word) = match word.strip_prefix(modifier) {
            Some(rest) => (true, rest),
            None => (false, word.as_str()),
        };
        let pattern = Pattern::parse(word)?;
        let value = self.value(name);
        Ok(if modifier == '#' {
            pattern.trim_start(value, longest)
        } else {
            pattern.trim_end(value, longest)
        })
    }

    fn replaced(&mut self, name: &str) -> Result<String, String> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let (pattern, _) = self.run(Some('/'), true)?;
        let (replacement, _) = self.run(Some('}'), true)?;
        match self.look_up(name) {
            Variable::Unset if self.mode.keep_unset => {
                return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
            }
            Variable::Unknown => return Ok(self.unknown()),
            _ => {}
        }
        if all && replacement.contains('$') {
            return Err("unsupported '$' in the replacement of a substitution".to_owned());
        }
        Ok(Pattern::parse(&pattern)?.replace(self.value(name), &replacement, all))
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.chars.peek() {
            Some(ch) if ch.is_ascii_digit() => {
                while let Some(digit) = self.chars.next_if(char::is_ascii_digit) {
                    name.push(digit);
                }
                return name;
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                name.extend(self.chars.next());
                return name;
            }
            _ => {}
        }
        let in_name = |ch: &char| *ch == '_' || ch.is_ascii_digit() || ch.is_alphabetic();
        while let Some(ch) = self.chars.next_if(in_name) {
            name.push(ch);
        }
        name
    }

    fn look_up(&mut self, name: &str) -> Variable<'v> {
        self.names.insert(name.to_owned());
        (self.variables)(name)
    }

    fn value(&self, name: &str) -> &'v str {
        match (self.variables)(name) {
            Variable::Set(value) => value,
            Variable::Unset | Variable::Unknown => "",
        }
    }

    fn unknown(&mut self) -> String {
        self.unknown = true;
        String::new()
    }
}
