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
    std::fs::write(file, format!("{listed:#?}\n")).unwrap();
}

#[tokio::test]
#[ignore = "needs DOCKIT_LIVE_ACR_REPOSITORY"]
async fn acr() {
    round("ACR").await;
}
