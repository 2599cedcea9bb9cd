//! Docker Hub, whose API beside the registry lists and deletes tags (*Docker Hub API*).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use url::Url;

use super::looked_up::looked_up;
use super::{At, Provider, absent_or_hidden, time_since_1970};
use crate::client::credential::{Credential, Secret};
use crate::client::deletion::Deleted;
use crate::client::listing::{ListEntry, ListedTime, TimeSource};
use crate::client::manifests;
use crate::client::registry::Access;
use crate::client::transport::{ApiCall, Claims};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::provider::ProviderKind;
use crate::reference::Tag;

const API: &str = "https://hub.docker.com/v2";

/// Used of a token's lifetime where it does not say that itself.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Tags whose digest has to be asked for at a time.
const AT_A_TIME: usize = 8;

/// Longest list, in pages of a hundred tags.
const MAX_PAGES: usize = 10_000;

#[derive(Default)]
pub(super) struct DockerHub {
    session: Mutex<Option<Session>>,
}

/// What the API answered to a credential.
struct Session {
    credential: Credential,
    /// A token, and until when it is used; or why the API does not take the credential, which is then
    /// not sent again.
    login: Result<(Secret, SystemTime), Error>,
}

/// Where a list goes on, and where it was.
struct Next {
    /// `None` is the first page.
    call: Option<ApiCall>,
    seen: HashSet<String>,
}

#[derive(Deserialize)]
struct Page {
    next: Option<String>,
    results: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    /// Missing of some tags that were pushed long ago.
    digest: Option<String>,
    media_type: Option<String>,
    full_size: Option<u64>,
    tag_last_pushed: Option<String>,
    tag_last_pulled: Option<String>,
}

#[derive(Deserialize)]
struct Login {
    access_token: String,
}

#[async_trait]
impl Provider for DockerHub {
    fn kind(&self) -> ProviderKind {
        ProviderKind::DockerHub
    }

    /// The list that the web site shows, which does not count as a pull.
    fn entries<'a>(self: Arc<Self>, at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
        let start = Next { call: None, seen: HashSet::new() };
        let listed = stream::try_unfold(Some(start), move |next| {
            let this = Arc::clone(&self);
            async move {
                let Some(Next { call, mut seen }) = next else {
                    return Ok(None);
                };
                let call = match call {
                    Some(call) => call,
                    None => {
                        let path = "namespaces/{}/repositories/{}/tags?page_size=100";
                        this.call(at, Method::GET, path).await?
                    }
                };
                let page: Page = at.api().ask_json(&call).await?;
                let next = match page.next {
                    None => None,
                    Some(next) => {
                        let call = Some(call.following(&next)?);
                        if seen.len() == MAX_PAGES || !seen.insert(next) {
                            let message = format!("the list of {} goes on for ever", at.repository);
                            return Err(Error::new(ErrorKind::Invalid, message));
                        }
                        Some(Next { call, seen })
                    }
                };
                let listed = stream::iter(page.results.into_iter().map(Ok));
                Ok::<_, Error>(Some((listed, next)))
            }
        })
        .try_flatten();
        let lookup = move |listed| {
            let owned = at.owned();
            async move { entry(owned.at(), listed).await }
        };
        looked_up(listed.boxed(), AT_A_TIME, lookup).try_filter_map(async |entry| Ok(entry)).boxed()
    }

    async fn delete_tag(&self, at: At<'_>, tag: &Tag) -> Result<Deleted, Error> {
        if !matches!(at.credential().await?, Credential::Basic { .. }) {
            let message = "tags of Docker Hub are deleted with a user name and an access token";
            return Err(Error::new(ErrorKind::Unauthorized, message));
        }
        let path = format!("repositories/{{}}/{{}}/tags/{tag}/");
        let call = self.call(at, Method::DELETE, &path).await?;
        match at.api().ask(&call).await {
            Ok(_) => Ok(Deleted::Done),
            Err(error) => absent_or_hidden(at, tag, error).await,
        }
    }

    async fn delete_manifest(&self, at: At<'_>, digest: &Digest) -> Result<Deleted, Error> {
        let message =
            format!("{}@{digest}: Docker Hub deletes tags, and no manifest", at.repository);
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}

