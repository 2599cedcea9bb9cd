//! Manifests and tags.

use dockit_registry::{Access, Digest, ErrorKind, Reference, Registry as _, resolve_image};
use dockit_testkit::TestImage;

use super::{Vendor, manifest, push, push_blobs, push_index};

fn tagged(vendor: &impl Vendor, tag: &str) -> Reference {
    vendor.repository("app").with_tag(tag.parse().unwrap())
}

pub(crate) async fn a_manifest_is_read_by_tag_and_by_digest_as_it_was_put(vendor: &impl Vendor) {
    let client = vendor.client();
    let at = tagged(vendor, "1");
    let image = TestImage::new("manifest");
    let digest = push(&client, &at, &image).await;
    assert_eq!(digest.as_str(), image.digest());
    for reference in [at.clone(), at.with_digest(digest.clone())] {
        // A second client has nothing left from the push.
        for client in [&client, &vendor.client()] {
            let head = client.head_manifest(&reference, Access::Pull).await.unwrap().unwrap();
            assert_eq!((&head.digest, &*head.media_type), (&digest, image.media_type));
            let read = client.manifest(&reference).await.unwrap();
            assert_eq!((read.bytes(), read.media_type()), (&*image.manifest, image.media_type));
            assert_eq!(*read.digest(), digest);
        }
    }
}

pub(crate) async fn an_index_is_put_with_its_manifests(vendor: &impl Vendor) {
    let client = vendor.client();
    let at = tagged(vendor, "index");
    let (index, [_, arm]) = push_index(&client, &at).await;
    let read = client.manifest(&at).await.unwrap();
    assert_eq!(read, index);
    let resolved = resolve_image(&client, &at, &"linux/arm64".parse().unwrap()).await.unwrap();
    assert_eq!(resolved.top, *index.digest());
    assert_eq!(resolved.platform_digest.as_str(), arm.digest());
    let platform = "linux/riscv64".parse().unwrap();
    let error = resolve_image(&client, &at, &platform).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::WrongPlatform, "{error}");
}

pub(crate) async fn another_tag_has_the_same_digest(vendor: &impl Vendor) {
    let client = vendor.client();
    let (index, [one, _]) = push_index(&client, &tagged(vendor, "index")).await;
    for (manifest, tag) in [(&index, "stable"), (&manifest(&one), "one")] {
        let at = tagged(vendor, tag);
        for _ in 0..2 {
            let tag = at.tag_or_latest();
            let put = client.put_manifest(at.repository(), &tag, manifest).await.unwrap();
            assert_eq!(put, *manifest.digest());
        }
        let read = client.manifest(&at).await.unwrap();
        assert_eq!(&read, manifest);
    }
}

pub(crate) async fn a_tag_moves_and_the_old_digest_stays(vendor: &impl Vendor) {
    let client = vendor.client();
    let at = tagged(vendor, "moving");
    let old = push(&client, &at, &TestImage::new("old")).await;
    let new = push(&client, &at, &TestImage::new("new")).await;
    assert_ne!(old, new);
    assert_eq!(*client.manifest(&at).await.unwrap().digest(), new);
    assert_eq!(*client.manifest(&at.with_digest(old.clone())).await.unwrap().digest(), old);
}

pub(crate) async fn absent_is_no_error_and_errors_are_not_absent(vendor: &impl Vendor) {
    let client = vendor.client();
    push(&client, &tagged(vendor, "1"), &TestImage::new("there")).await;
    let digest = Digest::of(b"absent");
    let missing = vendor.repository("missing");
    for absent in [
        tagged(vendor, "absent"),
        tagged(vendor, "1").with_digest(digest.clone()),
        missing.with_tag("1".parse().unwrap()),
        missing.with_digest(digest),
    ] {
        for access in [Access::Pull, Access::PullPush] {
            let head = client.head_manifest(&absent, access).await.unwrap();
            assert_eq!(head, None, "{absent}");
        }
        let error = client.manifest(&absent).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(error.host(), Some(&vendor.host()));
    }
}

pub(crate) async fn a_manifest_without_its_blobs_is_refused(vendor: &impl Vendor) {
    let client = vendor.client();
    let repository = vendor.repository("app");
    let image = TestImage::new("bare");
    let tag = "bare".parse().unwrap();
    let put = client.put_manifest(&repository, &tag, &manifest(&image)).await;
    let error = put.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    let at = repository.with_tag(tag);
    assert_eq!(client.head_manifest(&at, Access::Pull).await.unwrap(), None);
    push_blobs(&client, &repository, &image).await;
    push(&client, &at, &image).await;
}
