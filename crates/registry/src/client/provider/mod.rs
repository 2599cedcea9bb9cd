//! What each vendor's registry does differently from the distribution spec, one file for each.

mod acr;
mod detect;
mod docker_hub;
mod ecr;
mod generic;
mod ghcr;
mod gitlab;
mod google;
mod harbor;
mod linked;
mod looked_up;
mod quay;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _, future};

pub(super) use detect::detect;

use super::credential::{Credential, Issued};
use super::deletion::{self, Deleted};
use super::identity::{AwsIdentity, TokenIdentity};
use super::listing::ListEntry;
use super::lists;
use super::manifests;
use super::registry::Access;
use super::transport::{Api, Transport};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::provider::ProviderKind;
use crate::reference::{RegistryHost, Repository, Tag};

/// How many requests of a deletion in single steps run at a time.
const AT_A_TIME: usize = 4;

/// How long it is believed that this machine or job has no identity: the one who knows may not have
/// answered yet. Half of it is left before the credential is read anew.
const NOBODY_FOR: Duration = Duration::from_secs(60);

/// Identities of clouds, as far as the program has any.
#[derive(Clone, Default)]
pub(super) struct Identities {
    pub(super) aws: Option<Arc<dyn AwsIdentity>>,
    pub(super) google: Option<Arc<dyn TokenIdentity>>,
    pub(super) azure: Option<Arc<dyn TokenIdentity>>,
}

/// The repository that something is done to, and who asks about it.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) transport: &'a Arc<Transport>,
    pub(super) repository: &'a Repository,
}

impl At<'_> {
    /// What is asked of the vendor's own API.
    pub(super) fn api(&self) -> Api {
        self.transport.api(self.repository.host())
    }

    /// The same for what lives on by itself.
    fn owned(&self) -> Owned {
        Owned { transport: Arc::clone(self.transport), repository: self.repository.clone() }
    }

    /// Who is asking.
    async fn credential(&self) -> Result<Credential, Error> {
        self.transport.credential(self.repository.host()).await
    }

    /// Who is asking instead of this one, whom the vendor's API refused, if that is known by now.
    async fn renewed(&self, refused: &Credential) -> Result<Option<Credential>, Error> {
        self.transport.renewed_credential(self.repository.host(), refused).await
    }
}

/// An [`At`] that borrows nothing.
struct Owned {
    transport: Arc<Transport>,
    repository: Repository,
}

impl Owned {
    fn at(&self) -> At<'_> {
        At { transport: &self.transport, repository: &self.repository }
    }
}

/// Something to be deleted from a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deletion {
    /// A tag, and nothing but the tag.
    Tag(Tag),
    /// A manifest, with whatever the registry ties to it.
    Manifest(Digest),
}

/// What became of a request for a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was made.
    Now,
    /// It was there.
    Before,
}

/// A vendor's registry, as far as it is not what the distribution spec says. Whatever a provider leaves
/// out is done as that says.
#[async_trait]
pub(super) trait Provider: Send + Sync {
    fn kind(&self) -> ProviderKind;

    /// A credential for whoever this machine or job is to the vendor; asked only if no other was found.
    /// Where it fails or is refused, what anybody may pull is pulled without it.
    async fn credential(&self, _api: &Api) -> Result<Issued, Error> {
        Ok(Credential::Anonymous.into())
    }

    /// Everything in the repository, in no order.
    fn entries<'a>(self: Arc<Self>, at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
        generic::entries(at)
    }

    /// The repositories of the registry.
    fn repositories<'a>(
        self: Arc<Self>,
        transport: &'a Transport,
        host: &'a RegistryHost,
    ) -> BoxStream<'a, Result<Repository, Error>> {
        lists::repositories(transport, host)
    }

    /// The repositories at and below a path.
    fn repositories_below<'a>(
        self: Arc<Self>,
        at: At<'a>,
    ) -> BoxStream<'a, Result<Repository, Error>> {
        let below = format!("{}/", at.repository.name());
        let all = self.repositories(at.transport, at.repository.host());
        all.try_filter(move |one| {
            future::ready(one == at.repository || one.name().as_str().starts_with(&below))
        })
        .boxed()
    }

    /// Whether deletions as the spec has them want a token that may push: its token server knows no
    /// other right.
    fn deletes_by_pushers(&self) -> bool {
        false
    }

    async fn delete_tag(&self, at: At<'_>, tag: &Tag) -> Result<Deleted, Error> {
        deletion::tag(at.transport, at.repository, tag).await
    }

    async fn delete_manifest(&self, at: At<'_>, digest: &Digest) -> Result<Deleted, Error> {
        deletion::manifest(at.transport, at.repository, digest).await
    }

    /// At most as many items as the capabilities say, all tags or all manifests; one result for each.
    async fn delete_batch(&self, at: At<'_>, items: &[Deletion]) -> Vec<Result<Deleted, Error>> {
        one_by_one(self, at, items).await
    }

    /// Makes the repository, if it is not there.
    async fn create_repository(&self, at: At<'_>) -> Result<Created, Error> {
        let message = format!("{} has no way to be made before it is pushed to", at.repository);
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// The command of the vendor's own tool that makes the repository, if a push does not make it.
    fn creation_command(&self, _repository: &Repository) -> Option<String> {
        None
    }
}

