//! Moving tags as they are configured: text with placeholders.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use dockit_registry::{Digest, Tag};

use crate::config::nearest;
use crate::key::{ImageKey, KEY_VERSION};
use crate::tag_prefix::TagPrefix;

/// Most characters of a tag (distribution spec, *Pulling manifests*).
const MAX_LENGTH: usize = 128;

/// Characters that are left of a value that is cut, at least: some of it, a hyphen, and its hash.
const SHORTEST_CUT: usize = 8 + 1 + HASH_LENGTH;

/// Hex digits of the hash that keeps two values apart that are cut. 64 bits.
const HASH_LENGTH: usize = 16;

/// A moving tag such as `latest` or `{version}-{prefix}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagTemplate {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Text(String),
    Value(Placeholder),
}

/// What stands for a value that is known when a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Placeholder {
    /// The git branch.
    Branch,
    /// The git commit, in full.
    Commit,
    /// The project's version.
    Version,
    /// The image's `tag-prefix`.
    Prefix,
    /// What the CI service calls the run.
    Run,
    /// The day in UTC, `2026-11-21`.
    Date,
}

impl Placeholder {
    const ALL: [Self; 6] =
        [Self::Branch, Self::Commit, Self::Version, Self::Prefix, Self::Run, Self::Date];

    /// The word between the braces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Commit => "commit",
            Self::Version => "version",
            Self::Prefix => "prefix",
            Self::Run => "run",
            Self::Date => "date",
        }
    }

    /// Characters that its value has at least.
    fn shortest(self) -> usize {
        match self {
            Self::Commit => 40,
            Self::Date => 10,
            _ => 1,
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{{{}}}", self.as_str())
    }
}

/// A text that is no [`TagTemplate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidTagTemplate {
    /// What is wrong.
    pub message: String,
    /// What may be meant.
    pub suggestion: Option<String>,
}

/// Why a template is no tag with these values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoTag {
    /// It needs a value that is not there.
    Missing(Placeholder),
    /// It is too long, and nothing of it can be cut.
    TooLong,
    /// It has the form of a tag that means something else.
    Reserved,
}

impl TagTemplate {
    /// Its placeholders.
    pub fn placeholders(&self) -> BTreeSet<Placeholder> {
        self.values().collect()
    }

    /// Whether it is the same tag in every run: it has no placeholder but `{prefix}`.
    pub fn is_fixed(&self) -> bool {
        self.values().all(|placeholder| placeholder == Placeholder::Prefix)
    }

    /// The tag of an image with this prefix, if it [is fixed](Self::is_fixed).
    pub fn fixed(&self, prefix: Option<&TagPrefix>) -> Option<Tag> {
        let prefix = prefix.map(|prefix| (Placeholder::Prefix, prefix.as_str().to_owned()));
        self.expand(&prefix.into_iter().collect()).ok()
    }

    /// The tag with these values. In a value, every character that no tag may have becomes `-`, and at
    /// the beginning of the tag `_` where it may not begin so. Where the tag is too long, the longest
    /// values are cut, and end in a hash of the whole value: two that differ only behind the cut give
    /// two tags.
    pub(crate) fn expand(&self, values: &BTreeMap<Placeholder, String>) -> Result<Tag, NoTag> {
        let missing = self.values().find(|placeholder| !values.contains_key(placeholder));
        if let Some(missing) = missing {
            return Err(NoTag::Missing(missing));
        }
        let lengths = self.lengths(values)?;
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Value(placeholder) => {
                    text.push_str(&cut(&values[placeholder], lengths[placeholder]));
                }
            }
        }
        if text.starts_with(['.', '-']) {
            text.replace_range(..1, "_");
        }
        let tag: Tag = text.parse().map_err(|_| NoTag::TooLong)?;
        if is_reserved(&tag) { Err(NoTag::Reserved) } else { Ok(tag) }
    }

    /// How many characters of each value there is room for, the longest being cut first.
    fn lengths(
        &self,
        values: &BTreeMap<Placeholder, String>,
    ) -> Result<BTreeMap<Placeholder, usize>, NoTag> {
        let mut lengths: BTreeMap<Placeholder, usize> = self
            .values()
            .map(|placeholder| (placeholder, values[&placeholder].chars().count()))
            .collect();
        loop {
            let length = self.text_length()
                + self.values().map(|placeholder| lengths[&placeholder]).sum::<usize>();
            let Some(excess) = length.checked_sub(MAX_LENGTH).filter(|excess| *excess > 0) else {
                return Ok(lengths);
            };
            let (placeholder, longest) = lengths
                .iter_mut()
                .max_by_key(|(_, length)| **length)
                .filter(|(_, length)| **length > SHORTEST_CUT)
                .ok_or(NoTag::TooLong)?;
            let times = self.values().filter(|value| value == placeholder).count();
            *longest = longest.saturating_sub(excess.div_ceil(times)).max(SHORTEST_CUT);
        }
    }

    fn values(&self) -> impl Iterator<Item = Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(placeholder) => Some(*placeholder),
            Part::Text(_) => None,
        })
    }

    fn text_length(&self) -> usize {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.len(),
            Part::Value(_) => 0,
        });
        texts.sum()
    }

    /// What keeps every tag of the template from being one.
    fn check(&self) -> Result<(), String> {
        let invalid = |text: &str| text.chars().find(|character| !may_stand_in_a_tag(*character));
        let first = match self.parts.first() {
            Some(Part::Text(text)) => text.chars().next(),
            _ => None,
        };
        if let Some(first) = first.filter(|first| matches!(first, '.' | '-')) {
            return Err(format!("no tag begins with {first:?}"));
        }
        for part in &self.parts {
            if let Part::Text(text) = part
                && let Some(character) = invalid(text)
            {
                return Err(format!("no tag holds {character:?}"));
            }
        }
        let shortest = self.text_length() + self.values().map(Placeholder::shortest).sum::<usize>();
        if shortest > MAX_LENGTH {
            return Err(format!("no tag is longer than {MAX_LENGTH} characters"));
        }
        Ok(())
    }

    /// Whether it can have the form of a content tag: a value may be anything.
    fn may_be_content_tag(&self) -> bool {
        let mut digits = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => digits.push_str(text),
                // One digit, for as many as there may be.
                Part::Value(placeholder) => digits.push_str(&"0".repeat(placeholder.shortest())),
            }
        }
        let written = matches!(self.parts.first(), Some(Part::Text(text))
            if text.starts_with(KEY_VERSION) && text[KEY_VERSION.len()..].starts_with('-'));
        let hash = digits.get(KEY_VERSION.len() + 1..).unwrap_or_default();
        let is_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        let fits = if self.values().next().is_none() { hash.len() == 64 } else { hash.len() <= 64 };
        written && fits && hash.bytes().all(is_hex)
    }
}

