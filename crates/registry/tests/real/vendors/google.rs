//! Google Artifact Registry, by its documented control plane in front of a real registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dockit_registry::{
    Access, AccessToken, Client, ClientBuilder, Credential, CredentialError, Deleted, Delivery,
    Digest, ErrorKind, ListEntry, ManifestDeletion, ProviderKind, Registries, Registry as _,
    RegistryHost, RegistrySettings, Repository, RetryPolicy, Secret, Tag, TagDeletion, TimeSource,
    TokenIdentity,
};
use dockit_testkit::{Fault, GoogleFront, Rule, TestImage};
use futures_util::TryStreamExt as _;

use crate::contract::{
    Expected, ExpectedEntries, Vendor, digest_of, manifest, noise, push, push_index,
};
use crate::source::Pieces;
use crate::vendors::registry_tests;

/// A front with the repository `team/images`.
struct Google(Arc<GoogleFront>);

/// The identity of a machine of Google's.
struct Machine {
    front: Arc<GoogleFront>,
    asked: AtomicUsize,
}

#[async_trait]
impl TokenIdentity for Machine {
    async fn access_token(&self, scope: &str) -> Result<Option<AccessToken>, CredentialError> {
        assert_eq!(scope, "https://www.googleapis.com/auth/cloud-platform");
        self.asked.fetch_add(1, Ordering::SeqCst);
        let token = Secret::new(self.front.access_token());
        let expires = Some(SystemTime::now() + Duration::from_secs(3600));
        Ok(Some(AccessToken { token, expires }))
    }
}

impl Google {
    fn start() -> Self {
        let front = GoogleFront::start();
        front.create("team/images");
        Self(Arc::new(front))
    }

    fn builder(&self) -> ClientBuilder {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = RegistrySettings {
            provider: Some(ProviderKind::Google),
            api_url: Some(self.0.api_url()),
            vouched: true,
            ..RegistrySettings::default()
        };
        let retry = RetryPolicy { base_delay: Duration::from_millis(1), ..RetryPolicy::default() };
        Client::builder()
            .no_proxy(true)
            .retry(retry)
            .registries(Registries::from_iter([(self.host(), settings)]))
    }

    fn machine(&self) -> Arc<Machine> {
        Arc::new(Machine { front: Arc::clone(&self.0), asked: AtomicUsize::new(0) })
    }

    /// A client that knows who it is from a configuration and not from the machine.
    fn client_as(&self, username: &str, password: &str) -> Client {
        let credential =
            Credential::Basic { username: username.to_owned(), password: Secret::new(password) };
        self.builder().credentials(Arc::new(crate::Fixed(credential))).build().unwrap()
    }

    /// Without any identity.
    fn anybody(&self) -> Client {
        self.builder().build().unwrap()
    }

    async fn entries(&self, client: &Client, repository: &Repository) -> Vec<ListEntry> {
        let mut entries: Vec<ListEntry> = client.entries(repository).try_collect().await.unwrap();
        entries.sort_by_key(|entry| (entry.tag.clone(), entry.digest.to_string()));
        entries
    }

    /// Method and path of what was asked, with its status.
    fn log(&self) -> Vec<String> {
        self.0.proxy().log()
    }
}

impl Vendor for Google {
    fn host(&self) -> RegistryHost {
        self.0.host().parse().unwrap()
    }

    fn client(&self) -> Client {
        self.builder().google(self.machine()).build().unwrap()
    }

    fn login(&self) -> Option<(String, String)> {
        Some(("oauth2accesstoken".to_owned(), self.0.access_token()))
    }

    fn expected(&self) -> Expected {
        Expected {
            delete_tag: TagDeletion::Native,
            delete_manifest: ManifestDeletion::RefusedWhileTagged,
            mounts: true,
            shares_blobs: false,
            tags_of_missing_repository: Err(ErrorKind::NotFound),
            creates_repositories: false,
            entries: ExpectedEntries {
                time_source: TimeSource::ManifestPushed,
                sizes: true,
                media_types: true,
                untagged: true,
                of_missing_repository: Err(ErrorKind::NotFound),
            },
        }
    }

    fn strangers(&self) -> Vec<(Client, ErrorKind)> {
        let wrong = [
            ("oauth2accesstoken", "ya29.wrong"),
            ("_json_key", "{}"),
            ("_json_key_base64", "e30="),
            ("somebody", &self.0.access_token()),
        ];
        wrong
            .map(|(user, password)| (self.client_as(user, password), ErrorKind::Unauthorized))
            .into()
    }

    fn readers(&self) -> Vec<(Client, ErrorKind)> {
        vec![(self.client_as("oauth2accesstoken", self.0.reader_token()), ErrorKind::Denied)]
    }