impl DockerHub {
    /// A request at this path, with namespace and name of the repository put into it, by whoever the
    /// credential names.
    async fn call(&self, at: At<'_>, method: Method, path: &str) -> Result<ApiCall, Error> {
        let name = at.repository.name().as_str();
        let Some((namespace, name)) = name.split_once('/').filter(|(_, name)| !name.contains('/'))
        else {
            let message = format!("{}: Docker Hub's names have two parts", at.repository);
            return Err(Error::new(ErrorKind::Invalid, message));
        };
        let path = path.replacen("{}", namespace, 1).replacen("{}", name, 1);
        let call = ApiCall::new(method, url(at, &path)?);
        Ok(match self.token(at).await? {
            Some(token) => call.bearer(&token),
            None => call,
        })
    }

    /// A token of the API; `None` for whoever has no password to get one with (*Create access token*).
    async fn token(&self, at: At<'_>) -> Result<Option<Secret>, Error> {
        let mut session = self.session.lock().await;
        let credential = at.credential().await?;
        if let Some(known) = session.as_ref().filter(|known| known.credential == credential) {
            match &known.login {
                Ok((token, until)) if SystemTime::now() < *until => return Ok(Some(token.clone())),
                Ok(_) => {}
                Err(refusal) => return Err(refusal.clone()),
            }
        }
        let refusal = match login(at, &mut session, credential.clone()).await {
            Err(error) if *error.kind() == ErrorKind::Unauthorized => error,
            result => return result,
        };
        // It may have been replaced where it is kept.
        match at.renewed(&credential).await? {
            Some(newer) => login(at, &mut session, newer).await,
            None => Err(refusal),
        }
    }
}

/// A token for whoever this is; `None` for whoever has no password.
async fn login(
    at: At<'_>,
    session: &mut Option<Session>,
    credential: Credential,
) -> Result<Option<Secret>, Error> {
    let Credential::Basic { username, password } = &credential else {
        return Ok(None);
    };
    let body = json!({"identifier": username, "secret": password.expose()});
    // Who asks for a token says so in the body.
    let call = ApiCall::new(Method::POST, url(at, "auth/token")?).json(&body).identified();
    let login: Login = match at.api().ask_json(&call).await {
        Ok(login) => login,
        Err(error) => {
            if *error.kind() == ErrorKind::Unauthorized {
                *session = Some(Session { credential, login: Err(error.clone()) });
            }
            return Err(error);
        }
    };
    let now = SystemTime::now();
    let expires = Claims::of(&login.access_token).expires().unwrap_or(now + LIFETIME);
    let lifetime = expires.duration_since(now).unwrap_or_default();
    let token = Secret::new(login.access_token);
    let login = Ok((token.clone(), now + lifetime / 2));
    *session = Some(Session { credential, login });
    Ok(Some(token))
}

fn url(at: At<'_>, path: &str) -> Result<Url, Error> {
    let base = at.api().base(API)?;
    let text = format!("{}/{path}", base.as_str().trim_end_matches('/'));
    Url::parse(&text).map_err(|_| Error::new(ErrorKind::Invalid, "not a URL of an API"))
}

/// Nothing if the tag has gone meanwhile, or is none.
async fn entry(at: At<'_>, listed: Listed) -> Result<Option<ListEntry>, Error> {
    let Ok(tag) = listed.name.parse::<Tag>() else {
        tracing::warn!(repository = %at.repository, name = listed.name, "not a tag");
        return Ok(None);
    };
    let digest = match listed.digest.and_then(|digest| digest.parse::<Digest>().ok()) {
        Some(digest) => digest,
        None => {
            // HEAD is no pull either.
            let reference = at.repository.with_tag(tag.clone());
            match manifests::head(at.transport, &reference, Access::Pull).await? {
                Some(head) => head.digest,
                None => return Ok(None),
            }
        }
    };
    let mut entry = ListEntry::new(Some(tag), digest);
    entry.media_type = listed.media_type;
    entry.size = listed.full_size;
    let pushed = listed.tag_last_pushed.as_deref().and_then(time_since_1970);
    entry.time = pushed.map(|at| ListedTime { at, source: TimeSource::TagPushed });
    entry.last_pulled = listed.tag_last_pulled.as_deref().and_then(time_since_1970);
    Ok(Some(entry))
}
