//! Azure Container Registry, logged in to by an Entra token that it exchanges.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dockit_registry::{
    AccessToken, Client, Credential, CredentialError, Deleted, Deletion, ErrorKind, ListEntry,
    ManifestDeletion, ProviderKind, Registries, Registry as _, RegistryHost, RegistrySettings,
    Repository, Secret, Tag, TagDeletion, TimeSource, TokenIdentity,
};
use dockit_testkit::{AcrFront, AcrRole, EntraServer, PASSWORD, TestImage, USERNAME};
use futures_util::TryStreamExt as _;

use crate::contract::{
    Expected, ExpectedEntries, Vendor, contract_tests, manifest, push, push_index,
};

/// An identity whose token is always the same.
struct Token(String);

#[async_trait]
impl TokenIdentity for Token {
    async fn access_token(&self, scope: &str) -> Result<Option<AccessToken>, CredentialError> {
        assert_eq!(scope, "https://containerregistry.azure.net/.default");
        Ok(Some(AccessToken { token: Secret::new(self.0.clone()), expires: None }))
    }
}

fn token(role: AcrRole) -> Token {
    Token(EntraServer::token(role, Duration::from_secs(3600)))
}

struct Acr(AcrFront);

impl Acr {
    fn start() -> Self {
        Self(AcrFront::start())
    }

    fn registries(&self) -> Registries {
        let settings = RegistrySettings {
            provider: Some(ProviderKind::Acr),
            vouched: true,
            ..RegistrySettings::default()
        };
        Registries::from_iter([(self.host(), settings)])
    }

    fn client_as(&self, identity: impl TokenIdentity + 'static) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().no_proxy(true).registries(self.registries());
        builder.azure(Arc::new(identity)).build().unwrap()
    }

    fn client_with(&self, credential: Credential) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().no_proxy(true).registries(self.registries());
        builder.credentials(Arc::new(crate::Fixed(credential))).build().unwrap()
    }
}

impl Vendor for Acr {
    fn host(&self) -> RegistryHost {
        self.0.front().host().parse().unwrap()
    }

    fn client(&self) -> Client {
        self.client_as(token(AcrRole::Everything))
    }

    /// The admin user.
    fn login(&self) -> Option<(String, String)> {
        Some((USERNAME.to_owned(), PASSWORD.to_owned()))
    }

    fn expected(&self) -> Expected {
        Expected {
            delete_tag: TagDeletion::Native,
            delete_manifest: ManifestDeletion::RemovesTags,
            mounts: true,
            tags_of_missing_repository: Err(ErrorKind::NotFound),
            creates_repositories: true,
            entries: ExpectedEntries {
                time_source: TimeSource::Updated,
                sizes: true,
                media_types: true,
                untagged: true,
                of_missing_repository: Err(ErrorKind::NotFound),
            },
        }
    }

    fn strangers(&self) -> Vec<(Client, ErrorKind)> {
        let identities = [
            token(AcrRole::Nothing),
            Token("wrong".to_owned()),
            Token(EntraServer::token(AcrRole::Everything, Duration::ZERO)),
        ];
        let identities = identities.map(|identity| self.client_as(identity));
        let credentials = [
            crate::basic("wrong"),
            Credential::IdentityToken { username: None, token: Secret::new("wrong") },
        ];
        let credentials = credentials.map(|credential| self.client_with(credential));
        let clients = identities.into_iter().chain(credentials);
        clients.map(|client| (client, ErrorKind::Unauthorized)).collect()
    }

    fn readers(&self) -> Vec<(Client, ErrorKind)> {
        vec![
            (self.client_with(Credential::Anonymous), ErrorKind::Unauthorized),
            (self.client_as(token(AcrRole::Pull)), ErrorKind::Denied),
        ]
    }
}

contract_tests!(
    Acr::start(),
    access::strangers_learn_nothing,
    access::readers_read_and_do_not_write,
    manifests::a_manifest_without_its_blobs_is_refused
);
