//! Amazon ECR: private registries want passwords that its API issues, public ones tokens for them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dockit_registry::{
    Access, AwsIdentity, AwsKeys, Client, Created, Credential, CredentialError, Deleted, Deletion,
    Digest, ErrorKind, Issued, ListEntry, ManifestDeletion, ProviderKind, Registries,
    Registry as _, RegistryHost, RegistrySettings, Repository, RetryPolicy, Secret, Tag,
    TagDeletion, TimeSource,
};
use dockit_testkit::{EcrFront, Fault, Reply, Rule, ScriptedServer, TestImage};
use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::contract::{
    Expected, ExpectedEntries, Vendor, digest_of, manifest, push, push_blobs, push_index,
};
use crate::vendors::registry_tests;

/// An identity with keys that do not change.
pub(crate) struct Keys {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) region: Option<String>,
}

#[async_trait]
impl AwsIdentity for Keys {
    async fn keys(&self) -> Result<Option<AwsKeys>, CredentialError> {
        Ok(Some(AwsKeys {
            access_key_id: self.access_key.clone(),
            secret_access_key: Secret::new(&self.secret_key),
            session_token: None,
            expires: None,
        }))
    }

    async fn region(&self) -> Option<String> {
        self.region.clone()
    }
}

fn keys(secret_key: &str) -> Keys {
    Keys {
        access_key: EcrFront::ACCESS_KEY.to_owned(),
        secret_key: secret_key.to_owned(),
        region: Some(EcrFront::REGION.to_owned()),
    }
}

/// Somebody without keys.
struct Nobody;

#[async_trait]
impl AwsIdentity for Nobody {
    async fn keys(&self) -> Result<Option<AwsKeys>, CredentialError> {
        Ok(None)
    }

    async fn region(&self) -> Option<String> {
        None
    }
}

struct Ecr {
    kind: ProviderKind,
    front: EcrFront,
}

impl Ecr {
    fn private() -> Self {
        Self { kind: ProviderKind::Ecr, front: EcrFront::private() }
    }

    fn public() -> Self {
        Self { kind: ProviderKind::EcrPublic, front: EcrFront::public() }
    }

    fn client_of(&self, identity: impl AwsIdentity + 'static, credential: Credential) -> Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = RegistrySettings {
            provider: Some(self.kind),
            api_url: Some(self.front.api_url()),
            vouched: true,
            ..RegistrySettings::default()
        };
        let retry = RetryPolicy { base_delay: Duration::from_millis(20), ..RetryPolicy::default() };
        Client::builder()
            .no_proxy(true)
            .retry(retry)
            .registries(Registries::from_iter([(self.host(), settings)]))
            .credentials(Arc::new(crate::Fixed(credential)))
            .aws(Arc::new(identity))
            .build()
            .unwrap()
    }

    fn basic(password: &str) -> Credential {
        Credential::Basic { username: "AWS".into(), password: Secret::new(password) }
    }

    fn app(&self) -> Repository {
        self.repository("app")
    }
}

impl Vendor for Ecr {
    fn host(&self) -> RegistryHost {
        self.front.host().parse().unwrap()
    }

    fn client(&self) -> Client {
        self.client_of(keys(EcrFront::SECRET_KEY), Credential::Anonymous)
    }

    fn login(&self) -> Option<(String, String)> {
        Some(("AWS".to_owned(), self.front.password()))
    }

    fn expected(&self) -> Expected {
        let time_source = match self.kind {
            ProviderKind::EcrPublic => TimeSource::TagPushed,
            _ => TimeSource::ManifestPushed,
        };
        Expected {
            delete_tag: TagDeletion::RemovesLast,
            delete_manifest: ManifestDeletion::RemovesTags,
            mounts: false,
            shares_blobs: false,
            tags_of_missing_repository: Err(ErrorKind::NotFound),
            creates_repositories: false,
            entries: ExpectedEntries {
                time_source,
                sizes: true,
                media_types: true,
                untagged: true,
                of_missing_repository: Err(ErrorKind::NotFound),
            },
        }
    }