    fn repository(&self, name: &str) -> Repository {
        format!("{}/team/images/{name}", self.host()).parse().unwrap()
    }

    fn missing_repository(&self, name: &str) -> Repository {
        format!("{}/team/never-made/{name}", self.host()).parse().unwrap()
    }

    fn listed_below(&self) -> Option<Repository> {
        Some(format!("{}/team", self.host()).parse().unwrap())
    }
}

registry_tests!(
    Google::start(),
    access::strangers_learn_nothing,
    access::readers_read_and_do_not_write,
    manifests::a_manifest_without_its_blobs_is_refused
);

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_is_tried_with_the_service_itself_holds_here() {
    let vendor = Google::start();
    crate::live::round_in("google-front", &vendor.client(), &vendor.repository("app")).await;
}

/// Google's repositories hold images, which are there as soon as they are pushed.
#[tokio::test]
async fn an_image_that_was_never_pushed_has_no_tags_and_no_entries() {
    let vendor = Google::start();
    let (client, never) = (vendor.client(), vendor.repository("never"));
    let tags: Vec<Tag> = client.tags(&never).try_collect().await.unwrap();
    assert_eq!(tags, []);
    assert_eq!(vendor.entries(&client, &never).await, []);
}

#[tokio::test]
async fn every_documented_user_name_gets_in() {
    let vendor = Google::start();
    let at = vendor.repository("app").with_tag(tag("1"));
    let digest = push(&vendor.client(), &at, &TestImage::new("users")).await;
    let (token, key) = (vendor.0.access_token(), vendor.0.json_key());
    for (user, password) in [
        ("oauth2accesstoken", &*token),
        ("_token", &*token),
        ("_dcgcloud_token", &*token),
        ("_json_key", key),
        ("_json_key_base64", &*STANDARD.encode(key)),
    ] {
        let client = vendor.client_as(user, password);
        let head = client.head_manifest(&at, Access::PullPush).await.unwrap();
        assert_eq!(head.map(|head| head.digest), Some(digest.clone()), "{user}");
    }
}

