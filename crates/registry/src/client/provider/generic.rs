//! Registries of which nothing is known but that they follow the distribution spec.

use std::time::SystemTime;

use futures_util::TryStreamExt as _;
use futures_util::stream::{BoxStream, StreamExt as _};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::looked_up::looked_up;
use super::{At, Provider};
use crate::client::listing::{ListEntry, ListedTime, TimeSource};
use crate::client::registry::Access;
use crate::client::{blob, lists, manifests};
use crate::error::{Error, ErrorKind};
use crate::manifest::{Descriptor, Manifest, RawManifest};
use crate::provider::ProviderKind;
use crate::reference::Tag;

/// Tags that are looked at at a time.
const AT_A_TIME: usize = 8;

/// Largest config that is read for its time, in bytes.
const MAX_CONFIG_SIZE: u64 = 1024 * 1024;

/// The annotation with the time at which an image was made (image spec, *Annotations*).
const CREATED: &str = "org.opencontainers.image.created";

pub(super) struct Generic;

impl Provider for Generic {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Generic
    }
}

/// Every tag with the digest it is on, which takes three requests for each: the spec's lists hold names
/// alone. The only time there is comes from whoever built the image. Manifests without a tag are not
/// listed by such registries at all.
pub(super) fn entries<'a>(at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
    let tags = lists::tags(at.transport, at.repository);
    let lookup = move |tag| {
        let owned = at.owned();
        async move { entry(owned.at(), tag).await }
    };
    looked_up(tags, AT_A_TIME, lookup).try_filter_map(async |entry| Ok(entry)).boxed()
}

/// Nothing if the tag has gone meanwhile.
pub(super) async fn entry(at: At<'_>, tag: Tag) -> Result<Option<ListEntry>, Error> {
    let reference = at.repository.with_tag(tag.clone());
    let raw = match manifests::get(at.transport, &reference).await {
        Ok(raw) => raw,
        Err(error) if *error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut entry = ListEntry::new(Some(tag), raw.digest().clone());
    entry.media_type = Some(raw.media_type().to_owned());
    let manifest = raw.parse()?;
    if let Manifest::Image(_) = &manifest {
        entry.size = Some(manifest.blobs().map(|blob| blob.size).sum());
    }
    let at = created(at, &raw, &manifest).await?;
    entry.time = at.map(|at| ListedTime { at, source: TimeSource::ConfigCreated });
    Ok(Some(entry))
}

/// When the image was made, as its builder says.
async fn created(
    at: At<'_>,
    raw: &RawManifest,
    manifest: &Manifest,
) -> Result<Option<SystemTime>, Error> {
    let said = manifest.annotations().get(CREATED);
    if let Some(time) = said.and_then(|text| parse_time(text)) {
        return Ok(Some(time));
    }
    let config = match manifest {
        Manifest::Image(image) => Some(image.config.clone()),
        Manifest::Index(index) => match index.entries.first() {
            Some(first) => config_of(at, first).await?,
            None => None,
        },
    };
    let Some(config) = config.filter(|config| config.size <= MAX_CONFIG_SIZE) else {
        return Ok(None);
    };
    #[derive(Deserialize)]
    struct Config {
        created: Option<String>,
    }
    let bytes = blob::read::get(at.transport, at.repository, &config.digest, MAX_CONFIG_SIZE);
    let bytes = match bytes.await {
        Ok(bytes) => bytes,
        Err(error) => {
            // The image is damaged, which a list need not fail for.
            let digest = raw.digest();
            tracing::warn!(repository = %at.repository, %digest, %error, "no config");
            return Ok(None);
        }
    };
    // What is no image has other configs.
    let config = serde_json::from_slice::<Config>(&bytes).ok();
    Ok(config.and_then(|config| config.created).and_then(|text| parse_time(&text)))
}

/// The config of one image of an index.
async fn config_of(at: At<'_>, image: &Descriptor) -> Result<Option<Descriptor>, Error> {
    let reference = at.repository.with_digest(image.digest.clone());
    let raw = match manifests::get_as(at.transport, &reference, Access::Pull).await {
        Ok(raw) => raw,
        Err(error) if *error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(match raw.parse()? {
        Manifest::Image(image) => Some(image.config),
        Manifest::Index(_) => None,
    })
}

/// A time as vendors' APIs write it (RFC 3339).
pub(super) fn parse_time(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}
