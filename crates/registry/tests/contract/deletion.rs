//! Removing tags, and deleting manifests, of which neither stands for the other.

use dockit_registry::{
    Deleted, Digest, ErrorKind, ManifestDeletion, Registry as _, Repository, Tag, TagDeletion,
};
use dockit_testkit::TestImage;

use super::lists::tags;
use super::{Vendor, digest_of, manifest, push};

/// A manifest on the tags `one` and `two`, and another on `other`.
async fn three_tags(vendor: &impl Vendor) -> (Repository, [Digest; 2]) {
    let client = vendor.client();
    let repository = vendor.repository("app");
    let at = |tag: &str| repository.with_tag(tag.parse().unwrap());
    let image = TestImage::new("tagged twice");
    let digest = push(&client, &at("one"), &image).await;
    client.put_manifest(&repository, &"two".parse().unwrap(), &manifest(&image)).await.unwrap();
    let other = push(&client, &at("other"), &TestImage::new("other")).await;
    (repository, [digest, other])
}

pub(crate) async fn a_tag_is_removed_alone_or_not_at_all(vendor: &impl Vendor) {
    let (repository, [digest, _]) = three_tags(vendor).await;
    let client = vendor.client();
    let one: Tag = "one".parse().unwrap();
    let deleted = client.delete_tag(&repository, &one).await;
    // Where a manifest goes with its last tag, it has another one here.
    if matches!(vendor.expected().delete_tag, TagDeletion::Native | TagDeletion::RemovesLast) {
        assert_eq!(deleted.unwrap(), Deleted::Done);
        assert_eq!(client.delete_tag(&repository, &one).await.unwrap(), Deleted::Absent);
        assert_eq!(tags(vendor, &repository).await, ["other", "two"]);
    } else {
        let error = deleted.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(tags(vendor, &repository).await, ["one", "other", "two"]);
    }
    let two = repository.with_tag("two".parse().unwrap());
    assert_eq!(digest_of(vendor, &two).await.as_ref(), Some(&digest));
    let by_digest = repository.with_digest(digest.clone());
    assert_eq!(*client.manifest(&by_digest).await.unwrap().digest(), digest);
}

/// Only for registries of which it is known.
pub(crate) async fn a_tag_is_removed_by_substitute(vendor: &impl Vendor) {
    assert_eq!(vendor.expected().delete_tag, TagDeletion::BySubstitute);
    let (repository, [digest, other]) = three_tags(vendor).await;
    let client = vendor.client();
    let one: Tag = "one".parse().unwrap();

    let error = client.delete_tag_by_substitute(&repository, &one, &other).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch, "{error}");
    assert_eq!(digest_of(vendor, &repository.with_tag(one.clone())).await.as_ref(), Some(&digest));

    for expected in [Deleted::Done, Deleted::Absent] {
        let deleted = client.delete_tag_by_substitute(&repository, &one, &digest).await;
        assert_eq!(deleted.unwrap(), expected);
        assert_eq!(tags(vendor, &repository).await, ["other", "two"]);
    }
    for (tag, digest) in [("two", &digest), ("other", &other)] {
        let at = repository.with_tag(tag.parse().unwrap());
        assert_eq!(digest_of(vendor, &at).await.as_ref(), Some(digest));
    }
    // The last tag of a manifest, which stays.
    let two = "two".parse().unwrap();
    let deleted = client.delete_tag_by_substitute(&repository, &two, &digest).await;
    assert_eq!(deleted.unwrap(), Deleted::Done);
    assert_eq!(tags(vendor, &repository).await, ["other"]);
    let by_digest = repository.with_digest(digest.clone());
    assert_eq!(digest_of(vendor, &by_digest).await, Some(digest));
}

pub(crate) async fn a_manifest_is_deleted_by_its_digest(vendor: &impl Vendor) {
    let (repository, [digest, other]) = three_tags(vendor).await;
    let client = vendor.client();
    let deleted = client.delete_manifest(&repository, &digest).await;
    match vendor.expected().delete_manifest {
        ManifestDeletion::RemovesTags => assert_eq!(deleted.unwrap(), Deleted::Done),
        ManifestDeletion::RefusedWhileTagged => {
            let error = deleted.unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::StillTagged, "{error}");
            assert_eq!(tags(vendor, &repository).await, ["one", "other", "two"]);
            for tag in ["one", "two"] {
                client.delete_tag(&repository, &tag.parse().unwrap()).await.unwrap();
            }
            let deleted = client.delete_manifest(&repository, &digest).await;
            assert_eq!(deleted.unwrap(), Deleted::Done);
        }
        different => panic!("nothing can be expected of {different:?}"),
    }
    assert_eq!(client.delete_manifest(&repository, &digest).await.unwrap(), Deleted::Absent);
    assert_eq!(tags(vendor, &repository).await, ["other"]);
    for tag in ["one", "two"] {
        let at = repository.with_tag(tag.parse().unwrap());
        assert_eq!(digest_of(vendor, &at).await, None);
    }
    assert_eq!(digest_of(vendor, &repository.with_digest(digest)).await, None);
    let at = repository.with_tag("other".parse().unwrap());
    assert_eq!(digest_of(vendor, &at).await, Some(other));
    let absent = client.delete_manifest(&repository, &Digest::of(b"absent")).await;
    assert_eq!(absent.unwrap(), Deleted::Absent);
}

/// Only for registries of which it is known, which are ECR's.
#[cfg(feature = "aws")]
pub(crate) async fn a_manifest_goes_with_its_last_tag(vendor: &impl Vendor) {
    assert_eq!(vendor.expected().delete_tag, TagDeletion::RemovesLast);
    let (repository, [digest, _]) = three_tags(vendor).await;
    let client = vendor.client();
    let by_digest = repository.with_digest(digest.clone());
    for (tag, left) in [("one", Some(&digest)), ("two", None)] {
        let deleted = client.delete_tag(&repository, &tag.parse().unwrap()).await;
        assert_eq!(deleted.unwrap(), Deleted::Done);
        assert_eq!(digest_of(vendor, &by_digest).await.as_ref(), left);
    }
}

pub(crate) async fn a_repository_without_tags_lists_none(vendor: &impl Vendor) {
    let client = vendor.client();
    let at = vendor.repository("app").with_tag("only".parse().unwrap());
    let digest = push(&client, &at, &TestImage::new("only")).await;
    if vendor.expected().delete_manifest == ManifestDeletion::RefusedWhileTagged {
        client.delete_tag(at.repository(), &at.tag_or_latest()).await.unwrap();
    }
    client.delete_manifest(at.repository(), &digest).await.unwrap();
    assert_eq!(tags(vendor, at.repository()).await, [""; 0]);
}
