//! Lists of tags and of repositories, page by page (distribution spec, *Listing Tags*; the catalog is of
//! Docker's older specification, and many registries keep it to administrators).

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::StatusCode;
use reqwest::header::LINK;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::link::next_page;
use super::manifests::{Answer, absent};
use super::registry::Access;
use super::transport::{Call, Reason, Transport};
use crate::error::{Error, ErrorKind};
use crate::reference::{RegistryHost, Repository, RepositoryName, Tag};

/// Entries of a page, as far as the registry heeds it. Some refuse to give more.
const PAGE_LENGTH: &str = "1000";

/// Largest page, in bytes. Registries that know no pages send everything in one: this holds 400,000
/// content tags.
const MAX_PAGE_SIZE: u64 = 32 * 1024 * 1024;

/// Longest list, in pages: a registry whose pages never end is wrong.
const MAX_PAGES: usize = 10_000;

/// The tags of a repository, in the registry's order.
pub(super) fn tags<'a>(
    transport: &'a Transport,
    repository: &'a Repository,
) -> BoxStream<'a, Result<Tag, Error>> {
    let call = || Call::new(reqwest::Method::GET, repository, TagsPage::PATH, Access::Pull);
    pages::<TagsPage>(transport, call)
        .try_filter_map(move |name| async move {
            // One odd name must not hide the others.
            let tag = name.parse();
            if tag.is_err() {
                tracing::warn!(%repository, name, "left out of the list: not a tag");
            }
            Ok(tag.ok())
        })
        .boxed()
}

/// The repositories of a registry, in its order.
pub(super) fn repositories<'a>(
    transport: &'a Transport,
    host: &'a RegistryHost,
) -> BoxStream<'a, Result<Repository, Error>> {
    repositories_by(transport, host, || Call::catalog(host))
}

/// The repositories of a list in the same form that the call asks for.
pub(super) fn repositories_by<'a>(
    transport: &'a Transport,
    host: &'a RegistryHost,
    call: impl Fn() -> Call<'a> + Send + Sync + Clone + 'a,
) -> BoxStream<'a, Result<Repository, Error>> {
    pages::<CatalogPage>(transport, call)
        .try_filter_map(move |name| async move {
            let name = name.parse::<RepositoryName>();
            let repository = name.and_then(|name| Repository::new(host.clone(), name));
            if let Err(error) = &repository {
                tracing::warn!(%host, %error, "left out of the list: not a repository");
            }
            Ok(repository.ok())
        })
        .boxed()
}

/// A page of a list, as the registry answers it.
pub(super) trait Page: DeserializeOwned + Send {
    type Item: Send;

    /// How the paths of such lists end.
    const PATH: &str;

    /// Entries that a page is asked for.
    const LENGTH: &str = PAGE_LENGTH;

    fn items(self) -> Vec<Self::Item>;
}

#[derive(Deserialize)]
struct TagsPage {
    /// Some registries say `null` after the last tag was deleted. What says nothing is no list.
    #[serde(deserialize_with = "Option::deserialize")]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct CatalogPage {
    #[serde(deserialize_with = "Option::deserialize")]
    repositories: Option<Vec<String>>,
}

impl Page for TagsPage {
    type Item = String;

    const PATH: &str = "tags/list";

    fn items(self) -> Vec<String> {
        self.tags.unwrap_or_default()
    }
}

impl Page for CatalogPage {
    type Item = String;

    const PATH: &str = "_catalog";

    fn items(self) -> Vec<String> {
        self.repositories.unwrap_or_default()
    }
}

/// Where a list goes on, and where it was.
struct Next {
    /// `None` is the first page.
    location: Option<String>,
    seen: HashSet<u64>,
}

/// The items of all pages. A page is asked for when all before it were taken, and only one is held.
pub(super) fn pages<'a, P: Page + 'a>(
    transport: &'a Transport,
    call: impl Fn() -> Call<'a> + Send + Sync + Clone + 'a,
) -> impl futures_util::Stream<Item = Result<P::Item, Error>> + Send + 'a {
    let hasher = RandomState::new();
    let start = Next { location: None, seen: HashSet::new() };
    stream::try_unfold(Some(start), move |next| {
        let (call, hasher) = (call.clone(), hasher.clone());
        async move {
            let Some(Next { location, mut seen }) = next else {
                return Ok(None);
            };
            let call = match location {
                None => call().query("n", P::LENGTH),
                Some(location) => call().at_same_origin(location),
            };
            let (items, next, reason) = transport.retrying(|| page::<P>(transport, &call)).await?;
            let next = match next {
                None => None,
                Some(location)
                    if seen.len() < MAX_PAGES && seen.insert(hasher.hash_one(&location)) =>
                {
                    Some(Next { location: Some(location), seen })
                }
                Some(_) => {
                    return Err(reason.error(ErrorKind::Invalid, "the list goes on for ever"));
                }
            };
            let items = stream::iter(items.into_iter().map(Ok));
            Ok::<_, Error>(Some((items, next)))
        }
    })
    .try_flatten()
}

async fn page<P: Page>(
    transport: &Transport,
    call: &Call<'_>,
) -> Result<(Vec<P::Item>, Option<String>, Reason), Error> {
    let reply = transport.send(call).await?;
    match reply.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => {
            return match absent(reply, P::PATH).await? {
                Answer::Absent(error) => Err(error),
                Answer::Present(never) => never,
            };
        }
        _ => return Err(reply.into_error().await),
    }
    let next = next_page(reply.all(&LINK)).map(ToOwned::to_owned);
    let reason = reply.reason();
    let bytes = reply.bytes(MAX_PAGE_SIZE).await?;
    let page: P = serde_json::from_slice(&bytes)
        .map_err(|error| reason.error(ErrorKind::Invalid, format!("not a list: {error}")))?;
    Ok((page.items(), next, reason))
}
