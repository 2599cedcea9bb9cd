//! Manifests that refer to others (distribution spec 1.1, *Listing Referrers*, *Pushing Manifests with
//! Subject*).
//!
//! A registry with the referrers API lists them itself, and says so with `OCI-Subject` when one is put.
//! For every other registry the clients keep the list: an index under the tag `sha256-<hex>` of the
//! subject (*Referrers Tag Schema*). Nothing keeps two clients from writing that index at the same
//! time, and the later one wins. So each reads it again after a while, about as long as its own read and
//! write took, and adds its entry again if it is gone. A rival that read before and writes far later
//! can still drop the entry; the manifest itself is there then, but nothing lists it.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, LINK};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::link::next_page;
use super::manifests;
use super::registry::Access;
use super::transport::{Call, Transport};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::manifest::{Descriptor, Manifest, RawManifest, media_type};
use crate::reference::{Repository, Tag};

/// Longest list that is read, in pages.
const MAX_PAGES: usize = 100;

/// Largest page, as for any manifest.
const MAX_PAGE_SIZE: u64 = 4 * 1024 * 1024;

/// How often an entry is added to an index that others write.
const ROUNDS: u32 = 8;

/// Bounds of the wait between writing the index and looking at it again.
const SETTLE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(10);

pub(super) async fn put(
    transport: &Transport,
    repository: &Repository,
    manifest: &RawManifest,
) -> Result<Digest, Error> {
    let content = manifest.parse()?;
    let Some(subject) = content.subject().cloned() else {
        return Err(Error::new(ErrorKind::Invalid, "a referrer needs a subject"));
    };
    manifests::check_size(manifest)?;
    let digest = manifest.digest();
    let path = format!("manifests/{digest}");
    let call = Call::new(Method::PUT, repository, &path, Access::PullPush)
        .header(CONTENT_TYPE, manifest.media_type())
        .body(Bytes::copy_from_slice(manifest.bytes()));
    let (confirmed, listed) = transport
        .retrying(async || {
            let reply = transport.send(&call).await?;
            if !reply.status().is_success() {
                return Err(reply.into_error().await);
            }
            let confirmed = manifests::confirms(&reply, manifest)?;
            let listed = reply.header("oci-subject");
            Ok((confirmed, listed.is_some_and(|listed| listed == subject.digest.as_str())))
        })
        .await?;
    if !confirmed {
        manifests::get(transport, &repository.with_digest(digest.clone())).await?;
    }
    if !listed {
        let entry = entry(manifest, &content);
        add_to_index(transport, repository, &subject.digest, digest, &entry).await?;
    }
    Ok(digest.clone())
}

pub(super) async fn list(
    transport: &Transport,
    repository: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
    access: Access,
) -> Result<Vec<Descriptor>, Error> {
    let all = match list_by_api(transport, repository, subject, artifact_type, access).await? {
        Some(listed) => listed,
        None => match index(transport, repository, &fallback_tag(subject)?, access).await? {
            Some((_, entries)) => entries,
            None => Vec::new(),
        },
    };
    // The filter of the API is an offer that registries need not take up.
    let of_type = |entry: &Descriptor| {
        artifact_type.is_none() || entry.artifact_type.as_deref() == artifact_type
    };
    Ok(all.into_iter().filter(of_type).collect())
}

/// `None`: the registry has no such API.
async fn list_by_api(
    transport: &Transport,
    repository: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
    access: Access,
) -> Result<Option<Vec<Descriptor>>, Error> {
    let path = format!("referrers/{subject}");
    let mut call =
        Call::new(Method::GET, repository, &path, access).header(ACCEPT, media_type::OCI_INDEX);
    if let Some(artifact_type) = artifact_type {
        call = call.query("artifactType", artifact_type);
    }
    let mut listed = Vec::new();
    for number in 0..MAX_PAGES {
        let page = transport.retrying(|| page(transport, &call)).await?;
        let (entries, next) = match page {
            Some(page) => page,
            // Only the first page tells that there is no such API.
            None if number == 0 => return Ok(None),
            None => {
                let message = format!("the list of referrers of {subject} breaks off");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        };
        listed.extend(entries);
        let Some(next) = next else {
            return Ok(Some(listed));
        };
        call = Call::new(Method::GET, repository, &path, access)
            .header(ACCEPT, media_type::OCI_INDEX)
            .at_same_origin(next);
    }
    let message = format!("more than {MAX_PAGES} pages of referrers of {subject}");
    Err(Error::new(ErrorKind::Invalid, message))
}

/// The entries of one page, and where the next one is.
type Page = (Vec<Descriptor>, Option<String>);

async fn page(transport: &Transport, call: &Call<'_>) -> Result<Option<Page>, Error> {
    let reply = transport.send(call).await?;
    let known_type = reply.media_type().as_deref() == Some(media_type::OCI_INDEX);
    match reply.status() {
        StatusCode::OK if known_type => {}
        // A web page for every path that is not known is no list.
        StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ok(None),
        _ => {
            let error = reply.into_error().await;
            return match error.kind() {
                ErrorKind::Unsupported | ErrorKind::NotFound => Ok(None),
                _ => Err(error),
            };
        }
    }
    let next = next_page(reply.all(&LINK)).map(ToOwned::to_owned);
    let reason = reply.reason();
    let bytes = reply.bytes(MAX_PAGE_SIZE).await?;
    match RawManifest::new(media_type::OCI_INDEX, bytes).parse() {
        Ok(Manifest::Index(index)) => Ok(Some((index.entries, next))),
        Ok(Manifest::Image(_)) => Err(reason.error(ErrorKind::Invalid, "not a list of referrers")),
        Err(error) => Err(reason.error(error.kind().clone(), error.to_string())),
    }
}

/// The tag under which clients list the referrers of a manifest.
fn fallback_tag(subject: &Digest) -> Result<Tag, Error> {
    // A tag has at most 128 characters: of a longer digest, only the first 64 digits go into it.
    let hex = &subject.hex()[..subject.hex().len().min(64)];
    format!("{}-{hex}", subject.algorithm())
        .parse()
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("{subject}: {error}")))
}

