//! Against the vendors' own services, by whoever has accounts there.
//!
//! `DOCKIT_LIVE_VENDOR_REPOSITORY` names a repository that may be pushed to; credentials come from where
//! they usually are. Everything that a test pushes it deletes again. With `DOCKIT_RECORD`, a directory,
//! the lists that the services answered are written there.

#![expect(clippy::disallowed_methods, reason = "whoever has an account says so in the environment")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use dockit_registry::{
    Access, Client, Deletion, Digest, DockerConfig, ErrorKind, ListEntry, Registry as _,
    Repository, Tag,
//! The vendors' own services, for whoever has an account there: each test runs where
//! `DOCKIT_LIVE_VENDOR_REPOSITORY` names a repository that may be pushed to, with the credentials that
//! Docker's tools keep or that this machine has. With `DOCKIT_RECORD=DIRECTORY`, what the service
//! listed is written there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dockit_registry::{
    Access, Client, ClientBuilder, Deleted, Deletion, DockerConfig, ListEntry, ManifestDeletion,
    Registry as _, Repository, Tag,
};
use dockit_testkit::TestImage;
use futures_util::TryStreamExt as _;

use crate::contract::{manifest, push};

/// A client with the credentials and identities that there are.
fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let home = std::env::home_dir();
    let locations = DockerConfig::locations(&|name| std::env::var_os(name), home.as_deref());
    let builder = Client::builder().credentials(Arc::new(DockerConfig::new(locations)));
    #[cfg(feature = "azure")]
    let builder = builder.azure(Arc::new(dockit_registry::AzureIdentity::from_environment()));
    builder.build().unwrap()
}

/// Pushes an image, finds it in the list, gives it another tag, and deletes everything again.
async fn round(vendor: &str) {
    let variable = format!("DOCKIT_LIVE_{vendor}_REPOSITORY");
    let repository = std::env::var(&variable).unwrap_or_else(|_| panic!("{variable} is not set"));
    let repository: Repository = repository.parse().unwrap();
    let client = client();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let tags: [Tag; 2] =
        ["one", "two"].map(|name| format!("dockit-live-{now}-{name}").parse().unwrap());
    let [one, two] = &tags;
    let image = TestImage::new(&now.to_string());
    let digest = push(&client, &repository.with_tag(one.clone()), &image).await;
    assert_eq!(client.put_manifest(&repository, two, &manifest(&image)).await.unwrap(), digest);

    let listed: Vec<ListEntry> = client.entries(&repository).try_collect().await.unwrap();
    record(vendor, &listed);
    for tag in &tags {
        let found = listed.iter().find(|entry| entry.tag.as_ref() == Some(tag));
        let found = found.unwrap_or_else(|| panic!("{tag} is not in the list"));
        assert_eq!(found.digest, digest);
    }

    let items = vec![
        Deletion::Tag(one.clone()),
        Deletion::Tag(two.clone()),
        Deletion::Manifest(digest.clone()),
    ];
    for result in client.delete_all(&repository, items).await.unwrap() {
        // Some delete manifests only.
        if let Err(error) = &result.result {
            let item = &result.item;
            assert_eq!(*error.kind(), ErrorKind::Unsupported, "{item:?}: {error}");
        }
    }
    for reference in tags.map(|tag| repository.with_tag(tag)) {
        assert_eq!(client.head_manifest(&reference, Access::Pull).await.unwrap(), None);
    }
    assert_eq!(head(&client, &repository, &digest).await, None);
}

async fn head(client: &Client, repository: &Repository, digest: &Digest) -> Option<Digest> {
    let by_digest = repository.with_digest(digest.clone());
    let head = client.head_manifest(&by_digest, Access::Pull).await.unwrap();
    head.map(|head| head.digest)
}

