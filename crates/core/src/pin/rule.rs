//! What the configuration says about references in files.

use std::num::NonZeroU32;
use std::ops::Range;

use dockit_hashing::context::ContextPath;
use dockit_hashing::context::ignore::IgnoreRules;
use dockit_registry::{Digest, Tag};
use regex::bytes::{Captures, Regex, RegexBuilder};

use super::field::Field;
use super::scan::{Mention, Scanner, Written, line_of};
use crate::command_line::CommandLine;
use crate::declared_key::regex_problem;
use crate::image_name::ImageName;

/// One `[[pin]]` of the configuration.
#[derive(Clone, Debug)]
pub struct PinRule {
    /// The files.
    pub files: FilePatterns,
    /// What is looked for in them.
    pub form: PinForm,
    /// What is run when one of the files has changed.
    pub run: Option<CommandLine>,
    /// The 1-based line in the configuration.
    pub line: usize,
}

/// How references are written.
#[derive(Clone, Debug)]
pub enum PinForm {
    /// As references.
    References {
        /// Whether one with a content tag and without a digest is kept true, too.
        tags: bool,
    },
    /// In parts that a regular expression finds.
    Pattern(PinPattern),
    /// As the value of a field of a TOML or JSON document.
    Field {
        /// The field.
        path: Field,
        /// The image that it speaks of.
        image: ImageName,
    },
}

/// Patterns of files, relative to the directory of the configuration, in the language of
/// `.dockerignore`: one that names a directory means everything in it.
#[derive(Clone, Debug, Default)]
pub struct FilePatterns(Vec<String>);

impl FilePatterns {
    pub(crate) fn new(patterns: Vec<String>) -> Self {
        Self(patterns)
    }

    /// Whether a text is such a pattern.
    ///
    /// # Errors
    ///
    /// Why not, as a fragment.
    pub(crate) fn check(pattern: &str) -> Result<(), String> {
        if pattern.trim().is_empty() {
            return Err("it is empty".to_owned());
        }
        if pattern.starts_with('/') {
            return Err("it is absolute, and patterns are relative to the configuration".to_owned());
        }
        // Where the repository begins is not known yet.
        let below = pattern.trim_start_matches("../").trim_start_matches('!');
        IgnoreRules::parse(below.as_bytes()).map(drop).map_err(|error| error.to_string())
    }

    /// The patterns for paths that are relative to the top of a repository, in which the configuration
    /// lies at `prefix` (empty at the top itself).
    ///
    /// # Errors
    ///
    /// One leads out of the repository.
    pub(crate) fn below(&self, prefix: &str) -> Result<FileMatcher, String> {
        let mut text = String::new();
        for pattern in &self.0 {
            let (exception, pattern) = match pattern.strip_prefix('!') {
                Some(pattern) => ("!", pattern),
                None => ("", pattern.as_str()),
            };
            let mut parts: Vec<String> =
                prefix.split('/').filter(|it| !it.is_empty()).map(escaped).collect();
            for part in pattern.split('/') {
                match part {
                    "" | "." => {}
                    ".." => drop(
                        parts
                            .pop()
                            .ok_or_else(|| format!("{pattern:?} leads out of the repository"))?,
                    ),
                    part => parts.push(part.to_owned()),
                }
            }
            text.push_str(&format!("{exception}{}\n", parts.join("/")));
        }
        let rules = IgnoreRules::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(FileMatcher(rules))
    }
}

/// A directory's name in which nothing is a wildcard.
fn escaped(name: &str) -> String {
    let special = |ch: char| matches!(ch, '*' | '?' | '[' | '\\');
    name.chars().flat_map(|ch| special(ch).then_some('\\').into_iter().chain([ch])).collect()
}

/// Patterns, ready to be asked.
pub(crate) struct FileMatcher(IgnoreRules);