    fn strangers(&self) -> Vec<(Client, ErrorKind)> {
        let mut strangers = vec![self.client_of(Nobody, Self::basic("wrong"))];
        if self.kind == ProviderKind::Ecr {
            strangers.push(self.client_of(Nobody, Credential::Anonymous));
            strangers.push(self.client_of(keys("wrong"), Credential::Anonymous));
        }
        strangers.into_iter().map(|client| (client, ErrorKind::Unauthorized)).collect()
    }

    fn readers(&self) -> Vec<(Client, ErrorKind)> {
        let readers = [
            self.client_of(Nobody, Credential::Anonymous),
            self.client_of(keys("wrong"), Credential::Anonymous),
        ];
        readers.into_iter().map(|client| (client, ErrorKind::Unauthorized)).collect()
    }

    fn repository(&self, name: &str) -> Repository {
        let name = format!("{}/{name}", EcrFront::ALIAS);
        self.front.create(&name);
        format!("{}/{name}", self.host()).parse().unwrap()
    }
}

mod private {
    use super::*;

    registry_tests!(
        Ecr::private(),
        access::strangers_learn_nothing,
        manifests::a_manifest_without_its_blobs_is_refused,
        deletion::a_manifest_goes_with_its_last_tag
    );
}

mod public {
    use super::*;

    registry_tests!(
        Ecr::public(),
        access::strangers_learn_nothing,
        access::readers_read_and_do_not_write,
        manifests::a_manifest_without_its_blobs_is_refused,
        deletion::a_manifest_goes_with_its_last_tag
    );
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

async fn entries(client: &Client, repository: &Repository) -> Vec<ListEntry> {
    client.entries(repository).try_collect().await.unwrap()
}

/// This many images with a tag each.
async fn push_many(client: &Client, repository: &Repository, count: usize) -> Vec<Digest> {
    let mut digests = Vec::new();
    for number in 0..count {
        let image = TestImage::new(&format!("image {number}"));
        let at = repository.with_tag(tag(&format!("tag-{number:03}")));
        digests.push(push(client, &at, &image).await);
    }
    digests
}

#[tokio::test]
async fn images_are_listed_page_by_page() {
    for vendor in [Ecr::private(), Ecr::public()] {
        let (client, repository) = (vendor.client(), vendor.app());
        let mut pushed = push_many(&client, &repository, 45).await;
        let listed = entries(&client, &repository).await;
        let mut digests: Vec<Digest> = listed.iter().map(|entry| entry.digest.clone()).collect();
        digests.sort();
        pushed.sort();
        assert_eq!(digests, pushed);
        let asked = vendor.front.actions();
        let pages = asked.iter().filter(|action| *action == "DescribeImages").count();
        assert_eq!(pages, 3, "{asked:?}");
    }
}

#[tokio::test]
async fn the_list_says_when_an_image_was_pulled_last_as_far_as_it_is_known() {
    for (vendor, known) in [(Ecr::private(), true), (Ecr::public(), false)] {
        let (client, repository) = (vendor.client(), vendor.app());
        push_many(&client, &repository, 1).await;
        let listed = entries(&client, &repository).await;
        assert_eq!(listed[0].last_pulled.is_some(), known);
        assert_eq!(client.capabilities(&vendor.host()).pull_times, known);
    }
}

#[tokio::test]
async fn a_retag_is_a_new_time_in_public_registries_alone() {
    for (vendor, of_tag) in [(Ecr::private(), false), (Ecr::public(), true)] {
        let (client, repository) = (vendor.client(), vendor.app());
        let image = TestImage::new("old");
        let digest = push(&client, &repository.with_tag(tag("old")), &image).await;
        let day = Duration::from_secs(24 * 3600);
        let name = repository.name().to_string();
        vendor.front.behind().age(&name, digest.as_str(), day);
        client.put_manifest(&repository, &tag("new"), &manifest(&image)).await.unwrap();
        let listed = entries(&client, &repository).await;
        let age = |name: &str| {
            let entry = listed.iter().find(|entry| entry.tag == Some(tag(name))).unwrap();
            entry.pushed().unwrap().elapsed().unwrap_or_default()
        };
        assert!(age("old") >= day);
        assert_eq!(age("new") < day / 2, of_tag);
    }
}

#[tokio::test]
async fn more_than_a_hundred_deletions_are_several_requests() {
    let vendor = Ecr::private();
    let (client, repository) = (vendor.client(), vendor.app());
    push_many(&client, &repository, 103).await;
    let tags = (0..103).map(|number| Deletion::Tag(tag(&format!("tag-{number:03}"))));
    let items: Vec<Deletion> = tags.collect();
    for result in client.delete_all(&repository, items).await.unwrap() {
        assert_eq!(result.result.unwrap(), Deleted::Done, "{:?}", result.item);
    }
    let requests = vendor.front.actions();
    assert_eq!(requests.iter().filter(|action| *action == "BatchDeleteImage").count(), 2);
    assert_eq!(entries(&client, &repository).await, []);
}

#[tokio::test]
async fn an_image_of_an_index_that_stays_is_still_referenced() {
    for vendor in [Ecr::private(), Ecr::public()] {
        let (client, repository) = (vendor.client(), vendor.app());
        let (index, children) = push_index(&client, &repository.with_tag(tag("both"))).await;
        let child: Digest = children[0].digest().parse().unwrap();
        let items = vec![
            Deletion::Manifest(child.clone()),
            Deletion::Manifest(Digest::of(b"absent")),
            Deletion::Tag(tag("absent")),
        ];
        let results = client.delete_all(&repository, items).await.unwrap();
        let error = results[0].result.as_ref().unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::StillReferenced, "{error}");
        assert_eq!(error.codes(), ["ImageReferencedByManifestList"]);
        for result in &results[1..] {
            assert_eq!(*result.result.as_ref().unwrap(), Deleted::Absent);
        }
        let error = client.delete_manifest(&repository, &child).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::StillReferenced, "{error}");
        let at = repository.with_tag(tag("both"));
        assert_eq!(digest_of(&vendor, &at).await.as_ref(), Some(index.digest()));
    }
}

