//! GitHub's container registry, whose images are versions of a package for GitHub's REST API (*REST API
//! endpoints for packages*).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryFutureExt as _;
use futures_util::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderName};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::generic::parse_time;
use super::{At, Provider, generic, linked};
use crate::client::credential::{Credential, Secret};
use crate::client::deletion::Deleted;
use crate::client::listing::{ListEntry, ListedTime, TimeSource};
use crate::client::manifests;
use crate::client::registry::Access;
use crate::client::transport::ApiCall;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::provider::ProviderKind;
use crate::reference::{RepositoryName, Tag};

const API: &str = "https://api.github.com";

#[derive(Default)]
pub(super) struct Ghcr {
    /// Where the versions of packages are, as far as that was asked.
    addresses: Mutex<HashMap<RepositoryName, String>>,
    /// The numbers of the versions, by which they are deleted, as far as they were listed for that.
    numbered: Mutex<HashMap<RepositoryName, HashMap<Digest, u64>>>,
}

/// The versions of a package, and who asks about them.
#[derive(Clone)]
struct Package {
    url: String,
    token: Secret,
}

#[derive(Deserialize)]
struct Version {
    id: u64,
    /// The digest.
    name: String,
    created_at: Option<String>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    container: Option<Container>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    tags: Vec<String>,
}