impl FileMatcher {
    /// Whether a path, relative to the top of the repository, is meant.
    pub(crate) fn is_match(&self, path: &[u8]) -> bool {
        ContextPath::new(path).is_some_and(|path| self.0.excludes(&path))
    }
}

/// A regular expression that finds the parts of references.
///
/// Its groups say what they find: `reference`, `tag` and `digest` are kept true, `registry` and
/// `repository` tell which image is meant, unless the rule names one.
#[derive(Clone, Debug)]
pub struct PinPattern {
    expression: Regex,
    image: Option<ImageName>,
    expect: Option<NonZeroU32>,
}

/// Groups that a pattern may have.
const GROUPS: [&str; 5] = ["reference", "tag", "digest", "registry", "repository"];

impl PinPattern {
    /// # Errors
    ///
    /// Why the text is no such pattern.
    pub(crate) fn new(text: &str, image: Option<ImageName>) -> Result<Self, String> {
        let built = RegexBuilder::new(text).multi_line(true).crlf(true).build();
        let expression = built.map_err(|error| {
            format!("the pattern is no regular expression: {}", regex_problem(&error))
        })?;
        let groups: Vec<&str> = expression.capture_names().flatten().collect();
        if let Some(unknown) = groups.iter().find(|name| !GROUPS.contains(name)) {
            return Err(format!(
                "the pattern has a group {unknown:?}; there are {}",
                GROUPS.join(", ")
            ));
        }
        let has = |name: &str| groups.contains(&name);
        if !(has("reference") || has("tag") || has("digest")) {
            return Err(
                "the pattern has none of the groups reference, tag and digest, so that nothing is \
                        kept true"
                    .to_owned(),
            );
        }
        if image.is_none() && !has("reference") && !has("repository") {
            return Err("the pattern says nothing of its image: name it with image, or find it with a group \
                        repository"
                .to_owned());
        }
        Ok(Self { expression, image, expect: None })
    }

    #[must_use]
    pub(crate) fn expecting(mut self, expect: Option<NonZeroU32>) -> Self {
        self.expect = expect;
        self
    }

    /// How often it has to match in each file.
    pub fn expected(&self) -> u32 {
        self.expect.map_or(1, NonZeroU32::get)
    }

    /// What it finds in a file.
    pub(crate) fn matches(&self, bytes: &[u8], scanner: &Scanner) -> Vec<Matched> {
        self.expression
            .captures_iter(bytes)
            .map(|found| self.matched(bytes, &found, scanner))
            .collect()
    }

    fn matched(&self, bytes: &[u8], found: &Captures<'_>, scanner: &Scanner) -> Matched {
        let image = self.image.clone();
        let whole = found.get(0).map_or(0..0, |whole| whole.range());
        let group = |name: &str| found.name(name).map(|group| group.range());
        let text =
            |range: &Range<usize>| String::from_utf8_lossy(&bytes[range.clone()]).into_owned();
        let line = line_of(bytes, whole.start);
        if let Some(range) = group("reference") {
            let inside = scanner.scan(&bytes[range.clone()]);
            let mention = inside.into_iter().next().map(|mut mention| {
                mention.shift(range.start);
                mention.line = line;
                mention
            });
            return Matched { line, whole: range, image, repository: None, mention };
        }
        let repository = group("repository").map(|range| text(&range)).map(|name| {
            match group("registry").map(|range| text(&range)) {
                Some(registry) if !registry.is_empty() => format!("{registry}/{name}"),
                _ => name,
            }
        });
        let tag = group("tag");
        let digest = group("digest");
        let span = tag
            .iter()
            .chain(&digest)
            .cloned()
            .reduce(|one, other| one.start.min(other.start)..one.end.max(other.end));
        let mention = span.clone().map(|span| {
            let mut mention = Mention::of_parts(span, line);
            if let Some(parsed) = repository.as_ref().and_then(|text| text.parse().ok()) {
                mention.repository = parsed;
            }
            mention.tag = tag
                .and_then(|span| Some(Written { value: text(&span).parse::<Tag>().ok()?, span }));
            if let Some(span) = digest {
                match text(&span).parse::<Digest>() {
                    Ok(value) => mention.digest = Some(Written { value, span }),
                    Err(_) => mention.malformed = Some(span),
                }
            }
            mention
        });
        Matched { line, whole: span.unwrap_or(whole), image, repository, mention }
    }
}