#[tokio::test]
async fn a_tag_of_a_repository_with_immutable_tags_stays_where_it_is() {
    let vendor = Ecr::private();
    let (client, repository) = (vendor.client(), vendor.app());
    let image = TestImage::new("fixed");
    let at = repository.with_tag(tag("1"));
    let digest = push(&client, &at, &image).await;
    vendor.front.make_immutable(repository.name().as_str());
    // The registry would refuse this as well, so it must not come to that.
    assert_eq!(push(&client, &at, &image).await, digest);
    let other = TestImage::new("other");
    client.put_manifest(&repository, &tag("2"), &manifest(&image)).await.unwrap();
    push_blobs(&client, &repository, &other).await;
    let put = client.put_manifest(&repository, &tag("1"), &manifest(&other)).await;
    let error = put.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Immutable, "{error}");
    assert_eq!(digest_of(&vendor, &at).await, Some(digest));
}

#[tokio::test]
async fn what_the_api_has_too_much_of_is_asked_again() {
    let vendor = Ecr::private();
    let (client, repository) = (vendor.client(), vendor.app());
    push_many(&client, &repository, 1).await;
    vendor.front.throttle(3);
    assert_eq!(entries(&client, &repository).await.len(), 1);
    let impatient = {
        vendor.front.throttle(100);
        client.delete_tag(&repository, &tag("tag-000")).await.unwrap_err()
    };
    assert!(matches!(impatient.kind(), ErrorKind::RateLimited { .. }), "{impatient}");
}

