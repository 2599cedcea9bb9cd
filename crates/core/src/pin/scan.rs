//! Finding references to images in the bytes of any file.
//!
//! A file is looked at as bytes, whatever its language and encoding: a reference is what stands there as
//! one, between characters that can be no part of it. So `eu.gcr.io/p/x` is not `gcr.io/p/x`, and `p/xy`
//! not `p/x`.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use dockit_registry::{Digest, Repository, Tag};

/// What a line says that keeps its references as they are.
const KEEP: &[u8] = b"dockit: keep";

/// How a digest that images are pinned by begins.
const ALGORITHM: &[u8] = b"@sha256:";

const HEX_DIGITS: usize = 64;

/// Longest tag (distribution spec, *Pulling manifests*).
const LONGEST_TAG: usize = 128;

/// A reference in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Its bytes in the file.
    pub span: Range<usize>,
    /// The 1-based line.
    pub line: usize,
    /// The repository.
    pub repository: Repository,
    /// Whether the repository is one of those that were looked for; otherwise it only lies beside them.
    pub known: bool,
    /// The tag, where one is written.
    pub tag: Option<Written<Tag>>,
    /// The digest, where one is written.
    pub digest: Option<Written<Digest>>,
    /// What stands where a digest belongs, if it is none.
    pub malformed: Option<Range<usize>>,
    /// Whether the line says `dockit: keep`.
    pub keep: bool,
}

/// A part of a reference, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// What it is.
    pub value: T,
    /// Its bytes in the file, without what separates it from the part before.
    pub span: Range<usize>,
}

/// Finds references to certain repositories. Making one takes time, looking with it hardly any.
#[derive(Clone, Debug)]
pub struct Scanner {
    automaton: AhoCorasick,
    /// By pattern.
    wanted: Vec<Wanted>,
}

#[derive(Clone, Debug)]
enum Wanted {
    Repository(Repository),
    /// Whatever repository lies below, which is the pattern with its `/`.
    Below,
}

impl Mention {
    /// Parts that stand apart, of an image that something else names.
    pub(crate) fn of_parts(span: Range<usize>, line: usize) -> Self {
        Self {
            span,
            line,
            repository: super::survey::NOWHERE.parse().expect("it is a name"),
            known: true,
            tag: None,
            digest: None,
            malformed: None,
            keep: false,
        }
    }

    /// Whether something stands where a digest belongs.
    pub fn has_digest(&self) -> bool {
        self.digest.is_some() || self.malformed.is_some()
    }

    /// Whether its tag is spelled from an image key.
    pub fn has_content_tag(&self) -> bool {
        self.tag.as_ref().is_some_and(|tag| crate::key::ImageKey::is_content_tag(&tag.value))
    }

    /// Moves it, where the bytes that it was found in begin further on.
    pub(crate) fn shift(&mut self, by: usize) {
        let moved = |span: &mut Range<usize>| *span = span.start + by..span.end + by;
        moved(&mut self.span);
        self.tag.iter_mut().for_each(|tag| moved(&mut tag.span));
        self.digest.iter_mut().for_each(|digest| moved(&mut digest.span));
        self.malformed.iter_mut().for_each(moved);
    }
}

