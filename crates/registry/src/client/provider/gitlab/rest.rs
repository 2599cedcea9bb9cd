//! GitLab's REST API, as far as it is about registries (*Container registry API*).

use futures_util::TryFutureExt as _;
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use reqwest::header::HeaderName;
use serde::Deserialize;
use url::Url;

use super::{parse_digest, parse_tag};
use crate::client::credential::Credential;
use crate::client::listing::{ListEntry, ListedTime, TimeSource};
use crate::client::provider::generic::parse_time;
use crate::client::provider::looked_up::looked_up;
use crate::client::provider::{At, generic, linked};
use crate::client::transport::ApiCall;
use crate::error::{Error, ErrorKind};
use crate::reference::Tag;

/// Tags that are looked at at a time. The API shares its limits with everything else that the user does.
const AT_A_TIME: usize = 4;

/// The user whose password is a job's token (*CI/CD job token*).
const JOB_USER: &str = "gitlab-ci-token";

/// A repository in GitLab.
#[derive(Clone)]
pub(super) struct Place {
    /// The address of the repository.
    url: String,
}

#[derive(Deserialize)]
struct ListedRepository {
    id: u64,
    path: String,
}

#[derive(Deserialize)]
struct ListedTag {
    name: String,
}

#[derive(Deserialize)]
struct TagDetail {
    digest: Option<String>,
    /// When the image was made, as its config says.
    created_at: Option<String>,
    /// Bytes of its layers.
    total_size: Option<u64>,
}

impl Place {
    /// By whoever the credential of now names: the place is known for longer than one may be good.
    async fn call(&self, at: At<'_>, method: Method, path: &str) -> Result<ApiCall, Error> {
        call(&at.credential().await?, method, &format!("{}{path}", self.url))
    }
}

/// The repository in the project that it belongs to. An image's name may be longer than its project's, by
/// any number of parts.
pub(super) async fn find(at: At<'_>) -> Result<Place, Error> {
    let base = base(at).await?;
    let name = at.repository.name().as_str();
    let mut refusal = None;
    // A project has a namespace: no name without a slash is one.
    let ends = name.match_indices('/').map(|(end, _)| end).skip(1).chain([name.len()]);
    for end in ends.collect::<Vec<_>>().into_iter().rev() {
        let project = name[..end].replace('/', "%2F");
        let project = format!("{base}/projects/{project}/registry/repositories");
        let first = format!("{project}?per_page=100");
        let first = call(&at.credential().await?, Method::GET, &first)?;
        let mut pages = linked::pages::<ListedRepository>(at.api(), first);
        loop {
            match pages.try_next().await {
                Ok(Some(page)) => {
                    let found = page.into_iter().find(|listed| listed.path == name);
                    if let Some(found) = found {
                        return Ok(Place { url: format!("{project}/{}", found.id) });
                    }
                }
                // This is a project, but it has no such repository.
                Ok(None) => return Err(not_found(at)),
                Err(error) if *error.kind() == ErrorKind::NotFound => break,
                // A job's token opens no other project than its own; this may be no project at all.
                Err(error) if *error.kind() == ErrorKind::Denied => {
                    refusal = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Err(refusal.unwrap_or_else(|| not_found(at)))
}

/// The tags of the repository, each of which takes a request.
pub(super) fn entries<'a>(at: At<'a>, place: Place) -> BoxStream<'a, Result<ListEntry, Error>> {
    let entries = async move {
        let first = place.call(at, Method::GET, "/tags?pagination=keyset&per_page=100").await?;
        let tags = linked::items::<ListedTag>(at.api(), first);
        let lookup = move |listed: ListedTag| {
            let (owned, place) = (at.owned(), place.clone());
            async move { entry(owned.at(), place, listed.name).await }
        };
        let entries = looked_up(tags, AT_A_TIME, lookup);
        Ok(entries.try_filter_map(async |entry| Ok(entry)))
    };
    entries.try_flatten_stream().boxed()
}

/// Nothing if the tag has gone meanwhile.
async fn entry(at: At<'_>, place: Place, name: String) -> Result<Option<ListEntry>, Error> {
    let Some(tag) = parse_tag(at, &name) else {
        return Ok(None);
    };
    let call = place.call(at, Method::GET, &format!("/tags/{tag}")).await?;
    let detail: TagDetail = match at.api().ask_json(&call).await {
        Ok(detail) => detail,
        Err(error) if *error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // GitLab reads the configs of images only: of an index it says no time, and perhaps nothing at all.
    let (Some(digest), Some(created)) = (detail.digest, detail.created_at) else {
        return generic::entry(at, tag).await;
    };
    let digest = parse_digest(at, &name, &digest)?;
    let mut entry = ListEntry::new(Some(tag), digest);
    entry.size = detail.total_size;
    entry.time =
        parse_time(&created).map(|at| ListedTime { at, source: TimeSource::ConfigCreated });
    Ok(Some(entry))
}

/// Removes a tag.
pub(super) async fn delete_tag(at: At<'_>, place: &Place, tag: &Tag) -> Result<(), Error> {
    let call = place.call(at, Method::DELETE, &format!("/tags/{tag}")).await?;
    at.api().ask(&call).await.map(|_| ())
}

/// Where the API is: beside the token server, which is a part of GitLab.
async fn base(at: At<'_>) -> Result<String, Error> {
    let realm = at.transport.realm(at.repository.host()).await;
    let usual = realm.as_ref().ok().and_then(Option::as_ref).and_then(beside_token_server);
    // What is configured needs no token server.
    let base = at.api().base(usual.as_ref().map_or("", Url::as_str)).map_err(|error| {
        realm.map_or_else(
            |refused| refused,
            |_| if usual.is_some() { error } else { error.with_kind(ErrorKind::Unsupported) },
        )
    })?;
    Ok(base.as_str().trim_end_matches('/').to_owned())
}

fn beside_token_server(realm: &Url) -> Option<Url> {
    let mut url = realm.clone();
    let path = format!("{}/api/v4", url.path().strip_suffix("/jwt/auth")?);
    url.set_path(&path);
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
}

/// A request that says who is asking (*REST API authentication*).
fn call(credential: &Credential, method: Method, url: &str) -> Result<ApiCall, Error> {
    let url = Url::parse(url).map_err(|_| Error::new(ErrorKind::Invalid, "not a URL of an API"))?;
    let call = ApiCall::new(method, url);
    Ok(match credential {
        Credential::Basic { username, password } if username == JOB_USER => {
            call.secret_header(HeaderName::from_static("job-token"), password)
        }
        Credential::Basic { password: token, .. } | Credential::IdentityToken { token, .. } => {
            call.secret_header(HeaderName::from_static("private-token"), token)
        }
        Credential::Bearer(token) => call.bearer(token),
        Credential::Anonymous => call,
    })
}

fn not_found(at: At<'_>) -> Error {
    Error::new(ErrorKind::NotFound, format!("{}: GitLab knows no such repository", at.repository))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_beside_the_token_server() {
        for (realm, api) in [
            ("https://gitlab.com/jwt/auth", Some("https://gitlab.com/api/v4")),
            ("https://h.example:8443/git/jwt/auth?x=1", Some("https://h.example:8443/git/api/v4")),
            ("https://h.example/token", None),
        ] {
            let url = beside_token_server(&Url::parse(realm).unwrap());
            assert_eq!(url.as_ref().map(Url::as_str), api, "{realm}");
        }
    }
}