fn may_stand_in_a_tag(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-')
}

/// A value as part of a tag, of at most so many characters.
fn cut(value: &str, length: usize) -> String {
    let clean = |text: &str| -> String {
        text.chars().map(|it| if may_stand_in_a_tag(it) { it } else { '-' }).collect()
    };
    if value.chars().count() <= length {
        return clean(value);
    }
    let kept: String = value.chars().take(length - HASH_LENGTH - 1).collect();
    let digest = Digest::of(value.as_bytes());
    let hash = digest.as_str().rsplit(':').next().unwrap_or_default();
    format!("{}-{}", clean(&kept), &hash[..HASH_LENGTH])
}

impl FromStr for TagTemplate {
    type Err = InvalidTagTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTagTemplate> {
        let invalid = |message: String| InvalidTagTemplate { message, suggestion: None };
        if !text.contains(['{', '}']) {
            text.parse::<Tag>().map_err(|error| invalid(error.to_string()))?;
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(start);
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let end = after.find('}').filter(|_| after.starts_with('{'));
            let Some(end) = end else {
                return Err(invalid(format!("tag {text:?} has a brace without its counterpart")));
            };
            let word = &after[1..end];
            let known = Placeholder::ALL.iter().find(|known| known.as_str() == word);
            let Some(placeholder) = known else {
                let words = Placeholder::ALL.map(Placeholder::as_str);
                let meant = nearest(&word.trim().to_lowercase(), words);
                return Err(InvalidTagTemplate {
                    message: format!(
                        "tag {text:?} has the unknown placeholder {{{word}}}; there are {}",
                        Placeholder::ALL.map(|known| known.to_string()).join(" ")
                    ),
                    suggestion: meant
                        .map(|meant| text.replace(&format!("{{{word}}}"), &format!("{{{meant}}}"))),
                });
            };
            parts.push(Part::Value(*placeholder));
            rest = &after[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        let template = Self { parts };
        template
            .check()
            .map_err(|reason| invalid(format!("{text:?} can never be a tag: {reason}")))?;
        if template.may_be_content_tag() {
            return Err(invalid(format!("tag {text:?} has the form of a content tag")));
        }
        Ok(template)
    }
}

impl fmt::Display for TagTemplate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => formatter.write_str(text),
            Part::Value(placeholder) => write!(formatter, "{placeholder}"),
        })
    }
}

