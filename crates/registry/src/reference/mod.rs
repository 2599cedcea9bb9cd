//! References to images in registries.

mod host;
mod repository;
mod tag;

use std::fmt;
use std::str::FromStr;

pub use host::RegistryHost;
pub use repository::{Repository, RepositoryName};
pub use tag::Tag;

use crate::digest::Digest;
use crate::text::serde_as_text;

/// A reference, `host/repository[:tag][@digest]`.
///
/// Read by Docker's rules (see [`Repository`]), but nothing is invented: what has neither tag nor
/// digest stays so until [`or_latest`](Self::or_latest) is called. Displayed in full.
///
/// ```
/// use dockit_registry::Reference;
///
/// let reference: Reference = "debian:bookworm-slim".parse()?;
/// assert_eq!(reference.to_string(), "docker.io/library/debian:bookworm-slim");
/// assert_eq!(reference.familiar(), "debian:bookworm-slim");
/// # Ok::<(), dockit_registry::ReferenceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// Text that is no reference, or no part of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} {text:?} {rule}")]
pub struct ReferenceError {
    part: &'static str,
    text: String,
    rule: &'static str,
}

impl ReferenceError {
    fn new(part: &'static str, text: &str, rule: &'static str) -> Self {
        Self { part, text: text.to_owned(), rule }
    }
}

impl Reference {
    /// A reference of these parts.
    pub fn new(repository: Repository, tag: Option<Tag>, digest: Option<Digest>) -> Self {
        Self { repository, tag, digest }
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, where one is written.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, where one is written. It decides what the reference points to.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The tag, or `latest` where none is written.
    pub fn tag_or_latest(&self) -> Tag {
        self.tag.clone().unwrap_or_else(Tag::latest)
    }

    /// The same reference, with the tag `latest` if it has neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(Tag::latest());
        }
        self
    }

    /// The same repository and digest with this tag.
    #[must_use]
    pub fn with_tag(&self, tag: Tag) -> Self {
        Self { tag: Some(tag), ..self.clone() }
    }

    /// The same repository and tag with this digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The shortest text that is read as this reference.
    pub fn familiar(&self) -> String {
        self.text(&self.repository.familiar())
    }

    fn text(&self, repository: &str) -> String {
        let mut text = repository.to_owned();
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag.as_str());
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let parsed = digest.parse().map_err(|_| {
                    ReferenceError::new(
                        "digest",
                        digest,
                        "must be \"sha256:\" and 64 lowercase hex digits, or \"sha512:\" and 128",
                    )
                })?;
                (rest, Some(parsed))
            }
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.parse()?)),
            _ => (rest, None),
        };
        if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ReferenceError::new(
                "name",
                name,
                "is an image ID, which Docker never reads as a repository",
            ));
        }
        Ok(Self { repository: name.parse()?, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text(&self.repository.to_string()))
    }
}

serde_as_text!(Reference);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn references_have_optional_tags_and_digests() {
        for (text, full) in [
            ("debian".to_owned(), "docker.io/library/debian".to_owned()),
            ("debian:12".into(), "docker.io/library/debian:12".into()),
            ("localhost:5000/a/b".into(), "localhost:5000/a/b".into()),
            ("localhost:5000/a/b:c".into(), "localhost:5000/a/b:c".into()),
            ("localhost:5000".into(), "docker.io/library/localhost:5000".into()),
            (format!("a@sha256:{HEX}"), format!("docker.io/library/a@sha256:{HEX}")),
            (format!("q.io/a:t@sha256:{HEX}"), format!("q.io/a:t@sha256:{HEX}")),
            ("[::1]:5000/a:t".into(), "[::1]:5000/a:t".into()),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar().parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn what_is_no_reference_says_which_part_is_wrong() {
        for (text, part) in [
            ("", "name component \"\""),
            ("Debian", "name component \"Debian\""),
            ("debian:", "tag \"\""),
            ("debian@", "digest \"\""),
            ("debian@sha256:12", "digest \"sha256:12\""),
            ("a@b@c", "digest \"b@c\""),
            ("a b", "name component \"a b\""),
            ("ghcr.io/", "name component \"\""),
            ("gh_cr.io/a", "host \"gh_cr.io\""),
            (HEX, "name"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.starts_with(part), "{text}: {error}");
        }
    }

    #[test]
    fn latest_is_only_added_where_nothing_is_written() {
        let or_latest = |text: &str| text.parse::<Reference>().unwrap().or_latest().familiar();
        assert_eq!(or_latest("debian"), "debian:latest");
        assert_eq!(or_latest("debian:12"), "debian:12");
        let pinned = format!("debian@sha256:{HEX}");
        assert_eq!(or_latest(&pinned), pinned);
        let bare: Reference = "debian".parse().unwrap();
        assert_eq!((bare.tag(), bare.tag_or_latest().as_str()), (None, "latest"));
    }

    proptest! {
        #[test]
        fn full_and_familiar_text_are_read_back(
            host in prop_oneof![Just("t/"), Just("localhost/"), Just("docker.io/"), Just("q.io:80/")],
            name in "[a-z0-9]{1,4}(([._]|__|-{1,2})[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,3}){0,2}",
            tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9._-]{0,8}"),
        ) {
            let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
            let reference: Reference = format!("{host}{name}{tag}").parse().unwrap();
            prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
            prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Reference>();
        }
    }
}
