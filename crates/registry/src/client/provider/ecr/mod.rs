//! Amazon ECR, private and public registries (*Amazon ECR API Reference*, *Amazon ECR Public API
//! Reference*; the user guides' pages *Private registry authentication* and *Registry authentication in
//! Amazon ECR Public*).
//!
//! Lists and deletions go to ECR's own API, whose requests are signed with AWS keys. Where there are none,
//! or this crate was built without its feature `aws`, what the distribution spec knows is done instead.

#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "for signed requests"))]
mod asking;
mod deletion;
#[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "for signed requests"))]
mod endpoint;
mod images;
mod login;
#[cfg(feature = "aws")]
mod signature;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryFutureExt as _;
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OnceCell;

use super::{At, Created, Deletion, Provider, generic, nobody, one_by_one, or_generic_if};
use crate::client::credential::{Credential, Issued};
use crate::client::deletion::{self as plain, Deleted};
use crate::client::identity::AwsIdentity;
use crate::client::listing::ListEntry;
use crate::client::lists;
use crate::client::transport::{Api, Transport};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::provider::ProviderKind;
use crate::reference::{RegistryHost, Repository, RepositoryName, Tag};
use asking::Asking;
use endpoint::{Endpoint, Service};

/// Why ECR's API is not asked.
const NOBODY_ASKS: &str = if cfg!(feature = "aws") {
    "there is no AWS identity to ask ECR's API with"
} else {
    "ECR's API is not asked, as dockit-registry was built without its feature `aws`"
};

/// Why ECR's API is not asked about a public repository where it could be asked.
const NOT_OWN: &str = "its name does not begin with an alias of the registry of this AWS identity";

pub(super) struct Ecr {
    service: Service,
    identity: Option<Arc<dyn AwsIdentity>>,
    /// The first parts of the names of the identity's own public repositories.
    aliases: OnceCell<BTreeSet<String>>,
}

impl Ecr {
    pub(super) fn private(identity: Option<Arc<dyn AwsIdentity>>) -> Self {
        Self { service: Service::Private, identity, aliases: OnceCell::new() }
    }

    pub(super) fn public(identity: Option<Arc<dyn AwsIdentity>>) -> Self {
        Self { service: Service::Public, identity, aliases: OnceCell::new() }
    }

    /// Whoever can ask ECR's API about this registry, if anybody can.
    async fn asking(&self, api: &Api) -> Result<Option<Asking>, Error> {
        let Some(identity) = self.identity.as_ref().filter(|_| cfg!(feature = "aws")) else {
            return Ok(None);
        };
        let host = api.host();
        let keys = identity.keys().await.map_err(|error| error.without("AWS keys", host))?;
        let Some(keys) = keys else { return Ok(None) };
        let region = match endpoint::region_of(self.service, host) {
            Some(region) => region.to_owned(),
            None => identity.region().await.ok_or_else(|| {
                let message = format!(
                    "no region of AWS: the name {host} holds none, and none is configured for this \
                     machine or job"
                );
                Error::new(ErrorKind::Credential, message)
            })?,
        };
        let endpoint = Endpoint::of(self.service, api, &region)?;
        Ok(Some(Asking { api: api.clone(), endpoint, keys }))
    }

    /// The same; nobody, if the identity is good for nothing and somebody stored a password for the registry
    /// itself.
    async fn asking_beside(
        &self,
        transport: &Transport,
        host: &RegistryHost,
    ) -> Result<Option<Asking>, Error> {
        let error = match self.asking(&transport.api(host)).await {
            Err(error) if *error.kind() == ErrorKind::Credential => error,
            asking => return asking,
        };
        match transport.credential(host).await {
            Ok(stored) if stored != Credential::Anonymous => {
                tracing::warn!(%host, %error, "ECR's API is not asked");
                Ok(None)
            }
            _ => Err(error),
        }
    }