impl Scanner {
    /// Looks for these repositories, in each way of writing them, and for whatever lies below these
    /// registries, written `host/path`.
    pub fn new<'r>(
        repositories: impl IntoIterator<Item = &'r Repository>,
        registries: impl IntoIterator<Item = &'r str>,
    ) -> Self {
        let mut patterns: BTreeMap<String, Wanted> = BTreeMap::new();
        for registry in registries {
            patterns.insert(format!("{registry}/"), Wanted::Below);
        }
        for repository in repositories {
            for spelling in spellings(repository) {
                patterns.insert(spelling, Wanted::Repository(repository.clone()));
            }
        }
        let (patterns, wanted): (Vec<String>, Vec<Wanted>) = patterns.into_iter().unzip();
        // Of repositories that begin alike, the longest name that fits is the one that is meant.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns)
            .expect("names of repositories are short");
        Self { automaton, wanted }
    }

    /// Whether anything of what is looked for may stand there. Quick.
    pub fn may_find(&self, bytes: &[u8]) -> bool {
        self.automaton.is_match(bytes)
    }

    /// Every reference, in the order of the file.
    pub fn scan(&self, bytes: &[u8]) -> Vec<Mention> {
        let mut mentions = Vec::new();
        let mut lines = LineCounter::default();
        let mut at = 0;
        while let Some(found) = self.automaton.find(aho_corasick::Input::new(bytes).range(at..)) {
            at = found.start() + 1;
            if !begins_a_reference(bytes, found.start()) {
                continue;
            }
            let mention = match &self.wanted[found.pattern().as_usize()] {
                Wanted::Repository(repository) => {
                    reference(bytes, found.range(), repository.clone(), true)
                }
                Wanted::Below => below(bytes, found.range()),
            };
            if let Some(mut mention) = mention {
                at = mention.span.end;
                mention.line = lines.line_of(bytes, mention.span.start);
                mention.keep = line_around(bytes, &mention.span)
                    .windows(KEEP.len())
                    .any(|window| window == KEEP);
                mentions.push(mention);
            }
        }
        mentions
    }
}

/// Each way in which files name a repository.
fn spellings(repository: &Repository) -> Vec<String> {
    let mut spellings = vec![repository.to_string()];
    let familiar = repository.familiar();
    if repository.host().is_docker_hub() {
        spellings.push(format!("index.docker.io/{}", repository.name()));
        // `docker.io/debian` and `library/debian` are read as `docker.io/library/debian`.
        if let Some(short) = repository.name().as_str().strip_prefix("library/") {
            spellings.extend([format!("docker.io/{short}"), format!("library/{short}")]);
        }
    }
    if !spellings.contains(&familiar) {
        spellings.push(familiar);
    }
    spellings
}

/// Whether what begins here is not the rest of something longer.
fn begins_a_reference(bytes: &[u8], start: usize) -> bool {
    let before = &bytes[..start];
    match before.last() {
        None => true,
        Some(b'/') => [&b"docker://"[..], b"docker-image://"].iter().any(|it| before.ends_with(it)),
        // A port, where a host stands before it.
        Some(b':') => !bytes[start].is_ascii_digit(),
        Some(byte) => !(is_name(*byte) || b".-@%+~$}\\".contains(byte)),
    }
}

/// A reference whose repository is written at `name`, unless that is the beginning of another one.
fn reference(
    bytes: &[u8],
    name: Range<usize>,
    repository: Repository,
    known: bool,
) -> Option<Mention> {
    let mut end = name.end;
    let after = &bytes[end..];
    if continues_name(after) {
        return None;
    }
    let mut tag = None;
    if after.first() == Some(&b':') {
        let length = tag_length(&after[1..]);
        if let Some(length) = length {
            let span = end + 1..end + 1 + length;
            let text = std::str::from_utf8(&bytes[span.clone()]).ok()?;
            end = span.end;
            tag = Some(Written { value: text.parse().ok()?, span });
        }
    }
    // What a template puts there is not known.
    if bytes[end..].starts_with(b":$") || bytes[end..].starts_with(b":{") || is_template(bytes, end)
    {
        return None;
    }
    let mut digest = None;
    let mut malformed = None;
    let after = &bytes[end..];
    if after.starts_with(b"@") {
        match digest_at(after) {
            Some(value) => {
                let span = end + 1..end + ALGORITHM.len() + HEX_DIGITS;
                end = span.end;
                digest = Some(Written { value, span });
            }
            None if is_template(bytes, end + 1) => return None,
            None if after.starts_with(ALGORITHM) => {
                let digits = &after[ALGORITHM.len()..];
                let digits = digits.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
                let span = end + 1..end + ALGORITHM.len() + digits;
                end = span.end;
                malformed = Some(span);
            }
            None => {}
        }
    }
    let span = name.start..end;
    Some(Mention { span, line: 0, repository, known, tag, digest, malformed, keep: false })
}

