//! Lists of tags, which hold digests, sizes, times and the names below as well. Google's tools read them
//! so; they end at ten thousand images or tags (*Quotas and limits*).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use futures_util::{TryFutureExt as _, future};
use reqwest::header::LINK;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::api;
use super::place::Place;
use crate::client::link::next_page;
use crate::client::listing::{ListEntry, ListedTime, TimeSource};
use crate::client::lists;
use crate::client::manifests::{self, Answer, absent};
use crate::client::provider::At;
use crate::client::provider::looked_up::looked_up;
use crate::client::registry::Access;
use crate::client::transport::{Call, Transport};
use crate::error::{Error, ErrorKind};
use crate::reference::{RegistryHost, Repository, RepositoryName, Tag};

/// Most images or tags that a list holds.
const LIMIT: usize = 10_000;

/// Largest list, in bytes: ten thousand images with some tags each take a few million.
const MAX_LIST_SIZE: u64 = 64 * 1024 * 1024;

/// Tags that are looked at at a time.
const AT_A_TIME: usize = 8;

const PATH: &str = "tags/list";

#[derive(Deserialize)]
struct List {
    child: Option<Vec<String>>,
    manifest: Option<BTreeMap<String, About>>,
    tags: Option<Vec<String>>,
    /// The list says itself that it goes on.
    #[serde(skip)]
    goes_on: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    image_size_bytes: Option<Value>,
    media_type: Option<String>,
    #[serde(default)]
    tag: Vec<String>,
    /// When it was pushed, in milliseconds since 1970. Beside it is a time of creation, which is that
    /// of the config.
    time_uploaded_ms: Option<Value>,
}

/// A number, which Google's JSON spells as a string.
pub(super) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The entries of a manifest: one for each tag, or one without. What is odd is left out.
pub(super) fn entries_of(
    digest: &str,
    tags: &[String],
    media_type: Option<String>,
    size: Option<u64>,
    pushed: Option<SystemTime>,
) -> Vec<ListEntry> {
    let Ok(digest) = digest.parse() else {
        tracing::warn!(digest, "left out of the list: not a digest");
        return Vec::new();
    };
    let entry = |tag: Option<Tag>| {
        let mut entry = ListEntry::new(tag, Clone::clone(&digest));
        entry.media_type = media_type.clone().filter(|text| !text.is_empty());
        entry.size = size;
        entry.time = pushed.map(|at| ListedTime { at, source: TimeSource::ManifestPushed });
        entry
    };
    if tags.is_empty() {
        return vec![entry(None)];
    }
    let tag = |name: &String| {
        let tag = name.parse();
        if tag.is_err() {
            tracing::warn!(%digest, name, "left out of the list: not a tag");
        }
        tag.ok().map(Some)
    };
    tags.iter().filter_map(tag).map(entry).collect()
}

