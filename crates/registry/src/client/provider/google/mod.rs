//! Google Artifact Registry, also behind the host names of Container Registry.
//!
//! Images are read and deleted below `/v2/`, where lists of tags say more than those of others. Its REST
//! API is asked for what that cannot: lists of more than ten thousand images, and new repositories.

mod api;
mod list;
mod place;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use super::{At, Created, Provider, nobody};
use crate::client::credential::{Credential, Issued};
use crate::client::identity::TokenIdentity;
use crate::client::listing::ListEntry;
use crate::client::transport::{Api, Transport};
use crate::error::{Error, ErrorKind};
use crate::provider::ProviderKind;
use crate::reference::{RegistryHost, Repository};
use place::Place;

/// What access tokens are asked for. Which of the account's rights they carry along is the account's
/// matter (*Authenticate to Artifact Registry*).
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The user whose password is an access token (*Set up authentication for Docker*).
const OAUTH_USER: &str = "oauth2accesstoken";

pub(super) struct Google {
    identity: Option<Arc<dyn TokenIdentity>>,
}

impl Google {
    pub(super) fn new(identity: Option<Arc<dyn TokenIdentity>>) -> Self {
        Self { identity }
    }
}

#[async_trait]
impl Provider for Google {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Google
    }

    async fn credential(&self, api: &Api) -> Result<Issued, Error> {
        let Some(identity) = &self.identity else { return Ok(Credential::Anonymous.into()) };
        let issued = identity
            .access_token(SCOPE)
            .await
            .map_err(|error| error.without("credentials", api.host()))?;
        Ok(match issued {
            // Public images can be pulled by anybody.
            None => nobody(),
            Some(token) => {
                let (username, password) = (OAUTH_USER.to_owned(), token.token);
                let credential = Credential::Basic { username, password };
                Issued { expires: token.expires, ..credential.into() }
            }
        })
    }

    fn entries<'a>(self: Arc<Self>, at: At<'a>) -> BoxStream<'a, Result<ListEntry, Error>> {
        list::entries(at)
    }

    fn repositories<'a>(
        self: Arc<Self>,
        transport: &'a Transport,
        host: &'a RegistryHost,
    ) -> BoxStream<'a, Result<Repository, Error>> {
        list::repositories(transport, host)
    }

    fn repositories_below<'a>(
        self: Arc<Self>,
        at: At<'a>,
    ) -> BoxStream<'a, Result<Repository, Error>> {
        list::repositories_below(at)
    }

    /// Those behind the names of Container Registry are made by the first push of whoever may make
    /// repositories (*gcr.io repositories*), all others by the API.
    async fn create_repository(&self, at: At<'_>) -> Result<Created, Error> {
        let place = Place::of(at)?;
        if place.is_of_container_registry() {
            let message = format!("{} is made by the first push to it", at.repository);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        api::create_repository(at, &place).await
    }

    fn creation_command(&self, repository: &Repository) -> Option<String> {
        place::creation_command(repository)
    }
}