/// What a rule found.
pub(crate) struct Matched {
    pub(crate) line: usize,
    /// What is shown.
    pub(crate) whole: Range<usize>,
    /// The image that the rule names.
    pub(crate) image: Option<ImageName>,
    /// What the repository is written as, where it has a group of its own.
    pub(crate) repository: Option<String>,
    /// The parts; none where there is no reference.
    pub(crate) mention: Option<Mention>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_files_are_relative_to_the_configuration() {
        for (prefix, patterns, path, is_match) in [
            ("", &["*.yml"][..], "a.yml", true),
            ("", &["*.yml"], "ci/a.yml", false),
            ("", &["**/*.yml"], "ci/a.yml", true),
            ("", &["ci"], "ci/deep/a.yml", true),
            ("", &["ci", "!ci/deep"], "ci/deep/a.yml", false),
            ("build/ci", &["*.yml"], "build/ci/a.yml", true),
            ("build/ci", &["*.yml"], "a.yml", false),
            ("build/ci", &["../../.github"], ".github/workflows/a.yml", true),
            ("build/[ci]", &["*.yml"], "build/[ci]/a.yml", true),
            ("build/[ci]", &["*.yml"], "build/c/a.yml", false),
        ] {
            let patterns = FilePatterns::new(patterns.iter().map(ToString::to_string).collect());
            let matcher = patterns.below(prefix).unwrap();
            assert_eq!(matcher.is_match(path.as_bytes()), is_match, "{prefix} {patterns:?} {path}");
        }
        let out = FilePatterns::new(vec!["../../x".to_owned()]);
        assert!(out.below("one").is_err());
        for bad in ["", "/etc", "[", "a/["] {
            assert!(FilePatterns::check(bad).is_err(), "{bad}");
        }
        FilePatterns::check("../../.github/**/*.yml").unwrap();
    }

    #[test]
    fn a_pattern_needs_groups_that_say_something() {
        let image = || Some("base".parse::<ImageName>().unwrap());
        for (text, named, problem) in [
            ("(", true, "no regular expression"),
            ("x", true, "none of the groups"),
            ("(?<digest>x)", false, "nothing of its image"),
            ("(?<digets>x)", true, "a group \"digets\""),
        ] {
            let error = PinPattern::new(text, image().filter(|_| named)).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        PinPattern::new("(?<digest>x)", image()).unwrap();
        PinPattern::new("(?<reference>x)", None).unwrap();
        PinPattern::new("(?<repository>x) (?<tag>x)", None).unwrap();
    }

    #[test]
    fn the_parts_of_a_split_reference_are_found() {
        let text = "container_pull(\r\n  registry = \"gcr.io\",\r\n  repository = \"p/x\",\r\n  digest = \"sha256:12\",\r\n)\r\n";
        let pattern = r#"registry = "(?<registry>[^"]*)",\s+repository = "(?<repository>[^"]*)",\s+digest = "(?<digest>[^"]*)""#;
        let pattern = PinPattern::new(pattern, None).unwrap();
        let scanner = Scanner::new([], []);
        let found = pattern.matches(text.as_bytes(), &scanner);
        let [matched] = found.as_slice() else { panic!("{}", found.len()) };
        assert_eq!((matched.line, matched.repository.as_deref()), (2, Some("gcr.io/p/x")));
        let mention = matched.mention.as_ref().unwrap();
        assert_eq!(&text[mention.malformed.clone().unwrap()], "sha256:12");
        assert_eq!(mention.repository.to_string(), "gcr.io/p/x");
    }
}