/// Everything in a repository.
pub(super) fn entries(at: At<'_>) -> BoxStream<'_, Result<ListEntry, Error>> {
    let first = async move {
        let list = list(at.transport, at.repository).await?;
        Ok(if list.may_be_longer() {
            let place = Place::of(at).map_err(|error| incomplete(at, &error))?;
            api::entries(at, place).map_err(move |error| incomplete(at, &error)).boxed()
        } else {
            list.into_entries(at)
        })
    };
    first.try_flatten_stream().boxed()
}

/// A list that ends where it need not end is none: what is on it may have tags that are not.
fn incomplete(at: At<'_>, error: &Error) -> Error {
    let repository = at.repository;
    error.with_note(format!("the registry's own list of {repository} ends after {LIMIT} entries"))
}

impl List {
    fn may_be_longer(&self) -> bool {
        let tags = self.tags.as_ref().map_or(0, Vec::len);
        let manifests = self.manifest.as_ref().map_or(0, BTreeMap::len);
        self.goes_on || manifests >= LIMIT || tags >= LIMIT
    }

    fn into_entries(self, at: At<'_>) -> BoxStream<'_, Result<ListEntry, Error>> {
        let mut entries = Vec::new();
        let mut listed = BTreeSet::new();
        for (digest, about) in self.manifest.unwrap_or_default() {
            let size = about.image_size_bytes.as_ref().and_then(number);
            let pushed = about.time_uploaded_ms.as_ref().and_then(number).filter(|ms| *ms > 0);
            let pushed = pushed.map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
            entries.extend(entries_of(&digest, &about.tag, about.media_type, size, pushed));
            listed.extend(about.tag);
        }
        // Tags of which the list says nothing more, as those of a cache in front of the registry.
        let others = self.tags.unwrap_or_default();
        let others: Vec<Tag> = others
            .into_iter()
            .filter(|name| !listed.contains(name))
            .filter_map(|name| name.parse().ok())
            .collect();
        let lookup = move |tag: Tag| {
            let (transport, reference) =
                (Arc::clone(at.transport), at.repository.with_tag(tag.clone()));
            async move {
                let head = manifests::head(&transport, &reference, Access::Pull).await?;
                Ok(head.map(|head| {
                    let mut entry = ListEntry::new(Some(tag), head.digest);
                    entry.media_type = Some(head.media_type);
                    entry
                }))
            }
        };
        let others = stream::iter(others.into_iter().map(Ok)).boxed();
        let others = looked_up(others, AT_A_TIME, lookup).try_filter_map(future::ok);
        stream::iter(entries.into_iter().map(Ok)).chain(others).boxed()
    }
}

async fn list(transport: &Transport, repository: &Repository) -> Result<List, Error> {
    let call = Call::new(Method::GET, repository, PATH, Access::Pull).query("n", "10000");
    transport
        .retrying(async || {
            let reply = transport.send(&call).await?;
            match reply.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => {
                    return match absent(reply, PATH).await? {
                        Answer::Absent(error) => Err(error),
                        Answer::Present(never) => never,
                    };
                }
                _ => return Err(reply.into_error().await),
            }
            let goes_on = next_page(reply.all(&LINK)).is_some();
            let reason = reply.reason();
            let bytes = reply.bytes(MAX_LIST_SIZE).await?;
            let list: List = serde_json::from_slice(&bytes).map_err(|error| {
                reason.error(ErrorKind::Invalid, format!("not a list: {error}"))
            })?;
            Ok(List { goes_on, ..list })
        })
        .await
}

/// The repositories of all projects, as far as the registry tells them: since Artifact Registry answers
/// in place of Container Registry, it tells none.
pub(super) fn repositories<'a>(
    transport: &'a Transport,
    host: &'a RegistryHost,
) -> BoxStream<'a, Result<Repository, Error>> {
    let told = async move {
        let told: Vec<Repository> = lists::repositories(transport, host).try_collect().await?;
        if told.is_empty() {
            let message = format!(
                "{host} lists repositories only below a project: PROJECT or PROJECT/REPOSITORY"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(stream::iter(told.into_iter().map(Ok)))
    };
    told.try_flatten_stream().boxed()
}

/// The repositories at and below a path: each list says the names below it.
pub(super) fn repositories_below(at: At<'_>) -> BoxStream<'_, Result<Repository, Error>> {
    let start = vec![at.repository.clone()];
    stream::try_unfold(start, move |mut waiting| async move {
        // Most paths hold images or other paths, and only a few both.
        while let Some(repository) = waiting.pop() {
            let list = list(at.transport, &repository).await?;
            let mut children = list.child.unwrap_or_default();
            children.sort_unstable_by(|one, other| other.cmp(one));
            for child in children {
                let name = format!("{}/{child}", repository.name()).parse::<RepositoryName>();
                let below = name.and_then(|name| Repository::new(repository.host().clone(), name));
                match below {
                    Ok(below) => waiting.push(below),
                    Err(error) => {
                        tracing::warn!(%repository, %error, "left out of the list: not a repository");
                    }
                }
            }
            let images = list.manifest.is_some_and(|manifests| !manifests.is_empty());
            if images || list.tags.is_some_and(|tags| !tags.is_empty()) {
                return Ok(Some((repository, waiting)));
            }
        }
        Ok(None)
    })
    .boxed()
}
