//! Quay, on quay.io or run by a team. Its API takes tokens of OAuth applications, and neither passwords
//! nor robots (*Red Hat Quay API guide*): without such a token, only the spec's lists are there.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::TryFutureExt as _;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde::Deserialize;
use url::Url;

use super::{At, Provider, absent_or_hidden, generic, or_generic};
use crate::client::credential::{Credential, Secret};
use crate::client::deletion::{self, Deleted};
use crate::client::listing::{ListEntry, ListedTime, TimeSource};
use crate::client::lists;
use crate::client::transport::{ApiCall, Call, Transport};
use crate::error::{Error, ErrorKind};
use crate::provider::ProviderKind;
use crate::reference::{RegistryHost, Repository, Tag};

/// The user whose password is a token of an OAuth application.
const TOKEN_USER: &str = "$oauthtoken";

/// Longest list, in pages of a hundred tags.
const MAX_PAGES: u32 = 10_000;

pub(super) struct Quay;

#[derive(Deserialize)]
struct Page {
    tags: Vec<Listed>,
    #[serde(default)]
    has_additional: bool,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    manifest_digest: String,
    size: Option<u64>,
    /// When the tag was put on this manifest, in seconds since 1970.
    start_ts: Option<u64>,
}

#[async_trait]
impl Provider for Quay {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Quay
    }

    fn entries<'a>(self: Arc<Self>, at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
        let entries = async move {
            Ok(match token(at).await? {
                None => generic::entries(at),
                Some(token) => or_generic(at, listed(at, token)).await,
            })
        };
        entries.try_flatten_stream().boxed()
    }

    /// Quay refuses to read a request for a token that names anything but repositories.
    fn repositories<'a>(
        self: Arc<Self>,
        transport: &'a Transport,
        host: &'a RegistryHost,
    ) -> BoxStream<'a, Result<Repository, Error>> {
        lists::repositories_by(transport, host, move || {
            Call::of_vendor(Method::GET, host, "/v2/_catalog", "")
        })
    }

    /// `pull`, `push` and `*` are all that a token can be asked for.
    fn deletes_by_pushers(&self) -> bool {
        true
    }

    /// As the spec says. Releases that refuse that delete tags by their API.
    async fn delete_tag(&self, at: At<'_>, tag: &Tag) -> Result<Deleted, Error> {
        let refusal = match deletion::tag(at.transport, at.repository, tag).await {
            Err(error) if *error.kind() == ErrorKind::Unsupported => error,
            result => return result,
        };
        let Some(token) = token(at).await? else {
            let note =
                format!("Quay's API removes tags with a token, as the password of {TOKEN_USER}");
            return Err(refusal.with_note(note));
        };
        let call = call(at, Method::DELETE, &format!("tag/{tag}"), &token)?;
        match at.api().ask(&call).await {
            Ok(_) => Ok(Deleted::Done),
            Err(error) => absent_or_hidden(at, tag, error).await,
        }
    }
}

/// The tags that have not expired (*listRepoTags*).
fn listed<'a>(at: At<'a>, token: Secret) -> BoxStream<'a, Result<ListEntry, Error>> {
    stream::try_unfold(Some(1), move |page: Option<u32>| {
        let token = token.clone();
        async move {
            let Some(number) = page else {
                return Ok(None);
            };
            let path = format!("tag/?limit=100&page={number}&onlyActiveTags=true");
            let page: Page = at.api().ask_json(&call(at, Method::GET, &path, &token)?).await?;
            if page.has_additional && (page.tags.is_empty() || number == MAX_PAGES) {
                let message = format!("the list of {} goes on for ever", at.repository);
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            let entries: Vec<_> =
                page.tags.into_iter().filter_map(|tag| entry(at, tag).transpose()).collect();
            Ok::<_, Error>(Some((stream::iter(entries), page.has_additional.then_some(number + 1))))
        }
    })
    .try_flatten()
    .boxed()
}

fn entry(at: At<'_>, listed: Listed) -> Result<Option<ListEntry>, Error> {
    let Ok(tag) = listed.name.parse::<Tag>() else {
        tracing::warn!(repository = %at.repository, name = listed.name, "not a tag");
        return Ok(None);
    };
    let digest = listed.manifest_digest.parse().map_err(|error| {
        let message = format!("{}:{tag} is listed with no digest: {error}", at.repository);
        Error::new(ErrorKind::Invalid, message)
    })?;
    let mut entry = ListEntry::new(Some(tag), digest);
    entry.size = listed.size;
    let pushed = listed.start_ts.and_then(|at| UNIX_EPOCH.checked_add(Duration::from_secs(at)));
    entry.time = pushed.map(|at| ListedTime { at, source: TimeSource::TagPushed });
    Ok(Some(entry))
}

fn call(at: At<'_>, method: Method, path: &str, token: &Secret) -> Result<ApiCall, Error> {
    let base = at.api().base(at.api().of_registry("/api/v1")?.as_str())?;
    let base = base.as_str().trim_end_matches('/');
    let url = format!("{base}/repository/{}/{path}", at.repository.name());
    let url =
        Url::parse(&url).map_err(|_| Error::new(ErrorKind::Invalid, "not a URL of an API"))?;
    Ok(ApiCall::new(method, url).bearer(token))
}

async fn token(at: At<'_>) -> Result<Option<Secret>, Error> {
    Ok(match at.credential().await? {
        Credential::Basic { username, password } if username == TOKEN_USER => Some(password),
        _ => None,
    })
}