    /// Whoever can ask ECR's API about this repository, and the name that it has there.
    async fn asking_about(&self, at: At<'_>) -> Result<Option<(Asking, String)>, Error> {
        let asking = self.asking_beside(at.transport, at.repository.host()).await?;
        let Some(asking) = asking else { return Ok(None) };
        let name = at.repository.name().as_str();
        if self.service == Service::Private {
            return Ok(Some((asking, name.to_owned())));
        }
        // The API of public registries knows repositories without the alias that their names begin with,
        // and takes them for the identity's own: those of others must not be asked for there.
        let Some((alias, name)) = name.split_once('/') else { return Ok(None) };
        let aliases = self.aliases.get_or_try_init(|| aliases(&asking)).await?;
        let name = name.to_owned();
        Ok(aliases.contains(alias).then_some((asking, name)))
    }

    /// Whether what the identity cannot do is done without it: anybody may read public registries, also who
    /// has an identity that is good for nothing.
    fn is_read_anyway(&self, error: &Error) -> bool {
        let refused = matches!(
            error.kind(),
            ErrorKind::Credential | ErrorKind::Unauthorized | ErrorKind::Denied
        );
        self.service == Service::Public && refused
    }

    /// Why ECR's API is not asked about a repository.
    async fn why_not(&self, at: At<'_>) -> Result<&'static str, Error> {
        Ok(if self.asking(&at.api()).await?.is_some() { NOT_OWN } else { NOBODY_ASKS })
    }

    /// What a refusal by the registry itself leaves unsaid.
    async fn noted(&self, at: At<'_>, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Unsupported | ErrorKind::Denied => {
                error.with_note(self.why_not(at).await.unwrap_or(NOBODY_ASKS))
            }
            _ => error,
        }
    }

    async fn issued(&self, api: &Api) -> Result<Issued, Error> {
        match self.asking(api).await? {
            Some(asking) => login::issue(&asking).await,
            None => Ok(nobody()),
        }
    }
}

#[async_trait]
impl Provider for Ecr {
    fn kind(&self) -> ProviderKind {
        match self.service {
            Service::Private => ProviderKind::Ecr,
            Service::Public => ProviderKind::EcrPublic,
        }
    }

    async fn credential(&self, api: &Api) -> Result<Issued, Error> {
        let issued = self.issued(api).await;
        match issued {
            Err(error) if self.is_read_anyway(&error) => {
                tracing::warn!(host = %api.host(), %error, "asked without an AWS identity");
                Ok(Credential::Anonymous.into())
            }
            issued => issued,
        }
    }

