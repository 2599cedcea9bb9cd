//! Repositories, and their names.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize as _, Deserializer, Error as _};

use super::host::written_layout;
use super::{Reference, ReferenceError, RegistryHost, Tag};
use crate::digest::Digest;
use crate::text::serde_as_text;

/// Longest `host/name`, as Docker counts it.
const MAX_LENGTH: usize = 255;

/// The name of a repository within its registry, such as `library/debian`.
///
/// Components of lowercase letters and digits, in which single `.`, `_`, `__` and any number of `-`
/// separate; joined by `/` (distribution spec, *Pulling manifests*).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        for component in text.split('/') {
            if !valid_component(component) {
                return Err(ReferenceError::new(
                    "name component",
                    component,
                    "must be lowercase letters and digits, joined by \".\", \"_\", \"__\" or dashes",
                ));
            }
        }
        if text.len() > MAX_LENGTH {
            return Err(ReferenceError::new("name", text, "has more than 255 characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

fn valid_component(component: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().is_some_and(word) || !bytes.last().is_some_and(word) {
        return false;
    }
    bytes.split(word).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
    })
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A repository of a registry, written `host/name`.
///
/// It is read as Docker reads it: the first component is a host if it holds a `.` or a `:` or is
/// `localhost`; without a host, it is Docker Hub's, where a single component means `library/`.
/// It is always displayed in full.
///
/// One in a layout is displayed as `oci:DIR:NAME`, which only [`from_written`](Self::from_written)
/// reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    host: RegistryHost,
    name: RepositoryName,
}

impl Repository {
    /// A repository of this host. On Docker Hub, a single component is put under `library/`.
    ///
    /// # Errors
    ///
    /// Host and name are longer than 255 characters together. A layout's directory does not count.
    pub fn new(host: RegistryHost, name: RepositoryName) -> Result<Self, ReferenceError> {
        let name = if host.is_docker_hub() && !name.0.contains('/') {
            RepositoryName(format!("library/{name}"))
        } else {
            name
        };
        if host.layout().is_none() && host.as_str().len() + 1 + name.0.len() > MAX_LENGTH {
            return Err(ReferenceError::new(
                "name",
                &name.0,
                "has more than 255 characters with its host",
            ));
        }
        Ok(Self { host, name })
    }

    /// Reads what [`Display`](fmt::Display) wrote, also of a repository in a layout.
    ///
    /// # Errors
    ///
    /// The text is no repository.
    pub fn from_written(text: &str) -> Result<Self, ReferenceError> {
        let Some(rest) = written_layout(text) else {
            return text.parse();
        };
        let (directory, name) = rest.split_once(':').ok_or_else(|| {
            ReferenceError::new("repository", text, "must be \"oci:DIR:NAME\" in a layout")
        })?;
        Self::new(RegistryHost::in_layout(directory)?, name.parse()?)
    }

    /// Deserializes what serialization wrote, also of a repository in a layout: for files that dockit
    /// itself writes. Others cannot name a directory of this machine.
    ///
    /// # Errors
    ///
    /// There is no text, or it is no repository.
    pub fn deserialize_written<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_written(&text).map_err(D::Error::custom)
    }

    /// The registry's host, or the layout.
    pub fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// The name within the registry.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// What this tag points to.
    pub fn with_tag(&self, tag: Tag) -> Reference {
        Reference::new(self.clone(), Some(tag), None)
    }

    /// The manifest with this digest.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference::new(self.clone(), None, Some(digest))
    }

    /// The shortest text that is read as this repository: `debian` for `docker.io/library/debian`.
    pub fn familiar(&self) -> String {
        if !self.host.is_docker_hub() {
            return self.to_string();
        }
        let name = self.name.as_str();
        match name.strip_prefix("library/") {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ if names_a_host(name) => self.to_string(),
            _ => name.to_owned(),
        }
    }
}

/// Docker's rule for a first component that is a host and no part of a name.
fn names_a_host(text: &str) -> bool {
    text.split_once('/')
        .is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text.split_once('/') {
            Some((host, name)) if names_a_host(text) => Self::new(host.parse()?, name.parse()?),
            _ => Self::new(RegistryHost::docker_hub(), text.parse()?),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.host.layout().is_some() { ':' } else { '/' };
        write!(formatter, "{}{separator}{}", self.host, self.name)
    }
}

serde_as_text!(RepositoryName, Repository);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_distribution_spec() {
        for valid in ["a", "a/b/c", "a.b", "a_b", "a__b", "a---b", "0", "a-b.c_d/e"] {
            assert!(valid.parse::<RepositoryName>().is_ok(), "{valid}");
        }
        for invalid in
            ["", "/a", "a/", "a//b", "A", "a..b", "a___b", "a._b", "-a", "a-", "a:b", "a b"]
        {
            assert!(invalid.parse::<RepositoryName>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn short_names_are_read_as_docker_reads_them() {
        for (text, full, familiar) in [
            ("debian", "docker.io/library/debian", "debian"),
            ("library/debian", "docker.io/library/debian", "debian"),
            ("team/app", "docker.io/team/app", "team/app"),
            ("docker.io/debian", "docker.io/library/debian", "debian"),
            ("index.docker.io/team/app", "docker.io/team/app", "team/app"),
            ("localhost/app", "localhost/app", "localhost/app"),
            ("localhost:5000/app", "localhost:5000/app", "localhost:5000/app"),
            ("ghcr.io/team/app", "ghcr.io/team/app", "ghcr.io/team/app"),
            ("docker.io/a.b/app", "docker.io/a.b/app", "docker.io/a.b/app"),
            ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ] {
            let repository: Repository = text.parse().unwrap();
            assert_eq!(
                (repository.to_string(), repository.familiar()),
                (full.into(), familiar.into())
            );
            assert_eq!(repository.familiar().parse::<Repository>().unwrap(), repository);
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        assert!(format!("ghcr.io/{}", "a".repeat(247)).parse::<Repository>().is_ok());
        assert!(format!("ghcr.io/{}", "a".repeat(248)).parse::<Repository>().is_err());
        assert!("a".repeat(256).parse::<RepositoryName>().is_err());
    }
}
