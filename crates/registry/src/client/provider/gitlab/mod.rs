//! GitLab's container registry, on gitlab.com or run by a team.
//!
//! There are three sources for what is in a repository, of which the first that the server has is used:
//! the registry's own API besides the spec's, which says when a tag was pushed (container-registry,
//! *GitLab Container Registry HTTP API V1*; it needs the metadata database); GitLab's REST API, which
//! takes a request for each tag (*Container registry API*); and the spec's lists.

mod registry_api;
mod rest;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use futures_util::TryFutureExt as _;
use futures_util::stream::{BoxStream, StreamExt as _};
use reqwest::Method;
use tokio::sync::OnceCell;

use super::{At, Created, Provider, absent_or_hidden, generic};
use crate::client::deletion::{self, Deleted};
use crate::client::listing::ListEntry;
use crate::client::registry::Access;
use crate::client::transport::Call;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind};
use crate::provider::ProviderKind;
use crate::reference::{RepositoryName, Tag};
use rest::Place;

/// What is known of one registry.
#[derive(Default)]
pub(super) struct Gitlab {
    /// Whether it has GitLab's own API.
    own_api: OnceCell<bool>,
    /// How it removes tags.
    way: OnceLock<Way>,
    /// Where repositories are in GitLab's REST API.
    places: Mutex<HashMap<RepositoryName, Place>>,
}

/// How a tag is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As the distribution spec says; since GitLab 16.4.
    Native,
    /// By a request of GitLab's registry before that.
    Reference,
    /// By GitLab's REST API.
    Rest,
}

#[async_trait]
impl Provider for Gitlab {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Gitlab
    }

    fn entries<'a>(self: Arc<Self>, at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
        let entries = async move {
            let own = self.own_api.get_or_try_init(|| registry_api::is_there(at)).await?;
            if *own {
                return Ok(registry_api::entries(at));
            }
            match self.place(at).await {
                Ok(place) => Ok(rest::entries(at, place)),
                Err(error) if is_no_answer(&error) => {
                    let repository = at.repository;
                    tracing::info!(%repository, %error, "no list by GitLab's REST API");
                    Ok(generic::entries(at))
                }
                Err(error) => Err(error),
            }
        };
        entries.try_flatten_stream().boxed()
    }

    async fn delete_tag(&self, at: At<'_>, tag: &Tag) -> Result<Deleted, Error> {
        let way = match self.way.get() {
            Some(way) => *way,
            None => match deletion::tag(at.transport, at.repository, tag).await {
                Err(error) if *error.kind() == ErrorKind::Unsupported => {
                    let way =
                        if has_reference(at, tag).await? { Way::Reference } else { Way::Rest };
                    *self.way.get_or_init(|| way)
                }
                result => {
                    if result.is_ok() {
                        self.way.get_or_init(|| Way::Native);
                    }
                    return result;
                }
            },
        };
        match way {
            Way::Native => deletion::tag(at.transport, at.repository, tag).await,
            Way::Reference => deletion::reference(at.transport, at.repository, tag).await,
            Way::Rest => self.delete_by_rest(at, tag).await,
        }
    }

    async fn create_repository(&self, at: At<'_>) -> Result<Created, Error> {
        let message = format!(
            "{} is made by pushing to it; the first parts of its name have to be a project of GitLab, \
             which is not made by that",
            at.repository
        );
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}

impl Gitlab {
    /// Where the repository is in GitLab's REST API.
    async fn place(&self, at: At<'_>) -> Result<Place, Error> {
        let places = || self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let name = at.repository.name();
        if let Some(place) = places().get(name) {
            return Ok(place.clone());
        }
        let found = rest::find(at).await?;
        places().insert(name.clone(), found.clone());
        Ok(found)
    }

    async fn delete_by_rest(&self, at: At<'_>, tag: &Tag) -> Result<Deleted, Error> {
        let error = match self.place(at).await {
            Ok(place) => match rest::delete_tag(at, &place, tag).await {
                Ok(()) => return Ok(Deleted::Done),
                Err(error) => error,
            },
            Err(error) if *error.kind() == ErrorKind::NotFound => error,
            Err(error) if is_no_answer(&error) => {
                let note = "the registry itself removes no tags";
                return Err(error.with_kind(ErrorKind::Unsupported).with_note(note));
            }
            Err(error) => return Err(error),
        };
        absent_or_hidden(at, tag, error).await
    }
}

/// Whether the REST API said that it is not for this credential, or does not know the repository, which
/// the registry may know all the same.
fn is_no_answer(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::Unauthorized
            | ErrorKind::Denied
            | ErrorKind::Unsupported
            | ErrorKind::Invalid
    )
}

/// Whether the registry has the request that removed tags before the spec had one.
async fn has_reference(at: At<'_>, tag: &Tag) -> Result<bool, Error> {
    let path = format!("tags/reference/{tag}");
    let call = Call::new(Method::OPTIONS, at.repository, &path, Access::Pull);
    at.transport
        .retrying(async || {
            let reply = at.transport.send(&call).await?;
            if reply.status().is_server_error() || reply.status().as_u16() == 429 {
                return Err(reply.into_error().await);
            }
            let allowed = reply.header("allow").unwrap_or_default();
            let deletes = allowed.split(',').any(|method| method.trim() == "DELETE");
            Ok(reply.status().is_success() && deletes)
        })
        .await
}

/// A digest as GitLab's APIs say it.
fn parse_digest(at: At<'_>, tag: &str, text: &str) -> Result<Digest, Error> {
    text.parse().map_err(|error| {
        let message = format!("{}: the tag {tag} is listed with no digest: {error}", at.repository);
        Error::new(ErrorKind::Invalid, message)
    })
}

/// The tag; `None`, with a warning, if the name is none.
fn parse_tag(at: At<'_>, name: &str) -> Option<Tag> {
    let tag = name.parse();
    if tag.is_err() {
        tracing::warn!(repository = %at.repository, name, "left out of the list: not a tag");
    }
    tag.ok()
}