fn record(vendor: &str, listed: &[ListEntry]) {
    let Some(directory) = std::env::var_os("DOCKIT_RECORD").map(PathBuf::from) else { return };
    let file = directory.join(format!("{}.txt", vendor.to_ascii_lowercase()));
#[expect(clippy::disallowed_methods, reason = "tests are told what to use")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A client with whatever this machine has.
fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let home = variable("HOME").map(PathBuf::from);
    let environment = |name: &str| variable(name).map(Into::into);
    let locations = DockerConfig::locations(&environment, home.as_deref());
    let credentials = DockerConfig::new(locations);
    identities(Client::builder().credentials(Arc::new(credentials))).build().unwrap()
}

/// Who this machine is to the clouds that this was built for.
fn identities(builder: ClientBuilder) -> ClientBuilder {
    #[cfg(feature = "google")]
    let builder = builder.google(Arc::new(dockit_registry::GoogleIdentity::from_environment()));
    builder
}

async fn entries(client: &Client, repository: &Repository) -> Vec<ListEntry> {
    client.entries(repository).try_collect().await.unwrap()
}

/// The round in the repository that the environment names.
async fn round(vendor: &str) {
    let name = format!("DOCKIT_LIVE_{vendor}_REPOSITORY");
    let repository = variable(&name).unwrap_or_else(|| panic!("{name} is not set"));
    round_in(vendor, &client(), &repository.parse().unwrap()).await;
}

/// Pushes, lists, retags and deletes an image of its own.
pub(crate) async fn round_in(vendor: &str, client: &Client, repository: &Repository) {
    let start = SystemTime::now();
    let mark =
        start.duration_since(UNIX_EPOCH).unwrap().as_nanos() + u128::from(std::process::id());
    let [one, two]: [Tag; 2] =
        ["one", "two"].map(|name| format!("dockit-live-{mark}-{name}").parse().unwrap());
    let image = TestImage::new(&mark.to_string());
    let digest = push(client, &repository.with_tag(one.clone()), &image).await;
    let again = client.put_manifest(repository, &two, &manifest(&image)).await.unwrap();
    assert_eq!(again, digest);
    let listed = entries(client, repository).await;
    record(vendor, &listed);
    for tag in [&one, &two] {
        let entry = listed.iter().find(|entry| entry.tag.as_ref() == Some(tag));
        let entry = entry.unwrap_or_else(|| panic!("{tag} is not listed"));
        assert_eq!(entry.digest, digest);
        if let Some(pushed) = entry.pushed() {
            // Clocks differ.
            let minutes = Duration::from_secs(5 * 60);
            assert!(pushed > start - minutes && pushed < start + minutes, "{entry:?}");
        }
    }
    let mut items = vec![Deletion::Tag(one.clone()), Deletion::Tag(two.clone())];
    let capabilities = client.provider(repository.host()).await.unwrap().capabilities();
    if capabilities.delete_manifest != ManifestDeletion::Unsupported {
        items.push(Deletion::Manifest(digest));
    }
    for result in client.delete_all(repository, items).await.unwrap() {
        match result.result {
            // A manifest may have gone with its last tag.
            Ok(Deleted::Done | Deleted::Absent) => {}
            Err(error) => panic!("{:?}: {error}", result.item),
        }
    }
    for tag in [one, two] {
        let reference = repository.with_tag(tag);
        let head = client.head_manifest(&reference, Access::PullPush).await.unwrap();
        assert_eq!(head, None, "{reference}");
    }
}

fn record(vendor: &str, listed: &[ListEntry]) {
    let Some(directory) = variable("DOCKIT_RECORD") else { return };
    let file = Path::new(&directory).join(format!("live-{}.txt", vendor.to_lowercase()));
    std::fs::write(file, format!("{listed:#?}\n")).unwrap();
}

#[tokio::test]
#[ignore = "needs DOCKIT_LIVE_ACR_REPOSITORY"]
async fn acr() {
    round("ACR").await;
#[ignore = "needs DOCKIT_LIVE_GOOGLE_REPOSITORY"]
async fn google() {
    round("GOOGLE").await;
}
