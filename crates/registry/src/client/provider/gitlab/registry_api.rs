//! The API that GitLab's registry has besides the spec's, below `/gitlab/v1/`.

use std::collections::HashSet;

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::header::LINK;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::{parse_digest, parse_tag};
use crate::client::link::next_page;
use crate::client::listing::{ListEntry, ListedTime, TimeSource};
use crate::client::manifests::{Answer, absent};
use crate::client::provider::At;
use crate::client::provider::generic::parse_time;
use crate::client::transport::Call;
use crate::error::{Error, ErrorKind};

/// Entries of a page; the API gives no more.
const PAGE_LENGTH: &str = "1000";

/// Largest page, in bytes. One of a thousand tags has less than half a MiB.
const MAX_PAGE_SIZE: u64 = 16 * 1024 * 1024;

/// Longest list, in pages: a registry whose pages never end is wrong.
const MAX_PAGES: usize = 10_000;

/// One tag of the list.
#[derive(Deserialize)]
struct Listed {
    name: String,
    digest: String,
    media_type: Option<String>,
    size_bytes: Option<u64>,
    created_at: Option<String>,
    /// When it was last moved to another manifest, if it ever was.
    updated_at: Option<String>,
    /// The later of the two; of newer registries.
    published_at: Option<String>,
}

/// Whether the registry has this API (*Compliance check*): it says so to whoever may read.
pub(super) async fn is_there(at: At<'_>) -> Result<bool, Error> {
    let call = call(at, "/gitlab/v1/");
    at.transport
        .retrying(async || {
            let reply = at.transport.send(&call).await?;
            match reply.status() {
                StatusCode::OK => Ok(true),
                StatusCode::TOO_MANY_REQUESTS => Err(reply.into_error().await),
                status if status.is_server_error() => Err(reply.into_error().await),
                _ => Ok(false),
            }
        })
        .await
}

/// Where a list goes on, and where it was.
#[derive(Default)]
struct Next {
    /// `None` is the first page.
    after: Option<String>,
    seen: HashSet<String>,
}

/// The tags of the repository, by their names in the order of the registry's database.
pub(super) fn entries<'a>(at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
    stream::try_unfold(Some(Next::default()), move |next| async move {
        let Some(Next { after, mut seen }) = next else {
            return Ok(None);
        };
        let (listed, more) = page(at, after.as_deref()).await?;
        // The page's last tag is the mark at which the next one begins.
        let next = match listed.last().filter(|_| more).map(|last| last.name.clone()) {
            None => None,
            Some(name) if seen.len() < MAX_PAGES && seen.insert(name.clone()) => {
                Some(Next { after: Some(name), seen })
            }
            Some(_) => {
                let message = format!("{}: the list of tags goes on for ever", at.repository);
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        };
        let entries: Vec<_> =
            listed.into_iter().filter_map(|listed| entry(at, listed).transpose()).collect();
        Ok::<_, Error>(Some((stream::iter(entries), next)))
    })
    .try_flatten()
    .boxed()
}

/// A page, and whether there are more.
async fn page(at: At<'_>, after: Option<&str>) -> Result<(Vec<Listed>, bool), Error> {
    // The API redirects requests without the slash at the end.
    let path = format!("/gitlab/v1/repositories/{}/tags/list/", at.repository.name());
    let mut call = call(at, &path).query("n", PAGE_LENGTH);
    if let Some(after) = after {
        call = call.query("last", after);
    }
    at.transport
        .retrying(async || {
            let reply = at.transport.send(&call).await?;
            match reply.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => {
                    return match absent(reply, "tags/list/").await? {
                        Answer::Absent(error) => Err(error),
                        Answer::Present(never) => never,
                    };
                }
                _ => return Err(reply.into_error().await),
            }
            let more = next_page(reply.all(&LINK)).is_some();
            let reason = reply.reason();
            let bytes = reply.bytes(MAX_PAGE_SIZE).await?;
            let listed = serde_json::from_slice(&bytes).map_err(|error| {
                reason.error(ErrorKind::Invalid, format!("not a list of tags: {error}"))
            })?;
            Ok((listed, more))
        })
        .await
}

/// A request with a token for reading the repository.
fn call<'a>(at: At<'a>, path: &str) -> Call<'a> {
    let scope = format!("repository:{}:pull", at.repository.name());
    Call::of_vendor(Method::GET, at.repository.host(), path, &scope)
}

fn entry(at: At<'_>, listed: Listed) -> Result<Option<ListEntry>, Error> {
    let Some(tag) = parse_tag(at, &listed.name) else {
        return Ok(None);
    };
    let digest = parse_digest(at, &listed.name, &listed.digest)?;
    let mut entry = ListEntry::new(Some(tag), digest);
    entry.media_type = listed.media_type;
    entry.size = listed.size_bytes;
    let time = listed.published_at.or(listed.updated_at).or(listed.created_at);
    let time = time.and_then(|text| parse_time(&text));
    entry.time = time.map(|at| ListedTime { at, source: TimeSource::TagPushed });
    Ok(Some(entry))
}
