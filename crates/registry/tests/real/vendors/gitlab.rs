//! GitLab: a server of today, and one before the metadata database and before tags could be deleted as
//! the spec says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dockit_registry::copy::{CopyOptions, RemoteImage, copy};
use dockit_registry::{
    Access, Client, Credential, Deleted, ErrorKind, ListEntry, ManifestDeletion, ProviderKind,
    Reference, Registries, Registry as _, RegistryHost, RegistrySettings, Repository, Secret, Tag,
    TagDeletion, TimeSource,
};
use dockit_testkit::{
    Auth, DEPLOY_TOKEN, DEPLOY_USER, Fault, GitlabFront, GitlabSetup, GitlabTagDeletion, JOB_TOKEN,
    PASSWORD, READER, RegistryProcess, Rule, TestImage, USERNAME,
};
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;

use super::distribution;
use crate::contract::{Expected, ExpectedEntries, Vendor, manifest, push, push_index};
use crate::vendors::registry_tests;

struct Gitlab {
    front: GitlabFront,
    expected: Expected,
    /// The REST API counts layers alone.
    sizes_without_config: bool,
}

fn user(name: &str, password: &str) -> Credential {
    Credential::Basic { username: name.to_owned(), password: Secret::new(password) }
}

impl Gitlab {
    fn start(setup: GitlabSetup, entries: ExpectedEntries) -> Self {
        let expected = Expected {
            delete_tag: TagDeletion::Native,
            delete_manifest: ManifestDeletion::RemovesTags,
            entries,
            ..distribution()
        };
        let sizes_without_config = !setup.own_api;
        Self { front: GitlabFront::start(setup), expected, sizes_without_config }
    }

    /// With pages so short that there are several.
    fn today() -> Self {
        Self::with(GitlabSetup { page_limit: 20, ..GitlabSetup::default() })
    }

    fn with(setup: GitlabSetup) -> Self {
        let entries = ExpectedEntries {
            time_source: TimeSource::TagPushed,
            sizes: true,
            media_types: true,
            untagged: false,
            of_missing_repository: Err(ErrorKind::NotFound),
        };
        Self::start(setup, entries)
    }

    fn of_old(tag_deletion: GitlabTagDeletion) -> Self {
        let setup = GitlabSetup {
            grants_delete: false,
            own_api: false,
            tag_deletion,
            ..GitlabSetup::default()
        };
        let entries = ExpectedEntries {
            time_source: TimeSource::ConfigCreated,
            sizes: true,
            media_types: false,
            untagged: false,
            of_missing_repository: Err(ErrorKind::NotFound),
        };
        Self::start(setup, entries)
    }

    fn client_of(&self, credential: Credential) -> Client {
        let settings = RegistrySettings {
            provider: Some(ProviderKind::Gitlab),
            ..RegistrySettings::default()
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::builder()
            .no_proxy(true)
            .credentials(Arc::new(crate::Fixed(credential)))
            .registries(Registries::from_iter([(self.host(), settings)]))
            .build()
            .unwrap()
    }

    /// How often the token server was asked.
    fn logins(&self) -> usize {
        let exchanges = self.front.front().proxy().exchanges();
        exchanges.iter().filter(|exchange| exchange.path() == "/jwt/auth").count()
    }

    /// Requests whose path begins so.
    fn asked(&self, method: &str, prefix: &str) -> usize {
        let exchanges = self.front.front().proxy().exchanges();
        let asked = exchanges
            .iter()
            .filter(|exchange| exchange.method == method && exchange.path().starts_with(prefix));
        asked.count()
    }
}

impl Vendor for Gitlab {
    fn host(&self) -> RegistryHost {
        self.front.host().parse().unwrap()
    }

    fn client(&self) -> Client {
        self.client_of(crate::basic(PASSWORD))
    }

    fn expected(&self) -> Expected {
        self.expected.clone()
    }

    fn login(&self) -> Option<(String, String)> {
        Some((USERNAME.to_owned(), PASSWORD.to_owned()))
    }

    fn strangers(&self) -> Vec<(Client, ErrorKind)> {
        vec![
            (self.client_of(crate::basic("wrong")), ErrorKind::Unauthorized),
            (self.client_of(user("gitlab-ci-token", "wrong")), ErrorKind::Unauthorized),
            // The token server lets nobody in who does not say who they are.
            (self.client_of(Credential::Anonymous), ErrorKind::Denied),
        ]
    }

    fn readers(&self) -> Vec<(Client, ErrorKind)> {
        vec![(self.client_of(user(READER, PASSWORD)), ErrorKind::Denied)]
    }

