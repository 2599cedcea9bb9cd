//! Artifact Registry's REST API, version 1.

use std::time::{Duration, SystemTime};

use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::place::Place;
use super::{OAUTH_USER, list};
use crate::client::credential::{Credential, Secret};
use crate::client::listing::ListEntry;
use crate::client::provider::generic::parse_time;
use crate::client::provider::{At, Created};
use crate::client::transport::ApiCall;
use crate::error::{Error, ErrorKind};

/// Images of a page, of which the API gives no more (*dockerImages.list*).
const PAGE_LENGTH: &str = "1000";

/// Longest list, in pages: one whose pages never end is wrong.
const MAX_PAGES: usize = 10_000;

/// How long a new repository is waited for.
const MAKING: Duration = Duration::from_secs(120);

/// Users whose password is an access token: Google's documentation and its tools write all three.
const OAUTH_USERS: [&str; 3] = [OAUTH_USER, "_token", "_dcgcloud_token"];

/// The access token that the registry's credential is. The key of a service account is none.
async fn access_token(at: At<'_>) -> Result<Secret, Error> {
    let host = at.repository.host();
    let no =
        |kind, why: &str| Err(Error::new(kind, format!("{host}: Artifact Registry's API {why}")));
    match at.transport.credential(host).await? {
        Credential::Basic { username, password } if OAUTH_USERS.contains(&&*username) => {
            Ok(password)
        }
        Credential::Bearer(token) => Ok(token),
        Credential::Anonymous => {
            no(ErrorKind::Unauthorized, "wants an access token, and there are no credentials")
        }
        Credential::Basic { username, .. } => {
            let why = format!("takes access tokens (user {OAUTH_USER}), not those of {username}");
            no(ErrorKind::Credential, &why)
        }
        Credential::IdentityToken { .. } => {
            no(ErrorKind::Credential, "takes access tokens, not identity tokens")
        }
    }
}

fn url(text: &str) -> Result<Url, Error> {
    Url::parse(text).map_err(|error| Error::new(ErrorKind::Invalid, format!("{text:?}: {error}")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    docker_images: Vec<Image>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    /// `…/dockerImages/IMAGE@DIGEST`, with the slashes of the image's name escaped.
    name: String,
    #[serde(default)]
    tags: Vec<String>,
    image_size_bytes: Option<serde_json::Value>,
    upload_time: Option<String>,
    media_type: Option<String>,
}

/// Everything in a repository. The API lists what Google calls a repository, which may hold many images.
pub(super) fn entries<'a>(at: At<'a>, place: Place) -> BoxStream<'a, Result<ListEntry, Error>> {
    let start = Some((String::new(), 0));
    stream::try_unfold(start, move |next| {
        let place = place.clone();
        async move {
            let Some((token, count)) = next else { return Ok(None) };
            let page = page(at, &place, &token).await?;
            let next = page.next_page_token.filter(|token| !token.is_empty());
            if next.as_ref() == Some(&token) || count > MAX_PAGES {
                let message = format!("the list of {} goes on for ever", at.repository);
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            let images = page.docker_images.into_iter();
            let entries: Vec<_> =
                images.flat_map(|image| image.into_entries(&place.image)).map(Ok).collect();
            Ok(Some((stream::iter(entries), next.map(|next| (next, count + 1)))))
        }
    })
    .try_flatten()
    .boxed()
}

async fn page(at: At<'_>, place: &Place, token: &str) -> Result<Page, Error> {
    let images = format!("{}/repositories/{}/dockerImages", place.location_url(), place.repository);
    let mut url = url(&images)?;
    url.query_pairs_mut().append_pair("pageSize", PAGE_LENGTH);
    if !token.is_empty() {
        url.query_pairs_mut().append_pair("pageToken", token);
    }
    // Anew for each page: a long list may outlive a token.
    let call = ApiCall::get(url).bearer(&access_token(at).await?);
    at.api().ask_json(&call).await
}

impl Image {
    /// One for each tag, or one without; none for images of other names.
    fn into_entries(self, wanted: &str) -> Vec<ListEntry> {
        let image = self.name.rsplit_once("/dockerImages/").map_or("", |(_, image)| image);
        let Some((name, digest)) = image.rsplit_once('@') else { return Vec::new() };
        if name.replace("%2F", "/").replace("%2f", "/") != wanted {
            return Vec::new();
        }
        let size = self.image_size_bytes.as_ref().and_then(list::number);
        let pushed: Option<SystemTime> = self.upload_time.as_deref().and_then(parse_time);
        list::entries_of(digest, &self.tags, self.media_type, size, pushed)
    }
}

#[derive(Deserialize)]
struct Operation {
    name: String,
    #[serde(default)]
    done: bool,
    error: Option<Status>,
}

/// Why an operation failed (*google.rpc.Status*).
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: i32,
    #[serde(default)]
    message: String,
}

/// *google.rpc.Code*.
const ALREADY_EXISTS: i32 = 6;
const PERMISSION_DENIED: i32 = 7;

/// Makes a repository, and waits until it is there (*repositories.create*).
pub(super) async fn create_repository(at: At<'_>, place: &Place) -> Result<Created, Error> {
    let mut url = url(&format!("{}/repositories", place.location_url()))?;
    url.query_pairs_mut().append_pair("repositoryId", &place.repository);
    let token = access_token(at).await?;
    let call = ApiCall::new(Method::POST, url).bearer(&token).json(&json!({"format": "DOCKER"}));
    let api = at.api();
    let operation: Operation = match api.ask_json(&call).await {
        Ok(operation) => operation,
        Err(error) if error.codes().iter().any(|code| code == "ALREADY_EXISTS") => {
            return Ok(Created::Before);
        }
        Err(error) => return Err(error),
    };
    let wait = async {
        let mut operation = operation;
        let mut pause = Duration::from_millis(100);
        while !operation.done {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
            let call = ApiCall::get(operation_url(place, &operation.name)?).bearer(&token);
            let Operation { done, error, .. } = api.ask_json(&call).await?;
            operation = Operation { done, error, ..operation };
        }
        match operation.error {
            None => Ok(Created::Now),
            Some(status) if status.code == ALREADY_EXISTS => Ok(Created::Before),
            Some(Status { code, message }) => {
                let kind = match code {
                    PERMISSION_DENIED => ErrorKind::Denied,
                    _ => ErrorKind::Invalid,
                };
                let message = format!("{} was not made: {message} ({code})", at.repository);
                Err(Error::new(kind, message))
            }
        }
    };
    tokio::time::timeout(MAKING, wait).await.unwrap_or_else(|_| {
        let message = format!("{} is still being made", at.repository);
        Err(Error::new(ErrorKind::Transient, message))
    })
}

fn operation_url(place: &Place, name: &str) -> Result<Url, Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    if !name.starts_with("projects/") || name.contains("..") || !name.bytes().all(plain) {
        let message = format!("{name:?} is no name of an operation");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    url(&place.url_of(name))
}
