//! When and from what an image was built: the annotations of the document that hangs on it.

use std::collections::BTreeMap;

use dockit_registry::manifest::{Descriptor, Manifest};
use dockit_registry::{Digest, Error, Registry, Repository};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::publish::{ARTIFACT_TYPE, MAX_MANIFEST_SIZE};

pub(super) const CREATED: &str = "org.opencontainers.image.created";
const REVISION: &str = "org.opencontainers.image.revision";
const VERSION: &str = "dev.dockit.version";
const COMMITTED: &str = "dev.dockit.revision-time";
const STARTED: &str = "dev.dockit.build-started";
const SECONDS: &str = "dev.dockit.build-seconds";
const REPLACED: &str = "dev.dockit.replaced";

/// How many documents of one image are looked at: anybody who may push can hang more on it.
const MAX_CANDIDATES: usize = 8;

/// When and from what an image was built. Every time is to the second, in UTC.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// When the document was written.
    pub created: Option<OffsetDateTime>,
    /// The version of dockit that wrote it.
    pub version: Option<String>,
    /// The source revision, if there is one and the files that git tracks are as it says.
    pub revision: Option<String>,
    /// When that revision was committed.
    pub committed: Option<OffsetDateTime>,
    /// When the build began.
    pub started: Option<OffsetDateTime>,
    /// How many seconds the build took.
    pub seconds: Option<f64>,
    /// What the content tag was on before, if it was moved to this image.
    pub replaced: Option<Digest>,
}

impl Origin {
    /// Written now, by this version.
    pub fn now() -> Self {
        Self {
            created: Some(OffsetDateTime::now_utc()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            ..Self::default()
        }
    }

    pub(crate) fn annotations(&self) -> impl Iterator<Item = (&'static str, String)> {
        let time = |time: Option<OffsetDateTime>| time.and_then(rfc3339);
        [
            (CREATED, time(self.created)),
            (VERSION, self.version.clone()),
            (REVISION, self.revision.clone()),
            (COMMITTED, time(self.committed)),
            (STARTED, time(self.started)),
            (SECONDS, self.seconds.map(|seconds| format!("{seconds:.3}"))),
            (REPLACED, self.replaced.as_ref().map(Digest::to_string)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// What annotations say; what cannot be read in them is not there.
    pub(crate) fn read(annotations: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| annotations.get(name).cloned();
        let time = |name: &str| OffsetDateTime::parse(annotations.get(name)?, &Rfc3339).ok();
        Self {
            created: time(CREATED),
            version: text(VERSION),
            revision: text(REVISION),
            committed: time(COMMITTED),
            started: time(STARTED),
            seconds: text(SECONDS).and_then(|seconds| seconds.parse().ok()),
            replaced: text(REPLACED).and_then(|digest| digest.parse().ok()),
        }
    }
}

/// A time in UTC to the second, such as `2026-11-21T08:15:00Z`; none beyond the year 9999.
pub fn rfc3339(time: OffsetDateTime) -> Option<String> {
    let whole = time.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).ok()?;
    whole.format(&Rfc3339).ok()
}

/// What the documents that hang on an image say about when and from what it was built, the newest first.
/// Several may: an image that was built again from the same inputs can have the same bytes. At most
/// eight are looked at. Nothing here can be checked: whoever may push can write anything.
///
/// # Errors
///
/// The registry did not answer. What is no document of dockit is left out.
pub async fn origins(
    registry: &dyn Registry,
    repository: &Repository,
    image: &Digest,
) -> Result<Vec<Origin>, Error> {
    let all = annotations(registry, repository, image, ARTIFACT_TYPE, |_| true).await?;
    Ok(all.iter().map(Origin::read).collect())
}

/// The annotations of artifacts of one type that hang on an image, the newest first, at most eight. What
/// a list says about one can be enough to leave it out (`is_meant`).
pub(crate) async fn annotations(
    registry: &dyn Registry,
    repository: &Repository,
    image: &Digest,
    artifact_type: &str,
    is_meant: impl Fn(&BTreeMap<String, String>) -> bool,
) -> Result<Vec<BTreeMap<String, String>>, Error> {
    let mut candidates = registry.referrers(repository, image, Some(artifact_type)).await?;
    // Lists need not repeat the annotations of what they list.
    let says = |entry: &Descriptor| entry.annotations.contains_key(CREATED);
    candidates.retain(|entry| !says(entry) || is_meant(&entry.annotations));
    let created = |entry: &Descriptor| entry.annotations.get(CREATED).cloned();
    candidates.sort_by_key(|entry| std::cmp::Reverse(created(entry)));
    let mut found = Vec::new();
    for candidate in candidates.into_iter().take(MAX_CANDIDATES) {
        if says(&candidate) {
            found.push(candidate.annotations);
        } else if candidate.size <= MAX_MANIFEST_SIZE {
            let reference = repository.with_digest(candidate.digest);
            if let Ok(Manifest::Image(manifest)) = registry.manifest(&reference).await?.parse() {
                found.push(manifest.annotations);
            }
        }
    }
    found.retain(is_meant);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_say_what_they_were_made_from() {
        let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
        let origin = Origin {
            created: time(1_800_000_000),
            version: Some("0.1.0".to_owned()),
            revision: Some("a".repeat(40)),
            committed: time(1_700_000_000),
            started: time(1_799_999_000),
            seconds: Some(12.5),
            replaced: Some(Digest::of(b"the old one")),
        };
        let annotations =
            origin.annotations().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(Origin::read(&annotations), origin);
        assert_eq!(annotations[COMMITTED], "2023-11-14T22:13:20Z");
        let wrong = BTreeMap::from([(CREATED.to_owned(), "yesterday".to_owned())]);
        assert_eq!(Origin::read(&wrong), Origin::default());
        assert_eq!(Origin::default().annotations().count(), 0);
    }
}
