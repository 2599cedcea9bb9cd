//! The wildcards of `${x#p}`, `${x%p}` and `${x/p/r}`: `*` and `?`, no brackets.

/// A parsed wildcard pattern. Neither wildcard matches a line feed.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Any,
    Star,
    Literal(char),
}

impl Pattern {
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(ch) = chars.next() {
            tokens.push(match ch {
                '*' => Token::Star,
                '?' => Token::Any,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Token::Literal(escaped),
                    _ => return Err(format!("invalid escape in pattern {pattern:?}")),
                },
                other => Token::Literal(other),
            });
        }
        Ok(Self(tokens))
    }

    /// Without the shortest or longest prefix that matches.
    pub(super) fn trim_start(&self, value: &str, longest: bool) -> String {
        let value: Vec<char> = value.chars().collect();
        let end = self.match_at(&value, 0, longest).unwrap_or(0);
        value[end..].iter().collect()
    }

    /// Without the shortest or longest suffix that matches.
    pub(super) fn trim_end(&self, value: &str, longest: bool) -> String {
        let reversed = Self(self.0.iter().rev().copied().collect());
        let value: Vec<char> = value.chars().rev().collect();
        let end = reversed.match_at(&value, 0, longest).unwrap_or(0);
        value[end..].iter().rev().collect()
    }

    /// Replaces the first, or each, longest match. An empty match directly after a match is none.
    pub(super) fn replace(&self, value: &str, replacement: &str, all: bool) -> String {
        let value: Vec<char> = value.chars().collect();
        let mut replaced = String::new();
        let mut at = 0;
        let mut last_end = None;
        while at <= value.len() {
            let end = self.match_at(&value, at, true);
            if let Some(end) = end.filter(|end| *end > at || last_end != Some(at)) {
                replaced.push_str(replacement);
                if !all {
                    replaced.extend(&value[end..]);
                    return replaced;
                }
                last_end = Some(end);
                if end > at {
                    at = end;
                    continue;
                }
            }
            replaced.extend(value.get(at));
            at += 1;
        }
        replaced
    }

    /// End of the shortest or longest match that begins at `start`.
    fn match_at(&self, value: &[char], start: usize, longest: bool) -> Option<usize> {
        let mut ends = vec![start];
        for token in &self.0 {
            ends = match token {
                Token::Literal(ch) => step(&ends, value, |found| found == *ch),
                Token::Any => step(&ends, value, |found| found != '\n'),
                Token::Star => {
                    let mut reached = Vec::new();
                    let mut next = 0;
                    for end in ends {
                        next = next.max(end);
                        if reached.last() < Some(&end) {
                            reached.push(end);
                        }
                        while reached.last() == Some(&next)
                            && value.get(next).is_some_and(|ch| *ch != '\n')
                        {
                            next += 1;
                            reached.push(next);
                        }
                    }
                    reached
                }
            };
        }
        if longest { ends.last().copied() } else { ends.first().copied() }
    }
}

fn step(ends: &[usize], value: &[char], matches: impl Fn(char) -> bool) -> Vec<usize> {
    ends.iter()
        .filter(|end| value.get(**end).is_some_and(|ch| matches(*ch)))
        .map(|end| end + 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_and_longest_matches_are_trimmed() {
        for (pattern, value, shortest, longest) in [
            ("*b", "abab", "ab", ""),
            ("a?", "abab", "ab", "ab"),
            ("*", "ab", "ab", ""),
            ("*a*b", "xaxbxb", "xb", ""),
            ("z", "ab", "ab", "ab"),
            ("", "ab", "ab", "ab"),
            ("\\*", "*a", "a", "a"),
            ("*b", "a\nb", "a\nb", "a\nb"),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(pattern.trim_start(value, false), shortest, "{pattern:?}");
            assert_eq!(pattern.trim_start(value, true), longest, "{pattern:?}");
        }
        let suffix = Pattern::parse(".*").unwrap();
        assert_eq!(suffix.trim_end("a.b.c", false), "a.b");
        assert_eq!(suffix.trim_end("a.b.c", true), "a");
    }

    #[test]
    fn matches_are_replaced_from_the_left() {
        for (pattern, value, first, all) in [
            ("a", "banana", "b-nana", "b-n-n-"),
            ("*", "abc", "-", "-"),
            ("", "ab", "-ab", "-a-b-"),
            ("n*", "banana", "ba-", "ba-"),
            ("z", "ab", "ab", "ab"),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.replace(value, "-", false), first, "{pattern:?}");
            assert_eq!(parsed.replace(value, "-", true), all, "{pattern:?}");
        }
    }
}
