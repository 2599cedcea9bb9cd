//! References to images in OCI layouts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::digest::Digest;
use crate::reference::{RepositoryName, Tag};

/// Where an image is in an OCI image layout, written `oci:DIR[:NAME][@DIGEST]`, as skopeo writes it.
///
/// The name is what the layout's `index.json` has as `org.opencontainers.image.ref.name`, whole: mostly
/// `NAME:TAG`, but other tools write a tag alone or a full reference. The directory holds no colon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutReference {
    directory: PathBuf,
    name: Option<LayoutName>,
    digest: Option<Digest>,
}

/// The name of an image in a layout (image spec, *Pre-Defined Annotation Keys*): letters and digits,
/// separated by characters of `-._:@/+` and `--`; at most 1,024 characters. Like a tag, it may also end in
/// `-`, `.` or `_`, which skopeo does not read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutName(String);

/// Text that is no reference to an image in a layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {rule}")]
pub struct LayoutReferenceError {
    text: String,
    rule: &'static str,
}

impl LayoutReferenceError {
    fn new(text: &str, rule: &'static str) -> Self {
        Self { text: text.to_owned(), rule }
    }
}

const LONGEST_NAME: usize = 1024;

impl LayoutName {
    /// The name of a tag of a repository, as skopeo and podman read it.
    pub fn of_tag(repository: &RepositoryName, tag: &Tag) -> Self {
        Self(format!("{repository}:{tag}"))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LayoutName {
    type Err = LayoutReferenceError;

    fn from_str(text: &str) -> Result<Self, LayoutReferenceError> {
        let word = |byte: &u8| byte.is_ascii_alphanumeric();
        let between = |byte: &u8| b"-._:@/+".contains(byte);
        let bytes = text.as_bytes();
        let valid = bytes.len() <= LONGEST_NAME
            && bytes.first().is_some_and(word)
            && bytes.last().is_some_and(|last| word(last) || b"-._".contains(last))
            && bytes.iter().all(|byte| word(byte) || *byte == b'_' || between(byte));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            let rule = "is no name of an image in a layout: letters and digits, with any of \
                        \"-._:@/+\" between them";
            Err(LayoutReferenceError::new(text, rule))
        }
    }
}

impl fmt::Display for LayoutName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl LayoutReference {
    /// How such references begin.
    pub const PREFIX: &str = "oci:";

    /// A reference of these parts. Without name and digest it means the layout's only image.
    pub fn new(directory: PathBuf, name: Option<LayoutName>, digest: Option<Digest>) -> Self {
        Self { directory, name, digest }
    }

    /// The layout's directory, as it was written.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The image's name, where one is written.
    pub fn name(&self) -> Option<&LayoutName> {
        self.name.as_ref()
    }

    /// The digest, where one is written. It decides what the reference points to.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same reference, its directory taken as relative to `base`.
    #[must_use]
    pub fn relative_to(mut self, base: &Path) -> Self {
        self.directory = base.join(self.directory);
        self
    }
}

impl FromStr for LayoutReference {
    type Err = LayoutReferenceError;

    fn from_str(text: &str) -> Result<Self, LayoutReferenceError> {
        let rest = text.strip_prefix(Self::PREFIX).ok_or_else(|| {
            LayoutReferenceError::new(text, "is no layout: expected oci:DIR[:NAME][@DIGEST]")
        })?;
        // A directory may hold an "@", and so may a name: what follows the last one is a digest if it
        // looks like one.
        let (rest, digest) = match rest.rsplit_once('@') {
            Some((before, digest)) if digest.starts_with("sha") && digest.contains(':') => {
                let digest = digest.parse().map_err(|_| {
                    LayoutReferenceError::new(text, "has a digest that is none at its end")
                })?;
                (before, Some(digest))
            }
            _ => (rest, None),
        };
        let (directory, name) = match rest.split_once(':') {
            Some((directory, name)) => (directory, Some(name.parse()?)),
            None => (rest, None),
        };
        if directory.is_empty() || directory.contains('\0') {
            return Err(LayoutReferenceError::new(text, "names no directory"));
        }
        Ok(Self { directory: directory.into(), name, digest })
    }
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", Self::PREFIX, self.directory.display())?;
        if let Some(name) = &self.name {
            write!(formatter, ":{name}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_skopeo_reads_them() {
        let digest = Digest::of(b"x");
        for (text, directory, name, with_digest) in [
            ("oci:out", "out", None, false),
            ("oci:/a/b c:app", "/a/b c", Some("app"), false),
            ("oci:out:team/app:1.0", "out", Some("team/app:1.0"), false),
            ("oci:out:app:1.0@DIGEST", "out", Some("app:1.0"), true),
            ("oci:out@DIGEST", "out", None, true),
            ("oci:me@home:app", "me@home", Some("app"), false),
        ] {
            let text = text.replace("DIGEST", digest.as_str());
            let reference: LayoutReference = text.parse().unwrap();
            assert_eq!(reference.directory(), Path::new(directory), "{text}");
            assert_eq!(reference.name().map(LayoutName::as_str), name, "{text}");
            assert_eq!(reference.digest().is_some(), with_digest, "{text}");
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for text in ["out:app", "oci:", "oci::app", "oci:out:", "oci:out:-a", "oci:out@sha256:1"] {
            assert!(text.parse::<LayoutReference>().is_err(), "{text}");
        }
        assert!("a".repeat(1025).parse::<LayoutName>().is_err());
    }
}
