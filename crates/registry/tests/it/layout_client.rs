//! What a client makes of directories.

use std::fs;
use std::path::Path;

use dockit_registry::{
    Access, Client, Credential, ErrorKind, ProviderKind, Registry as _, RegistryHost, Repository,
    Tag, TagDeletion,
};
use dockit_testkit::TestImage;
use futures_util::TryStreamExt as _;

use crate::contract::push;
use crate::layout_disk::{Disk, assert_kind};
use crate::support::builder;

fn client(root: &Path) -> Client {
    builder().layouts_relative_to(root).build().unwrap()
}

fn app(directory: &str) -> Repository {
    let host = RegistryHost::in_layout(directory).unwrap();
    Repository::new(host, "team/app".parse().unwrap()).unwrap()
}

async fn tags(client: &Client, repository: &Repository) -> Vec<Tag> {
    client.tags(repository).try_collect().await.unwrap()
}

#[tokio::test]
async fn a_directory_that_is_missing_or_empty_holds_nothing() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("empty")).unwrap();
    let client = client(root.path());
    for directory in ["missing/deep", "empty"] {
        let at = app(directory).with_tag(Tag::latest());
        for access in [Access::Pull, Access::PullPush] {
            assert_eq!(client.head_manifest(&at, access).await.unwrap(), None);
        }
        assert_kind(client.manifest(&at).await, &ErrorKind::NotFound);
        assert_eq!(tags(&client, at.repository()).await, []);
        assert!(!client.lacks_repository(at.repository()).await.unwrap());
        client.check_push(at.repository()).await.unwrap();
        client.ping(at.repository().host()).await.unwrap();
        client.delete_tag(at.repository(), &Tag::latest()).await.unwrap();
    }
    let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|one| one.unwrap().path()).collect();
    assert_eq!(left, [root.path().join("empty")], "nothing was made");
    assert_eq!(fs::read_dir(&left[0]).unwrap().count(), 0);

    let at = app("missing/deep").with_tag(Tag::latest());
    let digest = push(&client, &at, &TestImage::new("first")).await;
    assert!(root.path().join("missing/deep/oci-layout").exists());
    let head = client.head_manifest(&at, Access::Pull).await.unwrap().unwrap();
    assert_eq!(head.digest, digest);
}

#[tokio::test]
async fn what_is_no_layout_is_an_error_and_stays() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("home")).unwrap();
    fs::write(root.path().join("home/letter"), "dear").unwrap();
    fs::write(root.path().join("file"), "dear").unwrap();
    let client = client(root.path());
    for directory in ["home", "file", "file/below"] {
        let at = app(directory).with_tag(Tag::latest());
        assert_kind(client.head_manifest(&at, Access::Pull).await, &ErrorKind::Invalid);
        assert_kind(client.ping(at.repository().host()).await, &ErrorKind::Invalid);
        assert_kind(client.check_push(at.repository()).await, &ErrorKind::Invalid);
        assert!(client.put_blob(at.repository(), "x".into()).await.is_err());
    }
    assert_eq!(fs::read_dir(root.path().join("home")).unwrap().count(), 1);
}

#[tokio::test]
async fn no_name_of_a_directory_makes_it_a_host() {
    let root = tempfile::tempdir().unwrap();
    let client = client(root.path());
    for directory in ["docker.io", "localhost", "ghcr.io", "x.azurecr.io", "5000", "a b/C"] {
        let at = app(directory).with_tag("1".parse().unwrap());
        assert_eq!(at.repository().name().as_str(), "team/app");
        push(&client, &at, &TestImage::new(directory)).await;
        let host = at.repository().host();
        assert_eq!(client.credential(host).await.unwrap(), Credential::Anonymous);
        assert_eq!(client.provider(host).await.unwrap(), ProviderKind::Layout);
        assert_eq!(client.capabilities(host).delete_tag, TagDeletion::Native);
        assert_eq!(client.creation_command(at.repository()), None);
        assert!(root.path().join(directory).join("oci-layout").exists(), "{directory}");
    }
}

