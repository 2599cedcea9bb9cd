//! Lists of tags and repositories.

use dockit_registry::{Registry as _, Repository, Tag};
use dockit_testkit::TestImage;
use futures_util::TryStreamExt as _;

use super::{Vendor, manifest, push, push_index};

/// The tags in their alphabetical order.
pub(crate) async fn tags(vendor: &impl Vendor, repository: &Repository) -> Vec<String> {
    let tags: Vec<Tag> = vendor.client().tags(repository).try_collect().await.unwrap();
    let mut tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
    tags.sort();
    tags
}

pub(crate) async fn every_tag_is_listed_once(vendor: &impl Vendor) {
    let client = vendor.client();
    let repository = vendor.repository("app");
    let image = TestImage::new("tags");
    push(&client, &repository.with_tag("tag-00".parse().unwrap()), &image).await;
    let mut expected: Vec<String> = (0..25).map(|number| format!("tag-{number:02}")).collect();
    for tag in &expected[1..] {
        let tag = tag.parse().unwrap();
        client.put_manifest(&repository, &tag, &manifest(&image)).await.unwrap();
    }
    // What has only a digest is not in the list.
    push_index(&client, &repository.with_tag("index".parse().unwrap())).await;
    expected.insert(0, "index".to_owned());
    assert_eq!(tags(vendor, &repository).await, expected);
}

pub(crate) async fn tags_of_a_missing_repository(vendor: &impl Vendor) {
    let client = vendor.client();
    push(&client, &vendor.repository("app").with_tag(Tag::latest()), &TestImage::new("x")).await;
    let missing = vendor.missing_repository("missing");
    let listed: Result<Vec<Tag>, _> = client.tags(&missing).try_collect().await;
    let found = listed.map(|tags| assert_eq!(tags, [])).map_err(|error| error.kind().clone());
    assert_eq!(found, vendor.expected().tags_of_missing_repository);
}

pub(crate) async fn repositories_are_listed(vendor: &impl Vendor) {
    let client = vendor.client();
    let repositories = ["one", "two", "two/deeper"].map(|name| vendor.repository(name));
    for repository in &repositories {
        push(&client, &repository.with_tag(Tag::latest()), &TestImage::new("catalog")).await;
    }
    let host = vendor.host();
    let listed: Result<Vec<Repository>, _> = match vendor.listed_below() {
        None => client.repositories(&host).try_collect().await,
        Some(path) => client.repositories_below(&path).try_collect().await,
    };
    let mut listed = listed.unwrap();
    listed.retain(|one| repositories.contains(one));
    listed.sort_by_key(ToString::to_string);
    assert_eq!(listed, repositories);
    let [_, two, deeper] = &repositories;
    let below: Vec<Repository> = client.repositories_below(two).try_collect().await.unwrap();
    assert_eq!(below.len(), 2, "{below:?}");
    assert!(below.contains(two) && below.contains(deeper), "{below:?}");
}