/// Deletes each item by itself.
pub(super) async fn one_by_one<P: Provider + ?Sized>(
    provider: &P,
    at: At<'_>,
    items: &[Deletion],
) -> Vec<Result<Deleted, Error>> {
    let steps: Vec<_> = items
        .iter()
        .map(|item| async move {
            match item {
                Deletion::Tag(tag) => provider.delete_tag(at, tag).await,
                Deletion::Manifest(digest) => provider.delete_manifest(at, digest).await,
            }
        })
        .collect();
    // Manifests go in the given order: what an index holds not before the index.
    let tags = items.iter().all(|item| matches!(item, Deletion::Tag(_)));
    stream::iter(steps).buffered(if tags { AT_A_TIME } else { 1 }).collect().await
}

/// The entries of a repository, by a provider that lives as long as they are read.
pub(super) fn entries<'a>(
    provider: Arc<dyn Provider>,
    at: At<'a>,
) -> BoxStream<'a, Result<ListEntry, Error>> {
    provider.entries(at)
}

/// The repositories of a registry, in the same way.
pub(super) fn repositories<'a>(
    provider: Arc<dyn Provider>,
    transport: &'a Transport,
    host: &'a RegistryHost,
) -> BoxStream<'a, Result<Repository, Error>> {
    provider.repositories(transport, host)
}

/// The repositories at and below a path, in the same way.
pub(super) fn repositories_below<'a>(
    provider: Arc<dyn Provider>,
    at: At<'a>,
) -> BoxStream<'a, Result<Repository, Error>> {
    provider.repositories_below(at)
}

/// An error of this vendor's registry, with what that does not say of it.
pub(super) fn explained(kind: ProviderKind, pushes: bool, error: Error) -> Error {
    if kind == ProviderKind::Gitlab && pushes && *error.kind() == ErrorKind::Denied {
        return error.with_note("GitLab also denies what is pushed to a path below no project");
    }
    error
}

/// What the vendor's API lists, or the spec's lists if that does not let the credential in.
async fn or_generic<'a>(
    at: At<'a>,
    listed: BoxStream<'a, Result<ListEntry, Error>>,
) -> BoxStream<'a, Result<ListEntry, Error>> {
    or_generic_if(at, listed, |error| {
        matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Denied)
    })
    .await
}

/// The same for another idea of what does not let it in.
async fn or_generic_if<'a>(
    at: At<'a>,
    listed: BoxStream<'a, Result<ListEntry, Error>>,
    is_refusal: impl Fn(&Error) -> bool,
) -> BoxStream<'a, Result<ListEntry, Error>> {
    let mut listed = Box::pin(listed.peekable());
    match listed.as_mut().peek().await {
        Some(Err(error)) if is_refusal(error) => {
            tracing::info!(repository = %at.repository, %error, "no list by the vendor's API");
            generic::entries(at)
        }
        _ => listed.boxed(),
    }
}

/// What an API's refusal to delete a tag means: APIs say "not found" also of what the credential may not
/// see, and the registry knows better.
async fn absent_or_hidden(at: At<'_>, tag: &Tag, refusal: Error) -> Result<Deleted, Error> {
    if *refusal.kind() != ErrorKind::NotFound {
        return Err(refusal);
    }
    let reference = at.repository.with_tag(tag.clone());
    match manifests::head(at.transport, &reference, Access::Pull).await? {
        None => Ok(Deleted::Absent),
        Some(_) => Err(refusal.with_kind(ErrorKind::Denied)),
    }
}

/// Sees that a tag which an API calls absent is so to the registry as well.
async fn confirmed_absent(at: At<'_>, tag: &Tag) -> Result<Deleted, Error> {
    let message =
        format!("{}:{tag} is there, but the vendor's API does not know it", at.repository);
    absent_or_hidden(at, tag, Error::new(ErrorKind::NotFound, message)).await
}

/// That this machine or job has no identity, for now.
fn nobody() -> Issued {
    let expires = Some(SystemTime::now() + NOBODY_FOR);
    Issued { expires, ..Credential::Anonymous.into() }
}

/// A time as vendors' APIs write it; some say the year 1 for "never".
fn time_since_1970(text: &str) -> Option<SystemTime> {
    generic::parse_time(text).filter(|time| *time > UNIX_EPOCH)
}

/// The provider of this kind.
pub(super) fn of_kind(kind: ProviderKind, identities: &Identities) -> Arc<dyn Provider> {
    match kind {
        ProviderKind::Google => Arc::new(google::Google::new(identities.google.clone())),
        ProviderKind::Ecr => Arc::new(ecr::Ecr::private(identities.aws.clone())),
        ProviderKind::EcrPublic => Arc::new(ecr::Ecr::public(identities.aws.clone())),
        ProviderKind::Acr => Arc::new(acr::Acr::new(identities.azure.clone())),
        ProviderKind::Gitlab => Arc::<gitlab::Gitlab>::default(),
        ProviderKind::DockerHub => Arc::<docker_hub::DockerHub>::default(),
        ProviderKind::Ghcr => Arc::<ghcr::Ghcr>::default(),
        ProviderKind::Quay => Arc::new(quay::Quay),
        ProviderKind::Harbor => Arc::new(harbor::Harbor),
        // What is done to a layout does not come here.
        ProviderKind::Generic | ProviderKind::Layout => Arc::new(generic::Generic),
    }
}
