//! Harbor, since version 2 (*Harbor API*, the Swagger document of each release).

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryFutureExt as _;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde::Deserialize;
use url::Url;

use super::{At, Provider, absent_or_hidden, linked, or_generic, time_since_1970};
use crate::client::credential::Credential;
use crate::client::deletion::{self, Deleted};
use crate::client::listing::{ListEntry, ListedTime, TimeSource};
use crate::client::manifests;
use crate::client::registry::Access;
use crate::client::transport::ApiCall;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::provider::ProviderKind;
use crate::reference::Tag;

pub(super) struct Harbor;

#[derive(Deserialize)]
struct Artifact {
    digest: String,
    manifest_media_type: Option<String>,
    size: Option<u64>,
    push_time: Option<String>,
    pull_time: Option<String>,
    /// `null` where there are none.
    tags: Option<Vec<ListedTag>>,
}

#[derive(Deserialize)]
struct ListedTag {
    name: String,
    push_time: Option<String>,
    pull_time: Option<String>,
    #[serde(default)]
    immutable: bool,
}

#[async_trait]
impl Provider for Harbor {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Harbor
    }

    fn entries<'a>(self: Arc<Self>, at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
        let entries = async move {
            let path = "?with_tag=true&with_immutable_status=true&page_size=100&page=1";
            let first = call(at, Method::GET, path).await?;
            let listed = linked::items::<Artifact>(at.api(), first)
                .map_ok(move |artifact| stream::iter(entries_of(at, artifact)))
                .try_flatten();
            Ok(or_generic(at, listed.boxed()).await)
        };
        entries.try_flatten_stream().boxed()
    }

    async fn delete_tag(&self, at: At<'_>, tag: &Tag) -> Result<Deleted, Error> {
        // An artifact may be named by any of its tags.
        let call = call(at, Method::DELETE, &format!("/{tag}/tags/{tag}")).await?;
        match at.api().ask(&call).await {
            Ok(_) => Ok(Deleted::Done),
            Err(error) => absent_or_hidden(at, tag, error).await,
        }
    }

    async fn delete_manifest(&self, at: At<'_>, digest: &Digest) -> Result<Deleted, Error> {
        let call = call(at, Method::DELETE, &format!("/{digest}")).await?;
        let error = match at.api().ask(&call).await {
            Ok(_) => return Ok(Deleted::Done),
            Err(error) => error,
        };
        match error.kind() {
            // Robots may have the right to delete in the registry and none to Harbor's API.
            ErrorKind::Unauthorized | ErrorKind::Denied => {
                deletion::manifest(at.transport, at.repository, digest).await
            }
            ErrorKind::NotFound => {
                let reference = at.repository.with_digest(digest.clone());
                match manifests::head(at.transport, &reference, Access::Pull).await? {
                    None => Ok(Deleted::Absent),
                    Some(_) => Err(error.with_kind(ErrorKind::Denied)),
                }
            }
            _ => Err(error),
        }
    }
}

/// A request about the artifacts of the repository, by whoever the credential names.
async fn call(at: At<'_>, method: Method, path: &str) -> Result<ApiCall, Error> {
    let name = at.repository.name().as_str();
    let (project, name) = name.split_once('/').ok_or_else(|| {
        let message = format!("{}: Harbor's names begin with a project", at.repository);
        Error::new(ErrorKind::Invalid, message)
    })?;
    let base = at.api().base(at.api().of_registry("/api/v2.0")?.as_str())?;
    let base = base.as_str().trim_end_matches('/');
    // Harbor wants a slash in a name to be encoded twice.
    let name = name.replace('/', "%252F");
    let url = format!("{base}/projects/{project}/repositories/{name}/artifacts{path}");
    let url =
        Url::parse(&url).map_err(|_| Error::new(ErrorKind::Invalid, "not a URL of an API"))?;
    let call = ApiCall::new(method, url);
    Ok(match at.credential().await? {
        Credential::Basic { username, password } => call.basic(&username, &password),
        _ => call,
    })
}

/// An entry for each tag, or one for an artifact that has none.
fn entries_of(at: At<'_>, artifact: Artifact) -> Vec<Result<ListEntry, Error>> {
    let digest: Digest = match artifact.digest.parse() {
        Ok(digest) => digest,
        Err(error) => {
            let message = format!("{}: listed with no digest: {error}", at.repository);
            return vec![Err(Error::new(ErrorKind::Invalid, message))];
        }
    };
    let time = |text: Option<&str>, source: TimeSource| {
        text.and_then(time_since_1970).map(|at| ListedTime { at, source })
    };
    let pulled = artifact.pull_time.as_deref().and_then(time_since_1970);
    let entry = |tag: Option<Tag>| {
        let mut entry = ListEntry::new(tag, digest.clone());
        entry.media_type.clone_from(&artifact.manifest_media_type);
        entry.size = artifact.size;
        entry.time = time(artifact.push_time.as_deref(), TimeSource::ManifestPushed);
        entry.last_pulled = pulled;
        entry
    };
    let tags = artifact.tags.unwrap_or_default();
    if tags.is_empty() {
        return vec![Ok(entry(None))];
    }
    let tagged = tags.into_iter().filter_map(|tag| {
        let mut entry = entry(Some(tag.name.parse().ok()?));
        entry.time = time(tag.push_time.as_deref(), TimeSource::TagPushed).or(entry.time);
        entry.last_pulled =
            tag.pull_time.as_deref().and_then(time_since_1970).or(entry.last_pulled);
        entry.locked = tag.immutable;
        Some(Ok(entry))
    });
    tagged.collect()
}
