//! Azure Container Registry, logged in to by an Entra token that it exchanges.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dockit_registry::{
    AccessToken, Client, ConfigLocation, Credential, CredentialError, Deleted, Deletion,
    DockerConfig, ErrorKind, ListEntry, ManifestDeletion, ProviderKind, Registries, Registry as _,
    RegistryHost, RegistrySettings, Repository, Secret, Tag, TagDeletion, TimeSource,
    TokenIdentity,
};
use dockit_testkit::{
    AcrFront, AcrRole, EntraServer, Fault, PASSWORD, Reply, Rule, TestImage, USERNAME, exchange,
};
use futures_util::TryStreamExt as _;

use crate::contract::{Expected, ExpectedEntries, Vendor, manifest, push, push_index};
use crate::vendors::registry_tests;

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

pub(super) struct Acr(pub(super) AcrFront);

impl Acr {
    pub(super) fn start() -> Self {
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

    pub(super) fn client_as(&self, identity: impl TokenIdentity + 'static) -> Client {
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
            shares_blobs: false,
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
        let credentials = [
            crate::basic("wrong"),
            Credential::IdentityToken { username: None, token: Secret::new("wrong") },
        ];
        let credentials = credentials.map(|credential| self.client_with(credential));
        credentials.map(|client| (client, ErrorKind::Unauthorized)).into()
    }

    fn readers(&self) -> Vec<(Client, ErrorKind)> {
        // An identity that the registry does not take reads what is for everybody.
        let refused = [
            token(AcrRole::Nothing),
            Token("wrong".to_owned()),
            Token(EntraServer::token(AcrRole::Everything, Duration::ZERO)),
        ];
        let refused = refused.map(|identity| (self.client_as(identity), ErrorKind::Unauthorized));
        let others = [
            (self.client_with(Credential::Anonymous), ErrorKind::Unauthorized),
            (self.client_as(token(AcrRole::Pull)), ErrorKind::Denied),
        ];
        refused.into_iter().chain(others).collect()
    }
}

registry_tests!(
    Acr::start(),
    access::strangers_learn_nothing,
    access::readers_read_and_do_not_write,
    manifests::a_manifest_without_its_blobs_is_refused
);

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

async fn entries(client: &Client, repository: &Repository) -> Vec<ListEntry> {
    let mut entries: Vec<ListEntry> = client.entries(repository).try_collect().await.unwrap();
    entries.sort_by_key(|entry| entry.tag.as_ref().map(ToString::to_string));
    entries
}

/// Requests to the front of which a path is told by its end.
fn asked(front: &AcrFront, end: &str) -> usize {
    let exchanges = front.front().proxy().exchanges();
    exchanges.iter().filter(|exchange| exchange.path().ends_with(end)).count()
}

#[tokio::test]
async fn a_tag_has_the_time_at_which_it_was_put_where_it_is() {
    let vendor = Acr::start();
    let (client, repository) = (vendor.client(), vendor.repository("app"));
    let image = TestImage::new("old");
    let digest = push(&client, &repository.with_tag(tag("old")), &image).await;
    let month = Duration::from_secs(30 * 24 * 3600);
    vendor.0.front().behind().age(repository.name().as_str(), digest.as_str(), month);
    client.put_manifest(&repository, &tag("promoted"), &manifest(&image)).await.unwrap();
    let entries = entries(&client, &repository).await;
    let [old, promoted] = &*entries else { panic!("{entries:?}") };
    let between = promoted.pushed().unwrap().duration_since(old.pushed().unwrap()).unwrap();
    assert!(between >= month, "{between:?}");
    assert_eq!(promoted.digest, digest);
}

#[tokio::test]
async fn a_manifest_that_lost_its_last_tag_is_listed_without_one() {
    let vendor = Acr::start();
    let (client, repository) = (vendor.client(), vendor.repository("app"));
    let digest = push(&client, &repository.with_tag(tag("1")), &TestImage::new("1")).await;
    assert_eq!(client.delete_tag(&repository, &tag("1")).await.unwrap(), Deleted::Done);
    let entries = entries(&client, &repository).await;
    let [entry] = &*entries else { panic!("{entries:?}") };
    assert_eq!((&entry.tag, &entry.digest), (&None, &digest));
    assert!(entry.size.is_some() && entry.pushed().is_some());
}

#[tokio::test]
async fn long_lists_are_read_page_by_page() {
    let vendor = Acr::start();
    let (client, repository) = (vendor.client(), vendor.repository("app"));
    push_index(&client, &repository.with_tag(tag("both"))).await;
    for number in 0..22 {
        let at = repository.with_tag(tag(&format!("tag-{number:02}")));
        push(&client, &at, &TestImage::new(&number.to_string())).await;
    }
    // 23 tags, and two images of an index without one.
    assert_eq!(entries(&client, &repository).await.len(), 25);
    assert_eq!(asked(&vendor.0, "/_tags"), 3);
    assert_eq!(asked(&vendor.0, "/_manifests"), 3);
    for number in 0..12 {
        let repository = vendor.repository(&format!("repository-{number:02}"));
        push(&client, &repository.with_tag(Tag::latest()), &TestImage::new("x")).await;
    }
    let host = vendor.host();
    let found: Vec<Repository> = client.repositories(&host).try_collect().await.unwrap();
    assert_eq!(found.len(), 13);
    assert!(asked(&vendor.0, "/acr/v1/_catalog") >= 2);
}

#[tokio::test]
async fn what_is_locked_is_listed_so_and_refused() {
    let vendor = Acr::start();
    let (client, repository) = (vendor.client(), vendor.repository("app"));
    let digest = push(&client, &repository.with_tag(tag("locked")), &TestImage::new("1")).await;
    let other = TestImage::new("2");
    push(&client, &repository.with_tag(tag("other")), &other).await;
    vendor.0.lock(repository.name().as_str(), "locked");

    let locked: Vec<bool> = entries(&client, &repository).await.iter().map(|e| e.locked).collect();
    assert_eq!(locked, [true, false]);
    let refusals = [
        client.delete_tag(&repository, &tag("locked")).await.unwrap_err(),
        client.delete_manifest(&repository, &digest).await.unwrap_err(),
        client.put_manifest(&repository, &tag("locked"), &manifest(&other)).await.unwrap_err(),
    ];
    for error in refusals {
        assert_eq!(*error.kind(), ErrorKind::Immutable, "{error}");
        assert!(error.to_string().contains("; it is locked"), "{error}");
    }
    let items = vec![Deletion::Tag(tag("locked")), Deletion::Tag(tag("other"))];
    let results = client.delete_all(&repository, items).await.unwrap();
    let [locked, other] = &*results else { panic!("{results:?}") };
    assert_eq!(*locked.result.as_ref().unwrap_err().kind(), ErrorKind::Immutable);
    assert_eq!(*other.result.as_ref().unwrap(), Deleted::Done);
}

#[tokio::test]
async fn a_lock_of_the_repository_is_one_of_everything_in_it() {
    let vendor = Acr::start();
    let (client, repository) = (vendor.client(), vendor.repository("app"));
    push(&client, &repository.with_tag(tag("1")), &TestImage::new("1")).await;
    vendor.0.lock_repository(repository.name().as_str());
    let entries = entries(&client, &repository).await;
    assert!(entries.len() == 1 && entries[0].locked, "{entries:?}");
    let error = client.delete_tag(&repository, &tag("1")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Immutable, "{error}");
}

/// An image with the same key has the same digest: it is pushed again as it was before.
#[tokio::test]
async fn what_was_deleted_softly_is_refused_with_a_word_on_how_to_restore_it() {
    let vendor = Acr::start();
    vendor.0.delete_softly();
    let (client, repository) = (vendor.client(), vendor.repository("app"));
    let image = TestImage::new("1");
    let digest = push(&client, &repository.with_tag(tag("1")), &image).await;
    assert_eq!(client.delete_manifest(&repository, &digest).await.unwrap(), Deleted::Done);
    let refused = client.put_manifest(&repository, &tag("1"), &manifest(&image)).await;
    let error = refused.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Immutable, "{error}");
    assert!(error.to_string().contains("az acr manifest restore"), "{error}");
}