/// A reference to what lies below a registry: only with a tag or digest, since everything else is an
/// address of some page as well.
fn below(bytes: &[u8], prefix: Range<usize>) -> Option<Mention> {
    let length = bytes[prefix.end..]
        .iter()
        .take_while(|byte| is_name(**byte) || b"./-".contains(byte))
        .count();
    let name = prefix.start..prefix.end + length;
    let text = std::str::from_utf8(&bytes[name.clone()]).ok()?;
    let mention = reference(bytes, name, text.parse().ok()?, false)?;
    (mention.tag.is_some() || mention.digest.is_some()).then_some(mention)
}

/// Whether the name of a repository goes on here.
fn continues_name(after: &[u8]) -> bool {
    match after {
        [b'/', ..] => true,
        [byte, ..] if is_name(*byte) => true,
        // A sentence may end with the name.
        [b'.' | b'-', ..] => {
            let end = after.iter().position(|byte| !b".-".contains(byte)).unwrap_or(after.len());
            let next = after.get(end);
            next.is_some_and(|byte| is_name(*byte) || *byte == b'/') || is_template(after, end)
        }
        _ => is_template(after, 0),
    }
}

/// Whether a variable stands here: `$X`, `${X}`, `{{ x }}`, `<x>` and the like.
fn is_template(bytes: &[u8], at: usize) -> bool {
    match &bytes[at.min(bytes.len())..] {
        [b'$', next, ..] => is_name(*next) || b"{(".contains(next),
        [b'{', ..] | [b'%', b'{' | b'(', ..] => true,
        [b'<', next, ..] => next.is_ascii_alphabetic(),
        _ => false,
    }
}

/// How long the tag is that begins here. A dot at its end is a sentence's.
fn tag_length(bytes: &[u8]) -> Option<usize> {
    let first = bytes.first().filter(|byte| is_name(**byte))?;
    debug_assert!(first.is_ascii());
    let length = bytes
        .iter()
        .take(LONGEST_TAG + 1)
        .take_while(|byte| is_name(**byte) || b".-".contains(byte))
        .count();
    if length > LONGEST_TAG {
        return None;
    }
    let after = bytes.get(length);
    let ends_sentence = after.is_none_or(|byte| *byte != b'@');
    let dots = bytes[..length].iter().rev().take_while(|byte| **byte == b'.').count();
    Some(if ends_sentence { length - dots } else { length })
}

/// The digest that begins with this `@`.
fn digest_at(bytes: &[u8]) -> Option<Digest> {
    let hex = bytes.strip_prefix(ALGORITHM)?;
    let digits = hex.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    if digits != HEX_DIGITS {
        return None;
    }
    let text = std::str::from_utf8(&bytes[1..ALGORITHM.len() + HEX_DIGITS]).ok()?;
    text.parse().ok()
}

/// Letters, digits and `_`.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The bytes of the lines that a span is on.
fn line_around<'b>(bytes: &'b [u8], span: &Range<usize>) -> &'b [u8] {
    let is_end = |byte: &u8| *byte == b'\n';
    let start = bytes[..span.start].iter().rposition(is_end).map_or(0, |at| at + 1);
    let end = bytes[span.end..].iter().position(is_end).map_or(bytes.len(), |at| span.end + at);
    &bytes[start..end]
}

/// The 1-based line of a position.
pub(super) fn line_of(bytes: &[u8], position: usize) -> usize {
    LineCounter::default().line_of(bytes, position)
}

/// Counts lines up to positions that only grow.
#[derive(Default)]
struct LineCounter {
    at: usize,
    feeds: usize,
}

