//! The wildcards of `COPY` and `ADD`: the language of Go's `path.Match`, as BuildKit applies it to a
//! path below the part of a source that has none.

/// A pattern with wildcards for a path relative to some directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wildcard {
    text: Box<[u8]>,
    /// One pattern for each component of a path; none if a `/` may stand for something else than
    /// the border of two components.
    components: Option<Vec<Box<[u8]>>>,
}

impl Wildcard {
    /// Takes a cleaned pattern. One that is malformed matches nothing: a build with it fails.
    pub(super) fn new(text: &[u8]) -> Self {
        let slash_in_class = Scan(text).class_matches_slash();
        let split = || text.split(|byte| *byte == b'/').map(Box::from).collect();
        Self { text: text.into(), components: (!slash_in_class).then(split) }
    }

    /// What `name`, the component of a path at position `component`, means; of the path all
    /// components before matched. `path` is the path so far.
    pub(super) fn step(&self, component: usize, name: &[u8], path: &[u8]) -> Step {
        let Some(components) = &self.components else {
            return if matches(&self.text, path) { Step::Matched } else { Step::Below };
        };
        match components.get(component) {
            Some(pattern) if !matches(pattern, name) => Step::Failed,
            Some(_) if component + 1 == components.len() => Step::Matched,
            Some(_) => Step::Below,
            None => Step::Failed,
        }
    }
}

/// What a component says about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The path matches, with everything below.
    Matched,
    /// It does not, but a path below may.
    Below,
    /// Neither it nor anything below.
    Failed,
}

/// Whether BuildKit takes a source, or a component of one, for a pattern.
pub fn has_wildcard(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    false
}

/// Go's `path.Match`; a malformed pattern matches nothing.
///
/// `*` stands for any bytes but `/`, `?` for a character but `/`, `[…]` for a character of a class,
/// which may be `/`; `\` takes the special meaning from the next. A byte that is not UTF-8 counts as
/// one character. As in Go, the part behind a star matches where it first can, and no later.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut pattern = pattern;
    let mut name = name;
    while !pattern.is_empty() {
        let stars = pattern.iter().take_while(|byte| **byte == b'*').count();
        let rest = &pattern[stars..];
        let (chunk, behind) = rest.split_at(chunk_length(rest));
        pattern = behind;
        if stars > 0 && chunk.is_empty() {
            return !name.contains(&b'/');
        }
        let last = pattern.is_empty();
        let furthest = if stars > 0 {
            name.iter().position(|byte| *byte == b'/').unwrap_or(name.len())
        } else {
            0
        };
        // The last chunk has to reach the end.
        let reached = (0..=furthest)
            .filter_map(|skipped| match_chunk(chunk, &name[skipped..]))
            .find(|left| !last || left.is_empty());
        match reached {
            Some(left) => name = left,
            None => return false,
        }
    }
    name.is_empty()
}

/// Whether a pattern is malformed: a class is not closed or says nothing, or a `\` stands at the end.
pub fn is_malformed(pattern: &[u8]) -> bool {
    let mut scan = Scan(pattern);
    while let Some(byte) = scan.next() {
        let read = match byte {
            b'[' => scan.class().is_some(),
            b'\\' => scan.next().is_some(),
            _ => true,
        };
        if !read {
            return true;
        }
    }
    false
}

/// Length of the part before the next star that is one.
fn chunk_length(pattern: &[u8]) -> usize {
    let mut in_class = false;
    let mut at = 0;
    while let Some(byte) = pattern.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'*' if !in_class => return at,
            _ => {}
        }
        at += 1;
    }
    pattern.len()
}

/// What is left of a name whose beginning matches a part without stars.
fn match_chunk<'n>(chunk: &[u8], name: &'n [u8]) -> Option<&'n [u8]> {
    let mut scan = Scan(chunk);
    let mut name = name;
    while let Some(byte) = scan.next() {
        match byte {
            b'[' => {
                let (found, length) = character(name)?;
                name = &name[length..];
                if !scan.class()?.matches(found) {
                    return None;
                }
            }
            b'?' => {
                let (_, length) = character(name).filter(|_| name[0] != b'/')?;
                name = &name[length..];
            }
            literal => {
                let literal = if literal == b'\\' { scan.next()? } else { literal };
                name = name.strip_prefix(&[literal])?;
            }
        }
    }
    Some(name)
}