/// Whether a tag has the form of a content tag, or begins as those do that lead to what hangs on an image
/// where a registry has no list of that (distribution spec, *Referrers Tag Schema*; cosign's too).
fn is_reserved(tag: &Tag) -> bool {
    let leads_to_referrers = tag.as_str().split_once('-').is_some_and(|(algorithm, rest)| {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        matches!(algorithm, "sha256" | "sha512") && digits >= 64
    });
    leads_to_referrers || ImageKey::is_content_tag(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str, values: &[(Placeholder, &str)]) -> Result<String, NoTag> {
        let values = values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        template.parse::<TagTemplate>().unwrap().expand(&values).map(|tag| tag.to_string())
    }

    #[test]
    fn templates_are_read_as_they_are_written() {
        for text in ["latest", "{branch}", "v{version}-{prefix}", "{date}.{run}", "k1-{version}x"] {
            assert_eq!(text.parse::<TagTemplate>().unwrap().to_string(), text);
        }
        let fixed = |text: &str| text.parse::<TagTemplate>().unwrap().is_fixed();
        assert!(fixed("latest") && fixed("{prefix}") && fixed("{prefix}-latest"));
        assert!(!fixed("{branch}") && !fixed("{prefix}-{date}"));
    }

    #[test]
    fn what_can_never_be_a_tag_says_why() {
        for (text, reason, suggestion) in [
            ("{brunch}", "unknown placeholder {brunch}", Some("{branch}")),
            ("v{Version}", "unknown placeholder {Version}", Some("v{version}")),
            ("{sha}", "there are {branch} {commit}", None),
            ("{branch", "a brace without its counterpart", None),
            ("branch}", "a brace without its counterpart", None),
            ("{{branch}}", "unknown placeholder {{branch}", Some("{branch}}")),
            ("-{branch}", "no tag begins with '-'", None),
            ("a b{branch}", "no tag holds ' '", None),
            ("ä{branch}", "no tag holds 'ä'", None),
            (&format!("{}{{date}}", "a".repeat(119)), "longer than 128", None),
            (&format!("{{commit}}{}", "a".repeat(89)), "longer than 128", None),
            ("not a tag", "must be 1 to 128", None),
            ("", "must be 1 to 128", None),
            (&format!("k1-{}", "0".repeat(64)), "form of a content tag", None),
            (&format!("k1-{}{{commit}}", "0".repeat(24)), "form of a content tag", None),
            ("k1-{branch}", "form of a content tag", None),
        ] {
            let error = text.parse::<TagTemplate>().unwrap_err();
            assert!(error.message.contains(reason), "{text}: {error}");
            if !text.starts_with("{{") {
                assert_eq!(error.suggestion.as_deref(), suggestion, "{text}");
            }
        }
        assert!(format!("{}{{date}}", "a".repeat(118)).parse::<TagTemplate>().is_ok());
    }

    #[test]
    fn values_become_what_a_tag_may_hold() {
        use Placeholder::{Branch, Prefix, Version};
        for (branch, tag) in [
            ("main", "main"),
            ("feature/a#b", "feature-a-b"),
            ("ä/x", "_-x"),
            (".x", "_x"),
            ("-x", "_x"),
            ("A_b.c-d", "A_b.c-d"),
        ] {
            assert_eq!(expand("{branch}", &[(Branch, branch)]).unwrap(), tag);
        }
        let values = [(Version, "1.0+local"), (Prefix, "cuda12")];
        assert_eq!(expand("{version}-{prefix}", &values).unwrap(), "1.0-local-cuda12");
        assert_eq!(expand("{version}-{branch}", &values).unwrap_err(), NoTag::Missing(Branch));
        let content = format!("k1-{}", "a".repeat(64));
        assert_eq!(expand("{branch}", &[(Branch, &content)]).unwrap_err(), NoTag::Reserved);
        let list = format!("sha256-{}", "a".repeat(64));
        assert_eq!(expand("{branch}", &[(Branch, &list)]).unwrap_err(), NoTag::Reserved);
        let signature = format!("sha512-{}.sig", "a".repeat(128));
        assert!(is_reserved(&signature[..128].parse().unwrap()));
        assert!(expand("{branch}", &[(Branch, "sha256-sums")]).is_ok());
    }

    #[test]
    fn two_values_that_are_cut_stay_two() {
        use Placeholder::{Branch, Commit, Run};
        let long = "b".repeat(300);
        let [one, two] = ["1", "2"].map(|end| format!("{long}{end}"));
        let tag = |template: &str, branch: &str| {
            let commit = "c".repeat(40);
            expand(template, &[(Branch, branch), (Commit, &commit), (Run, "7")]).unwrap()
        };
        for template in ["{branch}", "x-{branch}-{commit}", "{branch}.{branch}", "{branch}-{run}"] {
            let (one, two) = (tag(template, &one), tag(template, &two));
            assert_ne!(one, two, "{template}");
            assert!(one.len() <= 128 && two.len() <= 128, "{template}: {one}");
        }
        // What stands behind the value is not cut off, and what fits is not touched.
        assert!(tag("{branch}-{run}", &one).ends_with("-7"));
        assert_eq!(tag("{branch}", &long[..128]), long[..128]);
        assert_eq!(tag("{branch}", &long[..129]).len(), 128);
        // Characters, not bytes: none is cut in two.
        assert_eq!(tag("{branch}", &"ä".repeat(200)).len(), 128);
        let full = "a".repeat(110);
        let values = [(Branch, long.as_str())];
        assert_eq!(expand(&format!("{full}{{branch}}"), &values).unwrap_err(), NoTag::TooLong);
    }
}
