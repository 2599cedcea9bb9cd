//! One pattern of an ignore file.
//!
//! A pattern without a metacharacter matches one path exactly. `*` is any run without `/`, `?` one
//! character that is not `/`, `**/` any number of directories, a trailing `**` everything below, and
//! `[…]` a class. What patternmatcher's detour over a regular expression makes of other characters
//! differs from what their authors meant, or between versions; such patterns are refused.

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) negated: bool,
    text: String,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// The path itself.
    Exact,
    /// `prefix**`: everything that begins so.
    Prefix(String),
    /// Anything else.
    Tokens(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Run,
    /// `**/`: nothing, or anything that ends with `/`
    Directories,
    /// `**` at the end
    Everything,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Compiles a cleaned pattern; the error says what is wrong with it.
    pub(super) fn compile(text: &str, negated: bool) -> Result<Self, String> {
        let tokens = tokens(text, negated)?;
        let literal = |token: &Token| match token {
            Token::Literal(character) => Some(*character),
            _ => None,
        };
        let matcher = if let Some(exact) = tokens.iter().map(literal).collect::<Option<String>>() {
            // An escaped character makes a pattern that is compared after unescaping.
            if exact == text { Matcher::Exact } else { Matcher::Tokens(tokens) }
        } else if let Some((Token::Everything, rest)) = tokens.split_last()
            && let Some(prefix) = rest.iter().map(literal).collect::<Option<String>>()
        {
            Matcher::Prefix(prefix)
        } else {
            let special = |token: &Token| match token {
                Token::Literal(character) => "+()|".contains(*character),
                _ => false,
            };
            if tokens.iter().any(special) {
                return Err(unsupported(text, "`+`, `|` or a parenthesis beside a wildcard"));
            }
            Matcher::Tokens(tokens)
        };
        Ok(Self { negated, text: text.to_owned(), matcher })
    }

    /// Whether the pattern matches this very path.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match &self.matcher {
            Matcher::Exact => path == self.text.as_bytes(),
            Matcher::Prefix(prefix) => path.starts_with(prefix.as_bytes()),
            // Go turns bytes that are no UTF-8 into U+FFFD, one for each byte.
            Matcher::Tokens(tokens) => matches(tokens, &characters(path)),
        }
    }

    /// Whether the pattern could match something below a directory.
    pub(super) fn may_match_below(&self, directory: &[u8]) -> bool {
        if !matches!(self.matcher, Matcher::Exact) {
            return true;
        }
        let text = self.text.as_bytes();
        text.len() > directory.len() && text.starts_with(directory) && text[directory.len()] == b'/'
    }
}

fn characters(bytes: &[u8]) -> Vec<char> {
    let mut characters = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        characters.extend(chunk.valid().chars());
        characters.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    characters
}

fn tokens(text: &str, negated: bool) -> Result<Vec<Token>, String> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let rest = &characters[at..];
        match rest {
            ['*', '*', '/', ..] => {
                tokens.push(Token::Directories);
                at += 3;
            }
            ['*', '*'] => {
                tokens.push(Token::Everything);
                at += 2;
            }
            // `**foo` once meant "foo in any directory" and now means "anything that ends so".
            // Whichever keeps more files in the context is right for every engine.
            ['*', '*', ..] => {
                tokens.push(if negated && at == 0 {
                    Token::Everything
                } else {
                    Token::Directories
                });
                at += 2;
            }
            ['*', ..] => {
                tokens.push(Token::Run);
                at += 1;
            }
            ['?', ..] => {
                tokens.push(Token::One);
                at += 1;
            }
            ['[', ..] => at += class(text, rest, &mut tokens)?,
            ['\\'] => return Err(format!("syntax error in pattern {text:?}: trailing `\\`")),
            ['\\', escaped, ..] => {
                if escaped.is_ascii_alphanumeric() {
                    return Err(unsupported(text, "an escaped letter or digit"));
                }
                tokens.push(Token::Literal(*escaped));
                at += 2;
            }
            ['^', ..] => return Err(unsupported(text, "`^` outside of a class")),
            [character, ..] => {
                tokens.push(Token::Literal(*character));
                at += 1;
            }
            [] => break,
        }
    }
    Ok(tokens)
}

/// Reads a class at the start of `rest`; returns how many characters it has.
fn class(text: &str, rest: &[char], tokens: &mut Vec<Token>) -> Result<usize, String> {
    let syntax = || format!("syntax error in pattern {text:?}: unfinished or empty class");
    let mut at = 1;
    let negated = rest.get(at) == Some(&'^');
    if negated {
        at += 1;
    }
    let mut ranges = Vec::new();
    loop {
        let low = *rest.get(at).ok_or_else(syntax)?;
        if low == ']' && !ranges.is_empty() {
            break;
        }
        if matches!(low, '*' | '?' | '\\' | '[' | ']' | '-' | '!' | '&' | '~') {
            return Err(unsupported(text, "a special character inside of a class"));
        }
        at += 1;
        let high = if rest.get(at) == Some(&'-') {
            let high = *rest.get(at + 1).ok_or_else(syntax)?;
            if !high.is_alphanumeric() {
                return Err(unsupported(text, "a special character inside of a class"));
            }
            at += 2;
            high
        } else {
            low
        };
        if high < low {
            return Err(unsupported(text, "a class with a reversed range"));
        }
        ranges.push((low, high));
    }
    tokens.push(Token::Class { negated, ranges });
    Ok(at + 1)
}

