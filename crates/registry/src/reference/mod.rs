//! References to images in registries.

mod host;
mod repository;
mod tag;

use std::fmt;
use std::str::FromStr;

pub use host::RegistryHost;
pub use repository::{Repository, RepositoryName};
pub use tag::Tag;

use host::written_layout;
use serde::de::{Deserialize as _, Deserializer, Error as _};

use crate::digest::Digest;
use crate::text::serde_as_text;

/// A reference, `host/repository[:tag][@digest]`; in a layout, `oci:DIR:NAME[:TAG][@DIGEST]`.
///
/// Read by Docker's rules (see [`Repository`]), but nothing is invented: what has neither tag nor
/// digest stays so until [`or_latest`](Self::or_latest) is called. Displayed in full.
/// The form of layouts is read by [`from_written`](Self::from_written) alone: as the text of a reference,
/// `oci:latest` is an image of Docker Hub.
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

    /// Reads what [`Display`](fmt::Display) wrote, also of a reference into a layout.
    ///
    /// # Errors
    ///
    /// The text is no reference.
    pub fn from_written(text: &str) -> Result<Self, ReferenceError> {
        let Some(rest) = written_layout(text) else {
            return text.parse();
        };
        // A directory may hold an "@": what follows the last one need not be a digest.
        let (rest, digest) = rest
            .rsplit_once('@')
            .and_then(|(rest, digest)| Some((rest, Some(digest.parse().ok()?))))
            .unwrap_or((rest, None));
        let (directory, named) = rest.split_once(':').ok_or_else(|| {
            ReferenceError::new("reference", text, "must be \"oci:DIR:NAME:TAG\" in a layout")
        })?;
        let (name, tag) = match named.split_once(':') {
            Some((name, tag)) => (name, Some(tag.parse()?)),
            None => (named, None),
        };
        let repository = Repository::new(RegistryHost::in_layout(directory)?, name.parse()?)?;
        Ok(Self { repository, tag, digest })
    }

    /// Deserializes what serialization wrote, also of a reference into a layout: for files that dockit
    /// itself writes. Others cannot name a directory of this machine.
    ///
    /// # Errors
    ///
    /// There is no text, or it is no reference.
    pub fn deserialize_written<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_written(&text).map_err(D::Error::custom)
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

fn digest_of(text: &str) -> Result<Digest, ReferenceError> {
    let rule = "must be \"sha256:\" and 64 lowercase hex digits, or \"sha512:\" and 128";
    text.parse().map_err(|_| ReferenceError::new("digest", text, rule))
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest_of(digest)?)),
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
    fn references_into_layouts_are_read_only_where_they_were_written() {
        for (text, directory, name, tag, with_digest) in [
            ("oci:out:team/app:1.0", "out", "team/app", Some("1.0"), false),
            ("oci:.dockit/images:app", ".dockit/images", "app", None, false),
            ("oci:/a/B c:app:t@DIGEST", "/a/B c", "app", Some("t"), true),
            ("oci:me@home:app:t", "me@home", "app", Some("t"), false),
            ("oci:me@home:app@DIGEST", "me@home", "app", None, true),
        ] {
            let text = text.replace("DIGEST", &format!("sha256:{HEX}"));
            let reference = Reference::from_written(&text).unwrap();
            let repository = reference.repository();
            assert_eq!(repository.host().layout(), Some(std::path::Path::new(directory)));
            assert_eq!(repository.name().as_str(), name);
            assert_eq!(reference.tag().map(Tag::as_str), tag);
            assert_eq!(reference.digest().is_some(), with_digest);
            assert_eq!((reference.to_string(), reference.familiar()), (text.clone(), text.clone()));
            assert_ne!(text.parse().ok(), Some(reference.clone()), "{text}");
            let text = repository.to_string();
            assert_eq!(&Repository::from_written(&text).unwrap(), repository);
        }
        for text in
            ["oci:latest", "oci:out:", "oci::app:t", "oci:out:App:t", "oci:out:a:t@sha256:1"]
        {
            assert!(Reference::from_written(text).is_err(), "{text}");
        }
        // An image of Docker Hub, as its Display does not write it; and a host that is called so.
        let hub: Reference = "oci:latest".parse().unwrap();
        assert_eq!(hub.to_string(), "docker.io/library/oci:latest");
        let host: Reference = "oci:5000/a:t".parse().unwrap();
        assert_eq!(Reference::from_written("oci:5000/a:t").unwrap(), host);
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
        fn what_lies_in_a_layout_is_read_as_it_was_written(
            directory in "[a-zA-Z0-9@./ -]{1,12}",
            name in "[a-z0-9]{1,4}(/[a-z0-9]{1,3}){0,2}",
            tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9._-]{0,8}"),
            with_digest in any::<bool>(),
        ) {
            let host = RegistryHost::in_layout(&directory).unwrap();
            let repository = Repository::new(host, name.parse().unwrap()).unwrap();
            let tag = tag.map(|tag| tag.parse().unwrap());
            let digest = with_digest.then(|| Digest::of(b"x"));
            let reference = Reference::new(repository.clone(), tag, digest);
            prop_assert_eq!(Reference::from_written(&reference.to_string()), Ok(reference));
            prop_assert_eq!(Repository::from_written(&repository.to_string()), Ok(repository));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Reference>();
            let _ = Reference::from_written(&text);
            let _ = Reference::from_written(&format!("oci:{text}"));
        }
    }
}