impl LineCounter {
    fn line_of(&mut self, bytes: &[u8], position: usize) -> usize {
        self.feeds += bytes[self.at..position].iter().filter(|byte| **byte == b'\n').count();
        self.at = position;
        self.feeds + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn repository(text: &str) -> Repository {
        text.parse().unwrap()
    }

    fn scanner() -> Scanner {
        let known =
            ["gcr.io/p/x", "gcr.io/p/xy", "gcr.io/p/x/y", "team/app", "docker.io/library/own"];
        let known = known.map(repository);
        Scanner::new(&known, ["gcr.io/p", "localhost:5000"])
    }

    /// What was found, as it is written, with what it was taken for.
    fn found(text: &str) -> Vec<(String, String)> {
        let text = text.replace("HEX", HEX);
        let mentions = scanner().scan(text.as_bytes());
        let shown = |mention: &Mention| {
            let mut shown = mention.repository.familiar();
            if !mention.known {
                shown.insert(0, '?');
            }
            if let Some(tag) = &mention.tag {
                assert_eq!(&text[tag.span.clone()], tag.value.as_str());
                shown.push_str(&format!(" tag {}", tag.value));
            }
            if let Some(digest) = &mention.digest {
                assert_eq!(&text[digest.span.clone()], digest.value.as_str());
                shown.push_str(" digest");
            }
            if mention.malformed.is_some() {
                shown.push_str(" malformed");
            }
            if mention.keep {
                shown.push_str(" keep");
            }
            (text[mention.span.clone()].replace(HEX, "HEX"), shown)
        };
        mentions.iter().map(shown).collect()
    }

    #[test]
    fn references_are_found_in_every_language() {
        for (text, written, meant) in [
            ("FROM gcr.io/p/x@sha256:HEX AS y", "gcr.io/p/x@sha256:HEX", "gcr.io/p/x digest"),
            (
                "COPY --from=gcr.io/p/x@sha256:HEX \\\r\n",
                "gcr.io/p/x@sha256:HEX",
                "gcr.io/p/x digest",
            ),
            ("docker run gcr.io/p/x:1.0 ls", "gcr.io/p/x:1.0", "gcr.io/p/x tag 1.0"),
            (
                "image: gcr.io/p/xy:a@sha256:HEX",
                "gcr.io/p/xy:a@sha256:HEX",
                "gcr.io/p/xy tag a digest",
            ),
            ("image: 'gcr.io/p/x:1'", "gcr.io/p/x:1", "gcr.io/p/x tag 1"),
            ("{\"image\":\"gcr.io/p/x@sha256:HEX\"}", "gcr.io/p/x@sha256:HEX", "gcr.io/p/x digest"),
            ("--env \"IMAGE=gcr.io/p/x@sha256:HEX\"", "gcr.io/p/x@sha256:HEX", "gcr.io/p/x digest"),
            ("build --repo=gcr.io/p/x@sha256:HEX", "gcr.io/p/x@sha256:HEX", "gcr.io/p/x digest"),
            ("`gcr.io/p/x:1`, ", "gcr.io/p/x:1", "gcr.io/p/x tag 1"),
            ("It is gcr.io/p/x:1.2. Then", "gcr.io/p/x:1.2", "gcr.io/p/x tag 1.2"),
            ("It is gcr.io/p/x. Then", "gcr.io/p/x", "gcr.io/p/x"),
            ("gcr.io/p/x: a key", "gcr.io/p/x", "gcr.io/p/x"),
            ("docker://gcr.io/p/x:1", "gcr.io/p/x:1", "gcr.io/p/x tag 1"),
            ("gcr.io/p/x/y:1", "gcr.io/p/x/y:1", "gcr.io/p/x/y tag 1"),
            ("team/app:1", "team/app:1", "team/app tag 1"),
            ("docker.io/team/app:1", "docker.io/team/app:1", "team/app tag 1"),
            ("index.docker.io/team/app:1", "index.docker.io/team/app:1", "team/app tag 1"),
            ("docker.io/own:1", "docker.io/own:1", "own tag 1"),
            ("library/own:1", "library/own:1", "own tag 1"),
            ("gcr.io/p/z:1", "gcr.io/p/z:1", "?gcr.io/p/z tag 1"),
            ("gcr.io/p/a/b@sha256:HEX", "gcr.io/p/a/b@sha256:HEX", "?gcr.io/p/a/b digest"),
            ("localhost:5000/z:1", "localhost:5000/z:1", "?localhost:5000/z tag 1"),
            ("gcr.io/p/x@sha256:123 ", "gcr.io/p/x@sha256:123", "gcr.io/p/x malformed"),
            ("x gcr.io/p/x:1 # dockit: keep", "gcr.io/p/x:1", "gcr.io/p/x tag 1 keep"),
        ] {
            let expected = vec![(written.to_owned(), meant.to_owned())];
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_one_is_none() {
        for text in [
            "eu.gcr.io/p/x@sha256:HEX",
            "x-gcr.io/p/x@sha256:HEX",
            "gcr.io/q/x@sha256:HEX",
            "gcr.io/p/x/z/",
            "https://gcr.io/p/x",
            "ghcr.io/team/app:1",
            "my-team/app:1",
            "team/apple:1",
            "team/app-1",
            "team/app/",
            "team/app_x",
            "team/app.x",
            "${HOST}gcr.io/p/x:1",
            "gcr.io/p/x:$TAG",
            "gcr.io/p/x:${TAG}",
            "gcr.io/p/x:v${TAG}",
            "gcr.io/p/x:{{ tag }}",
            "gcr.io/p/x@${DIGEST}",
            "gcr.io/p/x$SUFFIX:1",
            "gcr.io/p/x-$SUFFIX:1",
            "gcr.io/p/x-{{ suffix }}",
            "gcr.io/p/z",
            "name@team/app:1",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn lines_are_counted_and_a_word_on_another_line_keeps_nothing() {
        let text = "gcr.io/p/x:1\n\ngcr.io/p/x:2 gcr.io/p/x:3 # dockit: keep\r\ngcr.io/p/x:4";
        let mentions = scanner().scan(text.as_bytes());
        let told: Vec<(usize, bool)> = mentions.iter().map(|it| (it.line, it.keep)).collect();
        assert_eq!(told, [(1, false), (3, true), (3, true), (4, false)]);
    }

    proptest! {
        /// Whatever bytes stand around a reference, as long as they can be no part of it.
        #[test]
        fn a_reference_is_found_among_any_bytes(
            before in prop::collection::vec(any::<u8>(), 0..40),
            after in prop::collection::vec(any::<u8>(), 0..40),
            open in prop::sample::select(&b" \"'`=(,\n\t[>\xff\0"[..]),
            close in prop::sample::select(&b" \"'`),;\n\r\t]\\\xff\0"[..]),
        ) {
            let reference = format!("gcr.io/p/x@sha256:{HEX}");
            let start = before.len() + 1;
            let bytes = [&before[..], &[open], reference.as_bytes(), &[close], &after].concat();
            let mentions = scanner().scan(&bytes);
            let span = start..start + reference.len();
            prop_assert!(mentions.iter().any(|it| it.span == span && it.digest.is_some()));
        }

        #[test]
        fn scanning_never_panics_and_finds_what_can_be_read(text in "[ -~\n]{0,200}") {
            let mentions = scanner().scan(text.as_bytes());
            for mention in mentions.into_iter().filter(|it| it.malformed.is_none()) {
                let written = text[mention.span].parse::<dockit_registry::Reference>().unwrap();
                prop_assert_eq!(written.repository(), &mention.repository);
            }
        }

        #[test]
        fn references_among_names_that_look_like_them(
            text in "((eu\\.)?gcr\\.io/p/x[y/]?|team/app|[:@/. $-]|sha256|v1){0,12}",
        ) {
            let mentions = scanner().scan(text.as_bytes());
            for mention in mentions.into_iter().filter(|it| it.malformed.is_none()) {
                let written = text[mention.span].parse::<dockit_registry::Reference>().unwrap();
                prop_assert_eq!(written.repository(), &mention.repository);
            }
        }
    }
}