    fn entries<'a>(self: Arc<Self>, at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
        let entries = async move {
            let (asking, name) = match self.asking_about(at).await {
                Ok(Some(asking)) => asking,
                Ok(None) => return Ok(generic::entries(at)),
                Err(error) if self.is_read_anyway(&error) => {
                    tracing::warn!(repository = %at.repository, %error, "listed without ECR's API");
                    return Ok(generic::entries(at));
                }
                Err(error) => return Err(error),
            };
            let listed = images::entries(Arc::new(asking), name).boxed();
            Ok(or_generic_if(at, listed, |error| self.is_read_anyway(error)).await)
        };
        entries.try_flatten_stream().boxed()
    }

    fn repositories<'a>(
        self: Arc<Self>,
        transport: &'a Transport,
        host: &'a RegistryHost,
    ) -> BoxStream<'a, Result<Repository, Error>> {
        let repositories = async move {
            let Some(asking) = self.asking_beside(transport, host).await? else {
                return Ok(lists::repositories(transport, host));
            };
            let service = self.service;
            let listed = asking::pages::<RepositoriesPage>(Arc::new(asking), json!({}));
            let repositories = listed.try_filter_map(move |listed| async move {
                let name = listed.name(service).parse::<RepositoryName>();
                let repository = name.and_then(|name| Repository::new(host.clone(), name));
                if let Err(error) = &repository {
                    tracing::warn!(%host, %error, "left out of the list: not a repository");
                }
                Ok(repository.ok())
            });
            Ok(repositories.boxed())
        };
        repositories.try_flatten_stream().boxed()
    }

    async fn delete_tag(&self, at: At<'_>, tag: &Tag) -> Result<Deleted, Error> {
        match self.asking_about(at).await? {
            Some((asking, name)) => deletion::one(&asking, &name, Deletion::Tag(tag.clone())).await,
            None => match plain::tag(at.transport, at.repository, tag).await {
                Err(error) => Err(self.noted(at, error).await),
                deleted => deleted,
            },
        }
    }

    async fn delete_manifest(&self, at: At<'_>, digest: &Digest) -> Result<Deleted, Error> {
        match self.asking_about(at).await? {
            Some((asking, name)) => {
                deletion::one(&asking, &name, Deletion::Manifest(digest.clone())).await
            }
            None => match plain::manifest(at.transport, at.repository, digest).await {
                Err(error) => Err(self.noted(at, error).await),
                deleted => deleted,
            },
        }
    }

    async fn delete_batch(&self, at: At<'_>, items: &[Deletion]) -> Vec<Result<Deleted, Error>> {
        match self.asking_about(at).await {
            Ok(Some((asking, name))) => deletion::batch(&asking, &name, items).await,
            Ok(None) => one_by_one(self, at, items).await,
            Err(error) => items.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// `CreateRepository`, with the settings that the account has for new ones.
    async fn create_repository(&self, at: At<'_>) -> Result<Created, Error> {
        let Some((asking, name)) = self.asking_about(at).await? else {
            let why = self.why_not(at).await?;
            let message = format!("{} cannot be made: {why}", at.repository);
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        let made = asking.ask("CreateRepository", asking.about(json!({"repositoryName": name})));
        match made.await {
            Ok(Made {}) => Ok(Created::Now),
            Err(error) if has(&error, "RepositoryAlreadyExistsException") => Ok(Created::Before),
            Err(error) => Err(error),
        }
    }

    fn creation_command(&self, repository: &Repository) -> Option<String> {
        let name = repository.name().as_str();
        Some(match self.service {
            Service::Private => {
                let region = endpoint::region_of(self.service, repository.host());
                let region = region.map(|region| format!(" --region {region}"));
                let region = region.unwrap_or_default();
                format!("aws ecr create-repository --repository-name {name}{region}")
            }
            Service::Public => {
                let (_, name) = name.split_once('/')?;
                let region = endpoint::PUBLIC_REGION;
                format!(
                    "aws ecr-public create-repository --repository-name {name} --region {region}"
                )
            }
        })
    }
}

fn has(error: &Error, code: &str) -> bool {
    error.codes().iter().any(|known| known == code)
}

/// A reply of which nothing is needed.
#[derive(Deserialize)]
struct Made {}

#[derive(Deserialize)]
struct RepositoriesPage {
    repositories: Vec<ListedRepository>,
    #[serde(rename = "nextToken")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedRepository {
    repository_name: String,
    repository_uri: Option<String>,
}

impl asking::Page for RepositoriesPage {
    type Item = ListedRepository;
    const ACTION: &str = "DescribeRepositories";

    fn parts(self) -> (Vec<ListedRepository>, Option<String>) {
        (self.repositories, self.next_token)
    }
}

impl ListedRepository {
    /// The name that the repository has for clients; that of a public one begins with an alias.
    fn name(&self, service: Service) -> &str {
        let of_uri = || Some(self.repository_uri.as_deref()?.split_once('/')?.1);
        match service {
            Service::Private => &self.repository_name,
            Service::Public => of_uri().unwrap_or(&self.repository_name),
        }
    }
}

/// The aliases of the identity's public registries.
async fn aliases(asking: &Asking) -> Result<BTreeSet<String>, Error> {
    #[derive(Deserialize)]
    struct Reply {
        registries: Vec<Registry>,
    }
    #[derive(Deserialize)]
    struct Registry {
        aliases: Vec<Alias>,
    }
    #[derive(Deserialize)]
    struct Alias {
        name: String,
    }
    let reply: Reply = asking.ask("DescribeRegistries", json!({})).await?;
    let aliases = reply.registries.into_iter().flat_map(|registry| registry.aliases);
    Ok(aliases.map(|alias| alias.name).collect())
}