fn unsupported(text: &str, what: &str) -> String {
    format!("pattern {text:?} has {what}, which engines understand differently")
}

/// Matches from token `at` and character `from` on. `failed` remembers what was tried, so that the
/// work is bounded by tokens times characters.
struct Search<'a> {
    tokens: &'a [Token],
    path: &'a [char],
    failed: Vec<bool>,
}

impl Search<'_> {
    fn run(&mut self, at: usize, from: usize) -> bool {
        let Some(token) = self.tokens.get(at) else {
            return from == self.path.len();
        };
        let slot = at * (self.path.len() + 1) + from;
        if self.failed[slot] {
            return false;
        }
        let next = self.path.get(from).copied();
        let found = match token {
            Token::Literal(wanted) => next == Some(*wanted) && self.run(at + 1, from + 1),
            Token::One => next.is_some_and(|next| next != '/') && self.run(at + 1, from + 1),
            Token::Class { negated, ranges } => {
                next.is_some_and(|next| {
                    ranges.iter().any(|(low, high)| (*low..=*high).contains(&next)) != *negated
                }) && self.run(at + 1, from + 1)
            }
            Token::Run => self.after_any(at + 1, from, '/'),
            Token::Everything => self.after_any(at + 1, from, '\n'),
            Token::Directories => self.run(at + 1, from) || self.after_a_slash(at + 1, from),
        };
        self.failed[slot] = !found;
        found
    }

    /// Tries the rest of the pattern after any run of characters that are not `barrier`.
    fn after_any(&mut self, at: usize, from: usize, barrier: char) -> bool {
        for index in from..=self.path.len() {
            if self.run(at, index) {
                return true;
            }
            if self.path.get(index) == Some(&barrier) {
                return false;
            }
        }
        false
    }

    /// Tries the rest of the pattern after each `/` from here on; no line feed may lie before it.
    fn after_a_slash(&mut self, at: usize, from: usize) -> bool {
        for index in from..self.path.len() {
            let character = self.path[index];
            if character == '\n' {
                return false;
            }
            if character == '/' && self.run(at, index + 1) {
                return true;
            }
        }
        false
    }
}

fn matches(tokens: &[Token], path: &[char]) -> bool {
    let failed = vec![false; (tokens.len() + 1) * (path.len() + 1)];
    Search { tokens, path, failed }.run(0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> Result<Pattern, String> {
        Pattern::compile(text, false)
    }

    #[test]
    fn verdicts_are_those_of_patternmatcher() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("x.log", &["x.log"], &["src/x.log", "X.log", "x.log2", "x"]),
            ("*.log", &["x.log", ".log"], &["src/x.log", "x.LOG"]),
            ("**/x.log", &["x.log", "a/x.log", "a/b/x.log"], &["ax.log", "a/x.log/b"]),
            ("**/*.log", &["x.log", "a/b/x.log"], &["x.log/b"]),
            ("a/**", &["a/b", "a/b/c"], &["a", "ab"]),
            ("fo**", &["fo", "foo", "fo/x", "foobar/x"], &["fa"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb", "b"]),
            ("**", &["a", "a/b"], &[]),
            ("**foo", &["foo", "a/foo"], &["barfoo"]),
            ("a?c", &["abc", "a\u{e4}c"], &["a/c", "ac", "abbc"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x", "/x"]),
            ("[^a-c]x", &["dx"], &["ax"]),
            ("\\*x", &["*x"], &["ax"]),
            ("{a,b}", &["{a,b}"], &["a", "b"]),
            ("a*/**", &["ab/c", "a/c/d"], &["ab", "ba/c"]),
            ("a.b*", &["a.bc"], &["axbc"]),
        ];
        for (pattern, yes, no) in cases {
            let compiled = compiled(pattern).unwrap();
            for path in *yes {
                assert!(compiled.matches(path.as_bytes()), "{pattern} should match {path}");
            }
            for path in *no {
                assert!(!compiled.matches(path.as_bytes()), "{pattern} should not match {path}");
            }
        }
    }

    #[test]
    fn a_negated_suffix_takes_back_what_any_engine_would() {
        let pattern = Pattern::compile("**foo", true).unwrap();
        assert!(pattern.matches(b"barfoo") && pattern.matches(b"a/barfoo"));
    }

    #[test]
    fn a_byte_that_is_no_utf8_is_one_character() {
        assert!(compiled("a?c").unwrap().matches(b"a\xffc"));
        assert!(!compiled("a?c").unwrap().matches(b"a\xff\xffc"));
        assert!(compiled("a\u{e4}").unwrap().matches("a\u{e4}".as_bytes()));
    }

    #[test]
    fn patterns_that_engines_read_differently_are_refused() {
        for pattern in
            ["a^b", "[a", "[]", "[b-a]", "[*]", "[a\\d]", "\\d", "a\\", "[!a]x", "a+*", "(a)?"]
        {
            assert!(compiled(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_long_path_does_not_blow_up() {
        let pattern = compiled("**/a*a*a*a*a*a*b").unwrap();
        assert!(!pattern.matches("a/".repeat(2000).as_bytes()));
        assert!(!pattern.matches("a".repeat(3000).as_bytes()));
    }
}