#[tokio::test]
async fn a_key_that_may_not_do_it_is_denied() {
    let vendor = Ecr::private();
    let (client, repository) = (vendor.client(), vendor.app());
    push_many(&client, &repository, 1).await;
    vendor.front.close();
    let listed: Result<Vec<ListEntry>, _> = client.entries(&repository).try_collect().await;
    assert_eq!(*listed.unwrap_err().kind(), ErrorKind::Denied);
    let items = vec![Deletion::Tag(tag("tag-000"))];
    let results = client.delete_all(&repository, items).await.unwrap();
    assert_eq!(*results[0].result.as_ref().unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn nothing_is_deleted_from_a_repository_that_is_not_there() {
    let vendor = Ecr::private();
    let missing = vendor.missing_repository("never-made");
    let client = vendor.client();
    assert_eq!(client.delete_tag(&missing, &tag("1")).await.unwrap(), Deleted::Absent);
    assert_eq!(client.create_repository(&missing).await.unwrap(), Created::Now);
}

/// The passwords of some services that imitate AWS have always expired.
#[tokio::test]
async fn a_password_that_has_expired_when_it_is_issued_is_used_until_it_is_refused() {
    let vendor = Ecr::private();
    vendor.front.set_lifetime(Duration::ZERO);
    let (client, repository) = (vendor.client(), vendor.app());
    push_many(&client, &repository, 3).await;
    assert_eq!(vendor.front.issued(), 1);
}

#[tokio::test]
async fn a_new_password_is_got_before_the_old_one_expires() {
    let vendor = Ecr::private();
    vendor.front.set_lifetime(Duration::from_secs(2));
    let (client, repository) = (vendor.client(), vendor.app());
    let at = repository.with_tag(tag("1"));
    assert_eq!(client.head_manifest(&at, Access::Pull).await.unwrap(), None);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    vendor.front.expire_passwords();
    assert_eq!(client.head_manifest(&at, Access::Pull).await.unwrap(), None);
    assert_eq!(vendor.front.issued(), 2);
}

/// ECR says so with 403, where others say 401.
#[tokio::test]
async fn a_password_that_is_said_to_have_expired_is_replaced() {
    let vendor = Ecr::private();
    let (client, repository) = (vendor.client(), vendor.app());
    let at = repository.with_tag(tag("1"));
    push(&client, &at, &TestImage::new("first")).await;
    vendor.front.expire_passwords();
    client.manifest(&at).await.unwrap();
    assert_eq!(vendor.front.issued(), 2);
    // A reply to HEAD has no body that could say so.
    vendor.front.expire_passwords();
    assert!(client.head_manifest(&at, Access::Pull).await.unwrap().is_some());
    assert_eq!(vendor.front.issued(), 3);
    // Where nobody has a newer one, that is the end.
    let fixed = vendor.client_of(Nobody, Ecr::basic("ecr-password-0"));
    let error = fixed.manifest(&at).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{error}");
}

/// ECR's public registries say so with 400.
#[tokio::test]
async fn a_token_that_is_said_to_have_expired_is_replaced() {
    let vendor = Ecr::public();
    let (client, repository) = (vendor.client(), vendor.app());
    let at = repository.with_tag(tag("1"));
    push(&client, &at, &TestImage::new("first")).await;
    client.manifest(&at).await.unwrap();
    vendor.front.proxy().reset();
    let message = "Your authorization token has expired. Reauthenticate and try again.";
    let body = json!({"errors": [{"code": "DENIED", "message": message}]}).to_string();
    let expired = Fault::reply(Reply::new(400).body(body));
    vendor.front.proxy().add(Rule::on("GET", "/v2/*/manifests/*", expired).times(1));
    client.manifest(&at).await.unwrap();
    let tokens = vendor.front.proxy().log();
    let tokens = tokens.iter().filter(|line| line.starts_with("GET /token/")).count();
    assert_eq!(tokens, 1);
}

/// The storage behind public registries is reached by URLs that are signed for GET alone.
#[tokio::test]
async fn a_blob_whose_storage_refuses_to_be_asked_is_sent_once_more() {
    let vendor = Ecr::public();
    let (client, repository) = (vendor.client(), vendor.app());
    let storage = ScriptedServer::start(|_| Reply::new(401));
    let signed = format!("http://{}/signed", storage.host());
    let there = Fault::reply(Reply::new(307).header("Location", signed));
    vendor.front.proxy().add(Rule::on("HEAD", "/v2/*/blobs/*", there));
    push(&client, &repository.with_tag(tag("1")), &TestImage::new("first")).await;
    assert!(storage.requests().iter().all(|request| request.header("authorization").is_none()));
    assert!(!storage.requests().is_empty());
}

#[tokio::test]
async fn lists_of_tags_are_asked_for_in_pages_that_are_not_too_long() {
    let vendor = Ecr::private();
    let (client, repository) = (vendor.client(), vendor.app());
    push(&client, &repository.with_tag(tag("one")), &TestImage::new("x")).await;
    let page = client.capabilities(&vendor.host()).tags_page;
    assert_eq!(page, 1000);
    let tags: Vec<Tag> = client.tags(&repository).try_collect().await.unwrap();
    assert_eq!(tags, [tag("one")]);
    let log = vendor.front.proxy().log();
    assert!(log.iter().any(|line| line.contains("/tags/list?n=1000")), "{log:?}");
}

/// With a password, but without keys, as in a job that logged in and nothing else.
#[tokio::test]
async fn whoever_has_no_keys_gets_what_the_spec_knows() {
    let vendor = Ecr::private();
    let repository = vendor.app();
    let digests = push_many(&vendor.client(), &repository, 2).await;
    let client = vendor.client_of(Nobody, Ecr::basic(&vendor.front.password()));
    let listed = entries(&client, &repository).await;
    assert_eq!(listed.len(), 2);
    let source = listed[0].time.map(|time| time.source);
    assert_eq!(source, Some(TimeSource::ConfigCreated));
    let error = client.delete_tag(&repository, &tag("tag-000")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("no AWS identity"), "{error}");
    let deleted = client.delete_manifest(&repository, &digests[0]).await;
    assert_eq!(deleted.unwrap(), Deleted::Done);
    let error = client.create_repository(&repository).await.unwrap_err();
    assert!(error.to_string().contains("no AWS identity"), "{error}");
}

/// The API would take the rest of the name for a repository of one's own.
#[tokio::test]
async fn public_repositories_of_others_are_not_taken_for_ones_own() {
    let vendor = Ecr::public();
    let (client, repository) = (vendor.client(), vendor.app());
    let at = repository.with_tag(tag("1"));
    push(&client, &at, &TestImage::new("own")).await;
    vendor.front.create("other/app");
    let other: Repository = format!("{}/other/app", vendor.host()).parse().unwrap();
    let deleted = client.delete_tag(&other, &tag("1")).await;
    assert!(!matches!(deleted, Ok(Deleted::Done)), "{deleted:?}");
    assert_eq!(*client.create_repository(&other).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(digest_of(&vendor, &at).await.is_some());
    assert!(!vendor.front.actions().contains(&"BatchDeleteImage".to_owned()));
}

#[test]
fn the_command_that_makes_a_repository_names_it_and_its_region() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().build().unwrap();
    for (repository, command) in [
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app",
            "aws ecr create-repository --repository-name team/app --region eu-west-1",
        ),
        (
            "public.ecr.aws/alias/team/app",
            "aws ecr-public create-repository --repository-name team/app --region us-east-1",
        ),
    ] {
        let repository = repository.parse().unwrap();
        assert_eq!(client.creation_command(&repository).as_deref(), Some(command));
    }
}

/// Credentials that somebody stored come before the identity.
#[tokio::test]
async fn a_stored_password_is_used_and_no_other_is_issued() {
    let vendor = Ecr::private();
    let password = vendor.front.password();
    let client = vendor.client_of(keys("wrong"), Ecr::basic(&password));
    assert!(client.ping(&vendor.host()).await.unwrap().authenticated);
    assert_eq!(vendor.front.issued(), 1);
    let issued: Issued = Ecr::basic(&password).into();
    assert_eq!(client.credential(&vendor.host()).await.unwrap(), issued.credential);
}