#[tokio::test]
async fn public_images_are_pulled_by_anybody_and_others_are_not() {
    let vendor = Google::start();
    vendor.0.create("public/images");
    let image = TestImage::new("public");
    let public: Repository = format!("{}/public/images/app", vendor.host()).parse().unwrap();
    let private = vendor.repository("app");
    for repository in [&public, &private] {
        push(&vendor.client(), &repository.with_tag(tag("1")), &image).await;
    }
    let anybody = vendor.anybody();
    let head = anybody.head_manifest(&public.with_tag(tag("1")), Access::Pull).await.unwrap();
    assert_eq!(head.unwrap().digest.as_str(), image.digest());
    let config: Digest = image.config_digest().parse().unwrap();
    assert_eq!(anybody.blob(&public, &config, 10_000).await.unwrap(), image.config);
    let error = anybody.head_manifest(&private.with_tag(tag("1")), Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn an_access_token_that_expired_is_replaced_and_the_work_goes_on() {
    let vendor = Google::start();
    let machine = vendor.machine();
    let client = vendor.builder().google(machine.clone()).build().unwrap();
    let image = TestImage::new("long job");
    let at = vendor.repository("app").with_tag(tag("1"));
    push(&client, &at, &image).await;
    assert_eq!(machine.asked.load(Ordering::SeqCst), 1);
    vendor.0.rotate();
    client.put_manifest(at.repository(), &tag("2"), &manifest(&image)).await.unwrap();
    assert_eq!(machine.asked.load(Ordering::SeqCst), 2);
    assert_eq!(vendor.entries(&client, at.repository()).await.len(), 2);
}

/// As many images as the list of tags holds, and more: the API is asked, page by page.
#[tokio::test]
async fn a_list_that_may_be_cut_off_comes_from_the_api() {
    let vendor = Google::start();
    let client = vendor.client();
    let repository = vendor.repository("team/app");
    for number in 0..7 {
        let image = TestImage::new(&format!("many {number}"));
        push(&client, &repository.with_tag(tag(&format!("tag-{number}"))), &image).await;
    }
    push_index(&client, &repository.with_tag(tag("index"))).await;
    client.delete_tag(&repository, &tag("tag-3")).await.unwrap();
    // Google's repository holds this as well, but it is another image.
    let other = vendor.repository("app").with_tag(tag("other"));
    push(&client, &other, &TestImage::new("other")).await;

    let expected = vendor.entries(&client, &repository).await;
    assert_eq!(expected.len(), 10, "{expected:?}");
    assert_eq!(expected.iter().filter(|entry| entry.tag.is_none()).count(), 3);
    vendor.0.overflow(2);
    let from_api = vendor.entries(&client, &repository).await;
    // The API tells microseconds.
    let without_times = |entries: Vec<ListEntry>| -> Vec<ListEntry> {
        let strip = |mut entry: ListEntry| {
            let time = entry.time.take().unwrap();
            assert_eq!(time.source, TimeSource::ManifestPushed);
            assert!(time.at.elapsed().unwrap() < Duration::from_secs(60));
            entry
        };
        entries.into_iter().map(strip).collect()
    };
    assert_eq!(without_times(from_api), without_times(expected));
    let log = vendor.log();
    let pages = log.iter().filter(|line| line.contains("/dockerImages?pageSize=1000"));
    assert_eq!(pages.count(), 4, "{log:?}");
}

#[tokio::test]
async fn a_list_that_may_be_cut_off_is_an_error_where_the_api_cannot_be_asked() {
    let vendor = Google::start();
    let repository = vendor.repository("app");
    push(&vendor.client(), &repository.with_tag(tag("1")), &TestImage::new("many")).await;
    vendor.0.overflow(0);
    let key = vendor.client_as("_json_key", vendor.0.json_key());
    let listed: Result<Vec<ListEntry>, _> = key.entries(&repository).try_collect().await;
    let error = listed.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Credential, "{error}");
    let text = error.to_string();
    assert!(text.contains("takes access tokens") && text.contains("10000 entries"), "{text}");
    assert!(!text.contains("client_email"), "{text}");

    // A host that does not say its location, and no address that does.
    let settings = RegistrySettings {
        provider: Some(ProviderKind::Google),
        vouched: true,
        ..RegistrySettings::default()
    };
    let registries = Registries::from_iter([(vendor.host(), settings)]);
    let client = vendor.builder().registries(registries).google(vendor.machine()).build().unwrap();
    let listed: Result<Vec<ListEntry>, _> = client.entries(&repository).try_collect().await;
    let error = listed.unwrap_err();
    assert!(error.to_string().contains("/locations/LOCATION"), "{error}");
}

#[tokio::test]
async fn a_page_that_fails_is_asked_for_again_and_no_entry_is_lost_or_doubled() {
    let vendor = Google::start();
    let client = vendor.client();
    let repository = vendor.repository("app");
    let names: Vec<String> = (0..5).map(|number| format!("tag-{number}")).collect();
    for name in &names {
        push(&client, &repository.with_tag(tag(name)), &TestImage::new(name)).await;
    }
    vendor.0.overflow(1);
    let images = "/v1/*/dockerImages";
    vendor.0.proxy().add(Rule::on("GET", images, Fault::status(503)).after(1).times(1));
    vendor.0.proxy().add(Rule::on("GET", images, Fault::status(429)).times(1));
    let entries = vendor.entries(&client, &repository).await;
    let found: Vec<String> =
        entries.iter().filter_map(|entry| entry.tag.as_ref()).map(ToString::to_string).collect();
    assert_eq!(found, names);
}

#[tokio::test]
async fn the_time_of_an_entry_is_that_of_the_push_and_not_of_the_build() {
    let vendor = Google::start();
    let client = vendor.client();
    let repository = vendor.repository("app");
    let image = TestImage::new("old");
    push(&client, &repository.with_tag(tag("1")), &image).await;
    let month = Duration::from_secs(30 * 24 * 3600);
    vendor.0.behind().age(repository.name().as_str(), &image.digest(), month);
    let [entry] = &vendor.entries(&client, &repository).await[..] else { panic!("one entry") };
    let age = entry.pushed().unwrap().elapsed().unwrap();
    assert!(age >= month && age < month + Duration::from_secs(60), "{age:?}");
}

#[tokio::test]
async fn an_index_and_its_children_go_one_by_one_and_its_children_not_before_it() {
    let vendor = Google::start();
    let client = vendor.client();
    let repository = vendor.repository("app");
    let (index, children) = push_index(&client, &repository.with_tag(tag("both"))).await;
    let child: Digest = children[0].digest().parse().unwrap();
    let error = client.delete_manifest(&repository, &child).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::StillReferenced, "{error}");
    let error = client.delete_manifest(&repository, index.digest()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::StillTagged, "{error}");
    client.delete_tag(&repository, &tag("both")).await.unwrap();
    for digest in [index.digest(), &child] {
        let deleted = client.delete_manifest(&repository, digest).await.unwrap();
        assert_eq!(deleted, Deleted::Done);
    }
}