    fn image_size(&self, image: &TestImage) -> u64 {
        let config = if self.sizes_without_config { 0 } else { image.config.len() };
        (config + image.layer.len()) as u64
    }
}

mod today {
    use super::*;

    registry_tests!(
        Gitlab::today(),
        access::strangers_learn_nothing,
        access::readers_read_and_do_not_write,
        manifests::a_manifest_without_its_blobs_is_refused
    );
}

mod of_old {
    use super::*;

    registry_tests!(
        Gitlab::of_old(GitlabTagDeletion::Rest),
        access::strangers_learn_nothing,
        access::readers_read_and_do_not_write,
        manifests::a_manifest_without_its_blobs_is_refused
    );
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

#[tokio::test]
async fn gitlab_is_known_by_its_challenge() {
    let gitlab = Gitlab::today();
    let client = crate::client(crate::basic(PASSWORD));
    assert_eq!(client.provider(&gitlab.host()).await.unwrap(), ProviderKind::Gitlab);
    let at = gitlab.repository("app").with_tag(tag("1"));
    push(&client, &at, &TestImage::new("known")).await;
    let listed: Vec<ListEntry> = client.entries(at.repository()).try_collect().await.unwrap();
    assert_eq!(listed[0].time.unwrap().source, TimeSource::TagPushed);
}

#[tokio::test]
async fn the_rest_api_is_asked_as_a_job_or_with_an_access_token() {
    for credential in [crate::basic(PASSWORD), user("gitlab-ci-token", JOB_TOKEN)] {
        let gitlab = Gitlab::of_old(GitlabTagDeletion::Rest);
        let client = gitlab.client_of(credential);
        // The image's name is longer than its project's.
        let at = gitlab.repository("app/deep/image").with_tag(tag("1"));
        push(&client, &at, &TestImage::new("rest")).await;
        let listed: Vec<ListEntry> = client.entries(at.repository()).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(gitlab.asked("GET", "/api/v4/projects/contract%2Fapp%2Fdeep%2Fimage/"), 1);
        assert_eq!(client.delete_tag(at.repository(), &tag("1")).await.unwrap(), Deleted::Done);
        // The place is known.
        assert_eq!(gitlab.asked("GET", "/api/v4/projects/contract%2Fapp%2Fdeep%2Fimage/"), 1);
    }
}

#[tokio::test]
async fn a_credential_that_the_rest_api_does_not_take_still_lists_and_is_sent_there_once() {
    let gitlab = Gitlab::of_old(GitlabTagDeletion::Rest);
    let client = gitlab.client_of(user(DEPLOY_USER, DEPLOY_TOKEN));
    let at = gitlab.repository("app").with_tag(tag("1"));
    push(&client, &at, &TestImage::new("deploy")).await;
    for _ in 0..2 {
        let listed: Vec<ListEntry> = client.entries(at.repository()).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].time.unwrap().source, TimeSource::ConfigCreated);
    }
    let error = client.delete_tag(at.repository(), &tag("1")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(gitlab.asked("GET", "/api/v4/"), 1);
}

#[tokio::test]
async fn tags_are_removed_at_the_address_that_older_registries_have() {
    let gitlab = Gitlab::of_old(GitlabTagDeletion::Reference);
    let client = gitlab.client();
    let repository = gitlab.repository("app");
    let image = TestImage::new("reference");
    push(&client, &repository.with_tag(tag("1")), &image).await;
    for name in ["2", "3"] {
        client.put_manifest(&repository, &tag(name), &manifest(&image)).await.unwrap();
    }
    for (name, expected) in
        [("1", Deleted::Done), ("2", Deleted::Done), ("absent", Deleted::Absent)]
    {
        assert_eq!(client.delete_tag(&repository, &tag(name)).await.unwrap(), expected, "{name}");
    }
    // The way is found once.
    assert_eq!(gitlab.asked("OPTIONS", "/v2/"), 1);
    assert_eq!(gitlab.asked("GET", "/api/v4/"), 0);
    let left: Vec<Tag> = client.tags(&repository).try_collect().await.unwrap();
    assert_eq!(left, [tag("3")]);
}

#[tokio::test]
async fn a_protected_tag_is_neither_moved_nor_removed() {
    for way in [GitlabTagDeletion::Native, GitlabTagDeletion::Reference, GitlabTagDeletion::Rest] {
        let setup = GitlabSetup {
            tag_deletion: way,
            protected: Some("v".to_owned()),
            ..GitlabSetup::default()
        };
        let gitlab = Gitlab::with(setup);
        let client = gitlab.client();
        let repository = gitlab.repository("app");
        let image = TestImage::new("protected");
        push(&client, &repository.with_tag(tag("free")), &image).await;
        let moved = client.put_manifest(&repository, &tag("v1"), &manifest(&image)).await;
        assert_eq!(*moved.unwrap_err().kind(), ErrorKind::Immutable, "{way:?}");
        let error = client.delete_tag(&repository, &tag("v1")).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Immutable, "{way:?}: {error}");
        let deleted = client.delete_tag(&repository, &tag("free")).await;
        assert_eq!(deleted.unwrap(), Deleted::Done, "{way:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_does_not_get_the_address_banned() {
    let gitlab = Gitlab::today();
    let client = gitlab.client_of(crate::basic("wrong"));
    for _ in 0..2 {
        let lookups = (0..20).map(|number| {
            let at = gitlab.repository(&format!("app-{number}")).with_tag(tag("1"));
            let client = client.clone();
            async move { client.head_manifest(&at, Access::PullPush).await }
        });
        for found in join_all(lookups).await {
            assert_eq!(*found.unwrap_err().kind(), ErrorKind::Unauthorized);
        }
    }
    assert_eq!((gitlab.logins(), gitlab.front.failures()), (1, 1));
}

#[tokio::test]
async fn a_ban_is_never_taken_for_absence() {
    let gitlab = Gitlab::today();
    let at = gitlab.repository("app").with_tag(tag("1"));
    for number in 1..=31 {
        let stranger = gitlab.client_of(crate::basic("wrong"));
        let error = stranger.head_manifest(&at, Access::Pull).await.unwrap_err();
        let banned = number > 30;
        let expected = if banned { ErrorKind::Denied } else { ErrorKind::Unauthorized };
        assert_eq!(*error.kind(), expected, "{number}: {error}");
    }
    let client = gitlab.client();
    let error = client.head_manifest(&at, Access::PullPush).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Denied, "{error}");
    let listed: Result<Vec<ListEntry>, _> = client.entries(at.repository()).try_collect().await;
    assert_eq!(*listed.unwrap_err().kind(), ErrorKind::Denied);
    let deleted = client.delete_tag(at.repository(), &tag("1")).await;
    assert_eq!(*deleted.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_push_to_no_project_is_denied_and_it_is_said_what_is_missing() {
    let gitlab = Gitlab::today();
    let client = gitlab.client();
    let repository: Repository = format!("{}/nobody/app", gitlab.host()).parse().unwrap();
    // Also where the name of the host does not tell that it is GitLab's.
    for client in [&client, &crate::client(crate::basic(PASSWORD))] {
        let error = client.put_blob(&repository, "x".into()).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.to_string().contains("below no project"), "{error}");
    }
    let error = client.create_repository(&repository).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("project"), "{error}");
}

#[tokio::test]
async fn a_copy_goes_on_when_tokens_expire() {
    let gitlab = Gitlab::with(GitlabSetup {
        token_lifetime: Duration::from_secs(2),
        ..GitlabSetup::default()
    });
    let (source, reader) =
        (RegistryProcess::start(Auth::None), crate::client(Credential::Anonymous));
    let from: Reference = format!("{}/team/app:1", source.host()).parse().unwrap();
    let (index, images) = push_index(&reader, &from).await;
    let to = gitlab.repository("app").with_tag(tag("1"));
    // A config and a layer of a KiB each: the copy takes longer than a token is good.
    let slow = Fault::slow_upload(200);
    gitlab.front.front().proxy().add(Rule::on("PUT", "/v2/contract/app/blobs/uploads/*", slow));
    let client = gitlab.client();
    let start = Instant::now();
    let (from, there) =
        (RemoteImage::new(reader, from), RemoteImage::to_write(client.clone(), to.clone()));
    let report = copy(&from, &there, &CopyOptions::default(), Arc::new(())).await;
    assert_eq!(report.unwrap().digest, *index.digest());
    assert!(start.elapsed() > Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(gitlab.logins() >= 2, "{}", gitlab.logins());
    for image in images {
        let by_digest = to.repository().with_digest(image.digest().parse().unwrap());
        assert!(client.head_manifest(&by_digest, Access::Pull).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_token_that_expires_under_way_is_replaced() {
    let gitlab = Gitlab::with(GitlabSetup::default());
    let client = gitlab.client();
    let repository = gitlab.repository("app");
    push(&client, &repository.with_tag(tag("1")), &TestImage::new("1")).await;
    // For the client they are as good as ever.
    gitlab.front.expire_tokens();
    let tags: Vec<Tag> = client.tags(&repository).try_collect().await.unwrap();
    assert_eq!(tags, [tag("1")]);
    gitlab.front.expire_tokens();
    let listed: Vec<ListEntry> = client.entries(&repository).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    gitlab.front.expire_tokens();
    assert_eq!(client.delete_tag(&repository, &tag("1")).await.unwrap(), Deleted::Done);
}