#[tokio::test]
async fn an_identity_without_a_role_is_told_which_it_needs() {
    let vendor = Acr::start();
    let client = vendor.client_as(token(AcrRole::Nothing));
    let error = client.ping(&vendor.host()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{error}");
    let text = error.to_string();
    assert!(text.contains("AcrPull") && text.contains("AcrPush"), "{text}");
    assert!(text.contains("/oauth2/exchange"), "{text}");
}

/// Their replies say nowhere how long they are good, but in the tokens themselves.
#[tokio::test]
async fn tokens_are_replaced_when_they_expire() {
    let vendor = Acr::start();
    vendor.0.set_lifetimes(Duration::from_secs(3600), Duration::from_secs(2));
    let (client, repository) = (vendor.client(), vendor.repository("app"));
    push(&client, &repository.with_tag(tag("1")), &TestImage::new("1")).await;
    let before = asked(&vendor.0, "/oauth2/token");
    let refused = |front: &AcrFront| {
        let exchanges = front.front().proxy().exchanges();
        exchanges.iter().filter(|exchange| exchange.status == Some(401)).count()
    };
    let challenges = refused(&vendor.0);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    push(&client, &repository.with_tag(tag("2")), &TestImage::new("2")).await;
    assert!(asked(&vendor.0, "/oauth2/token") > before);
    assert_eq!(refused(&vendor.0), challenges, "no token was sent that had expired");
    assert_eq!(asked(&vendor.0, "/oauth2/exchange"), 1);

    // The identity token can go as well.
    vendor.0.revoke();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    push(&client, &repository.with_tag(tag("3")), &TestImage::new("3")).await;
    assert_eq!(asked(&vendor.0, "/oauth2/exchange"), 2);
}

#[tokio::test]
async fn an_identity_token_is_replaced_before_it_expires() {
    let vendor = Acr::start();
    vendor.0.set_lifetimes(Duration::from_secs(2), Duration::from_secs(2));
    let (client, repository) = (vendor.client(), vendor.repository("app"));
    push(&client, &repository.with_tag(tag("1")), &TestImage::new("1")).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;
    push(&client, &repository.with_tag(tag("2")), &TestImage::new("2")).await;
    assert_eq!(asked(&vendor.0, "/oauth2/exchange"), 2);
}

/// Nobody, where a machine has no identity: many registries let everybody pull.
#[tokio::test]
async fn whoever_has_no_identity_pulls_as_anybody() {
    struct Nobody;

    #[async_trait]
    impl TokenIdentity for Nobody {
        async fn access_token(&self, _: &str) -> Result<Option<AccessToken>, CredentialError> {
            Ok(None)
        }
    }

    let vendor = Acr::start();
    let at = vendor.repository("app").with_tag(tag("1"));
    let digest = push(&vendor.client(), &at, &TestImage::new("1")).await;
    let client = vendor.client_as(Nobody);
    assert_eq!(*client.manifest(&at).await.unwrap().digest(), digest);
    assert_eq!(entries(&client, at.repository()).await.len(), 1);
    let ping = client.ping(&vendor.host()).await.unwrap();
    assert!(!ping.authenticated);
    assert_eq!(asked(&vendor.0, "/oauth2/exchange"), 1, "only by the one who pushed");
}

/// What `az acr login` stores: a refresh token as password of a user of zeroes.
#[tokio::test]
async fn a_stored_login_of_az_is_used_as_identity_token() {
    let vendor = Acr::start();
    let host = vendor.host();
    let at = vendor.repository("app").with_tag(tag("1"));
    push(&vendor.client(), &at, &TestImage::new("1")).await;
    let form = format!(
        "grant_type=access_token&service={}&tenant={}&access_token={}",
        AcrFront::SERVICE,
        EntraServer::TENANT,
        token(AcrRole::Pull).0
    );
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let target = "/oauth2/exchange";
    let reply = exchange(host.as_str(), "POST", target, &headers, form.as_bytes()).unwrap();
    let reply: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let json = serde_json::json!({"auths": {host.as_str(): {
        "username": "00000000-0000-0000-0000-000000000000",
        "password": reply["refresh_token"],
    }}});
    let location =
        ConfigLocation::Content { name: "test".to_owned(), json: Secret::new(json.to_string()) };
    let builder = Client::builder().no_proxy(true).registries(vendor.registries());
    let config = DockerConfig::new([location]);
    let client = builder.credentials(Arc::new(config)).build().unwrap();
    assert!(client.ping(&host).await.unwrap().authenticated);
    assert_eq!(entries(&client, at.repository()).await.len(), 1);
}

#[tokio::test]
async fn an_overloaded_registry_is_asked_again() {
    let vendor = Acr::start();
    let (client, repository) = (vendor.client(), vendor.repository("app"));
    push(&client, &repository.with_tag(tag("1")), &TestImage::new("1")).await;
    let overloaded = Fault::reply(Reply::new(429).header("Retry-After", "1"));
    let proxy = vendor.0.front().proxy();
    proxy.add(Rule::on("GET", "*/_tags", overloaded.clone()).times(1));
    proxy.add(Rule::on("POST", "/oauth2/exchange", overloaded.clone()).times(1));
    proxy.add(Rule::on("DELETE", "*/_tags/1", overloaded).times(1));
    let client = vendor.client();
    assert_eq!(entries(&client, &repository).await.len(), 1);
    assert_eq!(client.delete_tag(&repository, &tag("1")).await.unwrap(), Deleted::Done);
}

#[tokio::test]
async fn behind_a_domain_of_its_own_it_is_known_by_its_challenge() {
    let vendor = Acr::start();
    let repository = vendor.repository("app");
    push(&vendor.client(), &repository.with_tag(tag("1")), &TestImage::new("1")).await;
    let client = crate::client(crate::basic(PASSWORD));
    assert_eq!(client.provider(&vendor.host()).await.unwrap(), ProviderKind::Acr);
    let found = entries(&client, &repository).await;
    assert_eq!(found[0].time.unwrap().source, TimeSource::Updated);
}