/// The first character and its length; U+FFFD for a byte that is not UTF-8.
fn character(bytes: &[u8]) -> Option<(char, usize)> {
    let start = &bytes[..bytes.len().min(4)];
    let chunk = start.utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(found) => Some((found, found.len_utf8())),
        None => Some((char::REPLACEMENT_CHARACTER, 1)),
    }
}

/// Reads a pattern from the left.
struct Scan<'p>(&'p [u8]);

impl Scan<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// The rest of a class whose bracket was read; none if it is malformed.
    fn class(&mut self) -> Option<Class> {
        let negated = self.take(b'^');
        let mut ranges = Vec::new();
        while ranges.is_empty() || !self.take(b']') {
            let first = self.class_character()?;
            let last = if self.take(b'-') { self.class_character()? } else { first };
            ranges.push((first, last));
        }
        Some(Class { negated, ranges })
    }

    fn class_character(&mut self) -> Option<char> {
        if matches!(self.0.first()?, b'-' | b']') {
            return None;
        }
        self.take(b'\\');
        let (found, length) = character(self.0)?;
        if found == char::REPLACEMENT_CHARACTER && length == 1 {
            return None;
        }
        self.0 = &self.0[length..];
        // Something has to close the class.
        (!self.0.is_empty()).then_some(found)
    }

    /// Whether a class or an escape takes a `/` for an ordinary character.
    fn class_matches_slash(mut self) -> bool {
        while let Some(byte) = self.next() {
            let slash = match byte {
                b'\\' => self.next() == Some(b'/'),
                // A malformed one matches nothing, by component or not.
                b'[' => {
                    let before = self.0;
                    let found = self.class().is_none_or(|class| class.matches('/'));
                    let text = &before[..before.len() - self.0.len()];
                    found || text.contains(&b'/')
                }
                _ => false,
            };
            if slash {
                return true;
            }
        }
        false
    }
}

struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn matches(&self, found: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&found)) != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let table: &[(&str, &str, bool)] = &[
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*", "", true),
            ("*", "a/b", false),
            ("**", "a/b", false),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a\u{263a}b", true),
            ("a[^a]b", "a\u{263a}b", true),
            ("a???b", "a\u{263a}b", false),
            ("[a-\u{3b6}]*", "\u{3b1}", true),
            ("*[a-\u{3b6}]", "A", false),
            ("a?b", "a/b", false),
            ("a[^x]b", "a/b", true),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "z", false),
            ("*x", "xxx", true),
            ("[b-a]", "a", false),
            ("[!a]", "b", false),
            ("[!a]", "!", true),
            (".*", ".hidden", true),
            ("*", ".hidden", true),
        ];
        for (pattern, name, expected) in table {
            let found = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(found, *expected, "{pattern} {name}");
            assert!(!is_malformed(pattern.as_bytes()), "{pattern}");
        }
    }

    #[test]
    fn malformed_patterns_match_nothing() {
        for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\"] {
            for name in ["a", "]", "-", "x", "b", "a[", "a\\", "", "["] {
                assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
            }
            assert!(is_malformed(pattern.as_bytes()), "{pattern}");
        }
    }

    #[test]
    fn bytes_that_are_no_characters_count_one_by_one() {
        assert!(matches(b"a?b", b"a\xffb"));
        assert!(!matches(b"a?b", b"a\xff\xfeb"));
        assert!(matches(b"a\xffb", b"a\xffb"));
        assert!(matches(b"*\xff", b"a\xff"));
        assert!(matches(b"[^a]", b"\xff"));
    }

    #[test]
    fn a_pattern_is_followed_component_by_component_where_it_can_be() {
        for (pattern, by_component) in [
            ("a*/b", true),
            ("[a-c]*/b", true),
            ("[^a]*/b", false),
            ("[.-0]", false),
            ("[a/b]", false),
            ("a\\/*", false),
            ("a[", false),
        ] {
            let wildcard = Wildcard::new(pattern.as_bytes());
            assert_eq!(wildcard.components.is_some(), by_component, "{pattern}");
        }
        let wildcard = Wildcard::new(b"a*/b");
        assert_eq!(wildcard.step(0, b"ax", b"ax"), Step::Below);
        assert_eq!(wildcard.step(0, b"b", b"b"), Step::Failed);
        assert_eq!(wildcard.step(1, b"b", b"ax/b"), Step::Matched);
        assert_eq!(wildcard.step(1, b"c", b"ax/c"), Step::Failed);
    }
}
