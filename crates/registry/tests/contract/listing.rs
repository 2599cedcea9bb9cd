//! Lists with digests, sizes and times; many deletions at once; repositories that have to be made.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use dockit_registry::{
    Created, Deleted, Deletion, Digest, ErrorKind, ListEntry, ManifestDeletion, Registry as _,
    Repository, Tag, TagDeletion, TimeSource,
};
use dockit_testkit::TestImage;
use futures_util::TryStreamExt as _;

use super::lists::tags;
use super::{Vendor, digest_of, manifest, push, push_index};

/// Tags, and the digests of manifests without one, with their entries.
async fn entries(vendor: &impl Vendor, repository: &Repository) -> BTreeMap<String, ListEntry> {
    let listed: Vec<ListEntry> = vendor.client().entries(repository).try_collect().await.unwrap();
    let count = listed.len();
    let name = |entry: &ListEntry| match &entry.tag {
        Some(tag) => tag.to_string(),
        None => entry.digest.to_string(),
    };
    let entries: BTreeMap<String, ListEntry> =
        listed.into_iter().map(|entry| (name(&entry), entry)).collect();
    assert_eq!(entries.len(), count, "something is listed twice: {entries:?}");
    entries
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(crate) async fn entries_say_digest_size_and_time(vendor: &impl Vendor) {
    let client = vendor.client();
    let repository = vendor.repository("app");
    let start = SystemTime::now();
    let image = TestImage::new("listed");
    push(&client, &repository.with_tag(tag("one")), &image).await;
    client.put_manifest(&repository, &tag("two"), &manifest(&image)).await.unwrap();
    let (index, children) = push_index(&client, &repository.with_tag(tag("both"))).await;
    let expected = vendor.expected();

    let entries = entries(vendor, &repository).await;
    let tags: Vec<&str> = entries
        .iter()
        .filter(|(_, entry)| entry.tag.is_some())
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(tags, ["both", "one", "two"]);
    for name in ["one", "two"] {
        let entry = &entries[name];
        assert_eq!(entry.digest.as_str(), image.digest());
        let size = vendor.image_size(&image);
        assert_eq!(entry.size, expected.entries.sizes.then_some(size), "{entry:?}");
        if expected.entries.media_types {
            assert_eq!(entry.media_type.as_deref(), Some(image.media_type), "{entry:?}");
        }
        assert!(!entry.locked, "{entry:?}");
    }
    assert_eq!(entries["both"].digest, *index.digest());
    for child in &children {
        assert_eq!(entries.contains_key(&child.digest()), expected.entries.untagged);
    }
    for entry in entries.values() {
        let time = entry.time.unwrap();
        // Nobody has put a tag on what has none.
        let source = match expected.entries.time_source {
            TimeSource::TagPushed if entry.tag.is_none() => TimeSource::ManifestPushed,
            source => source,
        };
        assert_eq!(time.source, source, "{entry:?}");
        if time.source == TimeSource::ConfigCreated {
            assert_eq!(entry.pushed(), None);
        } else {
            let pushed = entry.pushed().unwrap();
            // Some clocks tell whole seconds only.
            let second = Duration::from_secs(1);
            assert!(pushed >= start - second && pushed <= SystemTime::now() + second, "{entry:?}");
        }
    }
}

pub(crate) async fn a_list_of_many_entries_is_whole(vendor: &impl Vendor) {
    let client = vendor.client();
    let repository = vendor.repository("app");
    let image = TestImage::new("many");
    let names: Vec<String> = (0..45).map(|number| format!("tag-{number:02}")).collect();
    push(&client, &repository.with_tag(tag(&names[0])), &image).await;
    for name in &names[1..] {
        client.put_manifest(&repository, &tag(name), &manifest(&image)).await.unwrap();
    }
    let found: Vec<String> = entries(vendor, &repository).await.into_keys().collect();
    assert_eq!(found, names);
}

pub(crate) async fn entries_of_a_missing_repository(vendor: &impl Vendor) {
    let client = vendor.client();
    push(&client, &vendor.repository("app").with_tag(Tag::latest()), &TestImage::new("x")).await;
    let missing = vendor.missing_repository("missing");
    let listed: Result<Vec<ListEntry>, _> = client.entries(&missing).try_collect().await;
    let found = listed.map(|entries| assert_eq!(entries, [])).map_err(|e| e.kind().clone());
    assert_eq!(found, vendor.expected().entries.of_missing_repository);
}

pub(crate) async fn every_deletion_has_a_result(vendor: &impl Vendor) {
    let client = vendor.client();
    let repository = vendor.repository("app");
    let at = |name: &str| repository.with_tag(tag(name));
    let kept = push(&client, &at("kept"), &TestImage::new("kept")).await;
    let doomed = push(&client, &at("doomed"), &TestImage::new("doomed")).await;
    let twice = TestImage::new("twice");
    push(&client, &at("first"), &twice).await;
    client.put_manifest(&repository, &tag("second"), &manifest(&twice)).await.unwrap();
    let expected = vendor.expected();
    let tags_can_go = matches!(expected.delete_tag, TagDeletion::Native | TagDeletion::RemovesLast);
    // The manifest comes first although its tag has to go before it.
    let items = vec![
        Deletion::Manifest(doomed.clone()),
        Deletion::Manifest(Digest::of(b"absent")),
        Deletion::Tag(tag("doomed")),
        Deletion::Tag(tag("first")),
        Deletion::Tag(tag("absent")),
    ];
    let results = client.delete_all(&repository, items.clone()).await.unwrap();
    let order: Vec<&Deletion> = results.iter().map(|result| &result.item).collect();
    assert_eq!(order, items.iter().collect::<Vec<_>>());
    let outcomes: Vec<Result<Deleted, ErrorKind>> = results
        .into_iter()
        .map(|result| result.result.map_err(|error| error.kind().clone()))
        .collect();
    let removed = if tags_can_go { Ok(Deleted::Done) } else { Err(ErrorKind::Unsupported) };
    let absent_tag = if tags_can_go { Ok(Deleted::Absent) } else { Err(ErrorKind::Unsupported) };
    let manifest_goes = match (expected.delete_tag, expected.delete_manifest) {
        // It went with its last tag.
        (TagDeletion::RemovesLast, _) => Ok(Deleted::Absent),
        (_, ManifestDeletion::Unsupported) => Err(ErrorKind::Unsupported),
        _ => Ok(Deleted::Done),
    };
    let absent_manifest = match expected.delete_manifest {
        ManifestDeletion::Unsupported => Err(ErrorKind::Unsupported),
        _ => Ok(Deleted::Absent),
    };
    let wanted = [manifest_goes, absent_manifest, removed.clone(), removed, absent_tag];
    assert_eq!(outcomes, wanted);
    let left: &[&str] = match (tags_can_go, expected.delete_manifest) {
        (true, _) => &["kept", "second"],
        (false, ManifestDeletion::Unsupported) => &["doomed", "first", "kept", "second"],
        (false, _) => &["first", "kept", "second"],
    };
    assert_eq!(tags(vendor, &repository).await, left);
    assert_eq!(digest_of(vendor, &at("kept")).await, Some(kept));
    assert_eq!(digest_of(vendor, &at("second")).await.unwrap().as_str(), twice.digest());
}

/// Children of an index are refused while it is there, by registries that look after that.
pub(crate) async fn an_index_goes_with_its_children_in_any_order(vendor: &impl Vendor) {
    let client = vendor.client();
    let repository = vendor.repository("app");
    let at = repository.with_tag(tag("both"));
    let (index, children) = push_index(&client, &at).await;
    let digests = children.iter().map(|child| child.digest().parse().unwrap());
    let mut items: Vec<Deletion> = digests.map(Deletion::Manifest).collect();
    items.push(Deletion::Manifest(index.digest().clone()));
    if vendor.expected().delete_manifest == ManifestDeletion::RefusedWhileTagged {
        items.push(Deletion::Tag(tag("both")));
    }
    for result in client.delete_all(&repository, items).await.unwrap() {
        assert_eq!(result.result.unwrap(), Deleted::Done, "{:?}", result.item);
    }
    assert_eq!(digest_of(vendor, &at).await, None);
    for child in children {
        let at = repository.with_digest(child.digest().parse().unwrap());
        assert_eq!(digest_of(vendor, &at).await, None);
    }
}

/// Some make a repository for whoever pushes to it; the others have to be asked first.
pub(crate) async fn a_first_push_makes_the_repository_or_says_what_does(vendor: &impl Vendor) {
    let client = vendor.client();
    let missing = vendor.missing_repository("new");
    let at = missing.with_tag(Tag::latest());
    let image = TestImage::new("first");
    if vendor.expected().creates_repositories {
        assert_eq!(client.creation_command(&missing), None);
        push(&client, &at, &image).await;
        let error = client.create_repository(&missing).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Unsupported, "{error}");
    } else {
        let error = client.put_blob(&missing, image.config.clone().into()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Denied), "{error}");
        assert!(client.creation_command(&missing).is_some());
        assert_eq!(client.create_repository(&missing).await.unwrap(), Created::Now);
        assert_eq!(client.create_repository(&missing).await.unwrap(), Created::Before);
        push(&client, &at, &image).await;
    }
    assert_eq!(digest_of(vendor, &at).await.unwrap().as_str(), image.digest());
}

pub(crate) async fn whoever_may_come_in_is_told_so(vendor: &impl Vendor) {
    let ping = vendor.client().ping(&vendor.host()).await.unwrap();
    assert_eq!(ping.authenticated, vendor.login().is_some());
    for (stranger, kind) in vendor.strangers() {
        let error = stranger.ping(&vendor.host()).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{error}");
    }
}