/// The index under a tag, whole, and its entries; `None` if there is none.
async fn index(
    transport: &Transport,
    repository: &Repository,
    tag: &Tag,
    access: Access,
) -> Result<Option<(Value, Vec<Descriptor>)>, Error> {
    let reference = repository.with_tag(tag.clone());
    let raw = match manifests::get_as(transport, &reference, access).await {
        Ok(raw) => raw,
        Err(error) if *error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let invalid = |message: &str| Error::new(ErrorKind::Invalid, format!("{reference}: {message}"));
    let Manifest::Index(index) = raw.parse()? else {
        return Err(invalid("an image has the tag that lists referrers"));
    };
    let value = serde_json::from_slice(raw.bytes()).map_err(|error| invalid(&error.to_string()))?;
    Ok(Some((value, index.entries)))
}

/// What lists of referrers hold of a manifest.
fn entry(manifest: &RawManifest, content: &Manifest) -> Value {
    let mut entry = json!({
        "mediaType": manifest.media_type(),
        "digest": manifest.digest().as_str(),
        "size": manifest.bytes().len(),
    });
    if let Some(artifact_type) = content.type_as_referrer() {
        entry["artifactType"] = artifact_type.into();
    }
    if !content.annotations().is_empty() {
        entry["annotations"] = json!(content.annotations());
    }
    entry
}

async fn add_to_index(
    transport: &Transport,
    repository: &Repository,
    subject: &Digest,
    digest: &Digest,
    entry: &Value,
) -> Result<(), Error> {
    let tag = fallback_tag(subject)?;
    let mut longest = Duration::ZERO;
    for round in 0..=ROUNDS {
        let start = Instant::now();
        let found = index(transport, repository, &tag, Access::PullPush).await?;
        let listed = found
            .as_ref()
            .is_some_and(|(_, entries)| entries.iter().any(|entry| entry.digest == *digest));
        if listed {
            return Ok(());
        }
        if round == ROUNDS {
            break;
        }
        // What others wrote stays as it is, with fields that are not known here.
        let mut index = found.map_or_else(
            || json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": []}),
            |(index, _)| index,
        );
        if let Some(entries) = index["manifests"].as_array_mut() {
            entries.push(entry.clone());
        }
        let media_type = index["mediaType"].as_str().unwrap_or(media_type::OCI_INDEX).to_owned();
        let raw = RawManifest::new(media_type, index.to_string());
        manifests::put(transport, repository, &tag, &raw).await?;
        longest = longest.max(start.elapsed());
        // Rivals wait differently long, and longer with every round.
        let settle = longest.clamp(*SETTLE.start(), *SETTLE.end());
        tokio::time::sleep(settle.mul_f64(1.0 + f64::from(round + 1) * random_fraction())).await;
    }
    let message = format!(
        "{}: others write the list of referrers all the time, and drop {digest} from it",
        repository.with_tag(tag)
    );
    Err(Error::new(ErrorKind::Invalid, message))
}

fn random_fraction() -> f64 {
    // The standard library's only source of randomness; enough to keep clients apart.
    RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_a_long_digest_is_short_enough() {
        let digest: Digest = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
        assert_eq!(fallback_tag(&digest).unwrap().as_str(), format!("sha512-{}", "ab".repeat(32)));
        let digest = Digest::of(b"");
        assert_eq!(fallback_tag(&digest).unwrap().as_str(), format!("sha256-{}", digest.hex()));
    }
}
