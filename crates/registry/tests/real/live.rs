//! The vendors' own services, for whoever has an account there: each test runs where
//! `DOCKIT_LIVE_VENDOR_REPOSITORY` names a repository that may be pushed to, with the credentials that
//! Docker's tools keep or that this machine has. With `DOCKIT_RECORD=DIRECTORY`, what the service
//! listed is written there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dockit_registry::{
    Access, Client, ClientBuilder, Deleted, Deletion, DockerConfig, ErrorKind, ListEntry,
    ManifestDeletion, Registry as _, Repository, Tag,
};
use dockit_testkit::TestImage;
use futures_util::TryStreamExt as _;

use crate::contract::{manifest, push};

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

/// Who this machine is to the clouds.
fn identities(builder: ClientBuilder) -> ClientBuilder {
    builder
        .aws(Arc::new(dockit_registry::AwsEnvironment::from_environment()))
        .azure(Arc::new(dockit_registry::AzureIdentity::from_environment()))
        .google(Arc::new(dockit_registry::GoogleIdentity::from_environment()))
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
            // Some delete manifests only.
            Err(error) if *error.kind() == ErrorKind::Unsupported => {}
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

/// One test for each vendor, and the variable that it needs.
macro_rules! rounds {
    ($($test:ident $vendor:literal $variable:literal)*) => {
        $(
            #[tokio::test]
            #[ignore = $variable]
            async fn $test() {
                round($vendor).await;
            }
        )*
    };
}

rounds! {
    acr "ACR" "needs DOCKIT_LIVE_ACR_REPOSITORY"
    docker_hub "DOCKER_HUB" "needs DOCKIT_LIVE_DOCKER_HUB_REPOSITORY"
    ecr "ECR" "needs DOCKIT_LIVE_ECR_REPOSITORY"
    ecr_public "ECR_PUBLIC" "needs DOCKIT_LIVE_ECR_PUBLIC_REPOSITORY"
    ghcr "GHCR" "needs DOCKIT_LIVE_GHCR_REPOSITORY"
    gitlab "GITLAB" "needs DOCKIT_LIVE_GITLAB_REPOSITORY"
    google "GOOGLE" "needs DOCKIT_LIVE_GOOGLE_REPOSITORY"
    harbor "HARBOR" "needs DOCKIT_LIVE_HARBOR_REPOSITORY"
    quay "QUAY" "needs DOCKIT_LIVE_QUAY_REPOSITORY"
}