#[tokio::test]
async fn immutable_tags_are_neither_moved_nor_deleted_and_said_to_be_so() {
    let vendor = Google::start();
    let client = vendor.client();
    let repository = vendor.repository("app");
    let at = repository.with_tag(tag("1"));
    let image = TestImage::new("first");
    let digest = push(&client, &at, &image).await;
    vendor.0.make_immutable("team/images");
    let other = TestImage::new("second");
    push(&client, &repository.with_tag(tag("2")), &other).await;
    let moved = client.put_manifest(&repository, &tag("1"), &manifest(&other)).await;
    assert_eq!(*moved.unwrap_err().kind(), ErrorKind::Immutable);
    let deleted = client.delete_tag(&repository, &tag("1")).await;
    assert_eq!(*deleted.unwrap_err().kind(), ErrorKind::Immutable);
    // The same image once more is no change.
    assert_eq!(
        client.put_manifest(&repository, &tag("1"), &manifest(&image)).await.unwrap(),
        digest
    );
    assert_eq!(digest_of(&vendor, &at).await, Some(digest));
}

/// Google takes a blob in one request only.
#[tokio::test]
async fn a_blob_that_is_cut_again_and_again_is_never_sent_in_pieces() {
    let vendor = Google::start();
    let client = vendor.client();
    let repository = vendor.repository("app");
    let source = Pieces::new(noise(7, 20_000_000));
    let blob = source.descriptor();
    let upload = format!("/v2/{}/blobs/uploads/*-*", repository.name());
    vendor.0.proxy().add(Rule::on("PUT", &upload, Fault::cut_upload_after(1_000_000)).times(3));
    let pushed = client.push_blob(&repository, &blob, &source, None).await;
    assert_eq!(pushed.unwrap(), Delivery::Written);
    let patches = vendor.log().into_iter().filter(|line| line.starts_with("PATCH"));
    assert_eq!(patches.collect::<Vec<_>>(), [""; 0]);

    let source = Pieces::new(noise(8, 20_000_000));
    let blob = source.descriptor();
    vendor.0.proxy().add(Rule::on("PUT", &upload, Fault::status(413)));
    let error = client.push_blob(&repository, &blob, &source, None).await.unwrap_err();
    assert_eq!(error.status(), Some(413), "{error}");
    assert_eq!(source.opened(), 1);
}

/// What another registry would take from the same client.
#[tokio::test]
async fn the_front_refuses_pieces() {
    let vendor = Google::start();
    let settings =
        RegistrySettings { provider: Some(ProviderKind::Generic), ..RegistrySettings::default() };
    let credential = Credential::Basic {
        username: "oauth2accesstoken".to_owned(),
        password: Secret::new(vendor.0.access_token()),
    };
    let client = vendor
        .builder()
        .registries(Registries::from_iter([(vendor.host(), settings)]))
        .credentials(Arc::new(crate::Fixed(credential)))
        .build()
        .unwrap();
    let repository = vendor.repository("app");
    let source = Pieces::new(noise(9, 1_000_000));
    let blob = source.descriptor();
    let upload = format!("/v2/{}/blobs/uploads/*-*", repository.name());
    vendor.0.proxy().add(Rule::on("PUT", &upload, Fault::status(413)));
    let error = client.push_blob(&repository, &blob, &source, None).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn repositories_of_all_projects_are_not_listed_and_an_empty_list_is_not_believed() {
    let vendor = Google::start();
    let client = vendor.client();
    push(&client, &vendor.repository("app").with_tag(tag("1")), &TestImage::new("x")).await;
    let host = vendor.host();
    let listed: Result<Vec<Repository>, _> = client.repositories(&host).try_collect().await;
    let error = listed.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported, "{error}");
    for (path, expected) in [("team/images/app", &["app"][..]), ("team/images/other", &[])] {
        let path: Repository = format!("{host}/{path}").parse().unwrap();
        let below: Vec<Repository> = client.repositories_below(&path).try_collect().await.unwrap();
        let expected: Vec<_> = expected.iter().map(|name| vendor.repository(name)).collect();
        assert_eq!(below, expected);
    }
}

#[tokio::test]
async fn a_repository_is_made_by_whoever_may_and_by_nobody_else() {
    let vendor = Google::start();
    let missing = vendor.missing_repository("app");
    let reader = vendor.client_as("oauth2accesstoken", vendor.0.reader_token());
    let error = reader.create_repository(&missing).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Denied, "{error}");
    let error = vendor.anybody().create_repository(&missing).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{error}");
    let key = vendor.client_as("_json_key", vendor.0.json_key());
    let error = key.create_repository(&missing).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Credential, "{error}");
    let command = "gcloud artifacts repositories create never-made --repository-format=docker \
                   --location=LOCATION --project=team";
    assert_eq!(vendor.anybody().creation_command(&missing).as_deref(), Some(command));
}