#[tokio::test]
async fn a_directory_that_was_replaced_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let client = client(root.path());
    let at = app("images").with_tag("1".parse().unwrap());
    push(&client, &at, &TestImage::new("before")).await;
    fs::remove_dir_all(root.path().join("images")).unwrap();
    assert_eq!(client.head_manifest(&at, Access::Pull).await.unwrap(), None);
    let digest = push(&client, &at, &TestImage::new("after")).await;
    let head = client.head_manifest(&at, Access::Pull).await.unwrap().unwrap();
    assert_eq!(head.digest, digest);
}

#[tokio::test]
async fn a_tag_whose_manifest_is_missing_or_damaged_is_not_absent() {
    let disk = Disk::empty();
    let client = client(disk.path());
    let at = app(".").with_tag("1".parse().unwrap());
    let digest = push(&client, &at, &TestImage::new("lost")).await;
    let blob = crate::layout_disk::blob_path(&digest);
    disk.write(&blob, "damaged");
    assert_kind(client.head_manifest(&at, Access::Pull).await, &ErrorKind::DigestMismatch);
    fs::remove_file(disk.join(&blob)).unwrap();
    let error = client.head_manifest(&at, Access::Pull).await;
    let error = assert_kind(error, &ErrorKind::Invalid);
    assert_eq!(error.host(), Some(at.repository().host()));
    // Put again, it is there again.
    push(&client, &at, &TestImage::new("lost")).await;
    assert!(client.head_manifest(&at, Access::Pull).await.unwrap().is_some());
}

#[tokio::test]
async fn equal_manifests_of_two_repositories_are_deleted_apart() {
    let disk = Disk::empty();
    let client = client(disk.path());
    let other = Repository::new(app(".").host().clone(), "other".parse().unwrap()).unwrap();
    let image = TestImage::new("in both");
    let digest = push(&client, &app(".").with_tag(Tag::latest()), &image).await;
    push(&client, &other.with_tag(Tag::latest()), &image).await;
    client.delete_manifest(&app("."), &digest).await.unwrap();
    let head = async |at: &Repository| {
        client.head_manifest(&at.with_digest(digest.clone()), Access::Pull).await.unwrap()
    };
    assert_eq!(head(&app(".")).await, None);
    assert_eq!(head(&other).await.unwrap().digest, digest);
    assert_eq!(tags(&client, &app(".")).await, []);
    assert_eq!(tags(&client, &other).await, [Tag::latest()]);
}

#[tokio::test]
async fn single_deletions_sweep_once_and_a_batch_does_in_any_case() {
    let disk = Disk::empty();
    let client = client(disk.path());
    let at = |tag: &str| app(".").with_tag(tag.parse().unwrap());
    for tag in ["1", "2", "3"] {
        push(&client, &at(tag), &TestImage::new(tag)).await;
    }
    // Bytes that nothing leads to, of the day before yesterday.
    let old = |text: &str| {
        let digest = dockit_registry::Digest::of(text.as_bytes());
        let path = disk.join(&crate::layout_disk::blob_path(&digest));
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        let age = std::time::Duration::from_secs(2 * 24 * 60 * 60);
        file.set_modified(std::time::SystemTime::now() - age).unwrap();
        path
    };
    let first = old("first");
    client.delete_tag(&app("."), &"1".parse().unwrap()).await.unwrap();
    assert!(!first.exists());
    let second = old("second");
    client.delete_tag(&app("."), &"2".parse().unwrap()).await.unwrap();
    assert!(second.exists(), "it was swept a moment ago");
    let items = vec![dockit_registry::Deletion::Tag("3".parse().unwrap())];
    client.delete_all(&app("."), items).await.unwrap();
    assert!(!second.exists());
}