#[async_trait]
impl Provider for Ghcr {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Ghcr
    }

    /// As GitHub lists them, with manifests that have no tag. Who may not ask GitHub, which wants a token
    /// even for what is public, gets the spec's lists.
    fn entries<'a>(self: Arc<Self>, at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
        let entries = async move {
            let first = match token(at).await? {
                None => None,
                Some(token) => match Package::find(at, token).await {
                    Ok(package) => Some(package),
                    Err(error) if is_refused(&error) => {
                        let repository = at.repository;
                        tracing::info!(%repository, %error, "no list by GitHub's API");
                        None
                    }
                    Err(error) => return Err(error),
                },
            };
            Ok(match first {
                None => generic::entries(at),
                Some(package) => package
                    .versions(at)?
                    .map_ok(move |version| stream::iter(entries_of(at, version)))
                    .try_flatten()
                    .boxed(),
            })
        };
        entries.try_flatten_stream().boxed()
    }

    async fn delete_tag(&self, at: At<'_>, tag: &Tag) -> Result<Deleted, Error> {
        let message = format!(
            "{}:{tag}: GitHub's registry deletes manifests with all their tags, and no single tag",
            at.repository
        );
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    async fn delete_manifest(&self, at: At<'_>, digest: &Digest) -> Result<Deleted, Error> {
        let Some(token) = token(at).await? else {
            let message = "GitHub's API wants a token to delete a version of a package";
            return Err(Error::new(ErrorKind::Unauthorized, message));
        };
        let package = self.package(at, token).await?;
        let mut again = false;
        loop {
            let Some(number) = self.number(at, &package, digest).await? else {
                return Ok(Deleted::Absent);
            };
            let version = format!("/{number}");
            let refusal = match at.api().ask(&package.call(Method::DELETE, &version)?).await {
                Ok(_) => {
                    self.forget(at, digest).await;
                    return Ok(Deleted::Done);
                }
                Err(error) if *error.kind() == ErrorKind::NotFound => error,
                Err(error) => return Err(error),
            };
            // GitHub says so of what is not there, and to whoever may only look.
            match at.api().ask(&package.call(Method::GET, &version)?).await {
                Ok(_) => return Err(may_not_delete(&refusal)),
                Err(error) if *error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            // What was deleted and pushed again has another number.
            self.forget(at, digest).await;
            if again {
                return if is_there(at, digest).await? {
                    Err(may_not_delete(&refusal))
                } else {
                    Ok(Deleted::Absent)
                };
            }
            again = true;
        }
    }
}

impl Ghcr {
    /// The package, which is looked for once.
    async fn package(&self, at: At<'_>, token: Secret) -> Result<Package, Error> {
        let mut addresses = self.addresses.lock().await;
        if let Some(url) = addresses.get(at.repository.name()) {
            return Ok(Package { url: url.clone(), token });
        }
        let package = Package::find(at, token).await?;
        addresses.insert(at.repository.name().clone(), package.url.clone());
        Ok(package)
    }

    async fn forget(&self, at: At<'_>, digest: &Digest) {
        if let Some(versions) = self.numbered.lock().await.get_mut(at.repository.name()) {
            versions.remove(digest);
        }
    }

    /// The number of the version with this digest; nothing if the registry says that it is not there.
    async fn number(
        &self,
        at: At<'_>,
        package: &Package,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        // Held while versions are listed, so that one list serves all who wait.
        let mut numbered = self.numbered.lock().await;
        if let Some(versions) = numbered.get(at.repository.name()) {
            if let Some(number) = versions.get(digest) {
                return Ok(Some(*number));
            }
            // It may have been pushed since they were listed.
            if !is_there(at, digest).await? {
                return Ok(None);
            }
        }
        let versions: Vec<Version> = package.versions(at)?.try_collect().await?;
        let versions: HashMap<Digest, u64> = versions
            .into_iter()
            .filter_map(|version| Some((version.name.parse().ok()?, version.id)))
            .collect();
        let number = versions.get(digest).copied();
        numbered.insert(at.repository.name().clone(), versions);
        if number.is_none() && is_there(at, digest).await? {
            let message = format!("{}@{digest}: GitHub's API does not list it", at.repository);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(number)
    }
}

impl Package {
    /// The package of this name, of an organization or of a user, which have different addresses.
    async fn find(at: At<'_>, token: Secret) -> Result<Self, Error> {
        let name = at.repository.name().as_str();
        let (owner, name) = name.split_once('/').ok_or_else(|| {
            let message = format!("{}: GitHub's names begin with an owner", at.repository);
            Error::new(ErrorKind::Invalid, message)
        })?;
        let base = at.api().base(API)?;
        let base = base.as_str().trim_end_matches('/');
        let name = name.replace('/', "%2F");
        let package = |owners: &str| Self {
            url: format!("{base}/{owners}/{owner}/packages/container/{name}"),
            token: token.clone(),
        };
        let of_organization = package("orgs");
        match at.api().ask(&of_organization.call(Method::GET, "")?).await {
            Ok(_) => Ok(of_organization.versions_url()),
            Err(error) if *error.kind() == ErrorKind::NotFound => {
                let of_user = package("users");
                at.api().ask(&of_user.call(Method::GET, "")?).await?;
                Ok(of_user.versions_url())
            }
            Err(error) => Err(error),
        }
    }

    fn versions_url(self) -> Self {
        Self { url: format!("{}/versions", self.url), ..self }
    }

    fn call(&self, method: Method, path: &str) -> Result<ApiCall, Error> {
        let url = Url::parse(&format!("{}{path}", self.url))
            .map_err(|_| Error::new(ErrorKind::Invalid, "not a URL of an API"))?;
        Ok(ApiCall::new(method, url)
            .bearer(&self.token)
            .header(ACCEPT, "application/vnd.github+json")
            .header(HeaderName::from_static("x-github-api-version"), "2022-11-28"))
    }

    fn versions(&self, at: At<'_>) -> Result<BoxStream<'static, Result<Version, Error>>, Error> {
        Ok(linked::items(at.api(), self.call(Method::GET, "?per_page=100")?))
    }
}

/// The credential's token, which GitHub's API takes as well.
async fn token(at: At<'_>) -> Result<Option<Secret>, Error> {
    Ok(match at.credential().await? {
        Credential::Basic { password, .. } => Some(password),
        _ => None,
    })
}

/// Whether the registry has the manifest.
async fn is_there(at: At<'_>, digest: &Digest) -> Result<bool, Error> {
    let reference = at.repository.with_digest(digest.clone());
    Ok(manifests::head(at.transport, &reference, Access::Pull).await?.is_some())
}

/// What "not found" means for what is there.
fn may_not_delete(refusal: &Error) -> Error {
    refusal.with_kind(ErrorKind::Denied).with_note(
        "it is there: a token needs delete:packages, and its user the admin role of the package",
    )
}

/// GitHub also says "not found" to tokens that may not look.
fn is_refused(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unauthorized | ErrorKind::Denied)
}

/// An entry for each tag, or one for a version that has none.
fn entries_of(at: At<'_>, version: Version) -> Vec<Result<ListEntry, Error>> {
    let Ok(digest) = version.name.parse::<Digest>() else {
        tracing::warn!(repository = %at.repository, name = version.name, "not a digest");
        return Vec::new();
    };
    let time = version.created_at.as_deref().and_then(parse_time);
    let entry = |tag: Option<Tag>| {
        let mut entry = ListEntry::new(tag, digest.clone());
        entry.time = time.map(|at| ListedTime { at, source: TimeSource::ManifestPushed });
        Ok(entry)
    };
    let tags = version.metadata.and_then(|metadata| metadata.container);
    let tags = tags.map(|container| container.tags).unwrap_or_default();
    if tags.is_empty() {
        return vec![entry(None)];
    }
    tags.iter().filter_map(|tag| tag.parse().ok()).map(|tag| entry(Some(tag))).collect()
}
