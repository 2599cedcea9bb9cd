//! Who may do what.

use std::time::Duration;

use dockit_registry::{Access, Digest, Registry as _};
use dockit_testkit::TestImage;
use futures_util::future::join_all;

use super::{Vendor, manifest, push};

pub(crate) async fn strangers_learn_nothing(vendor: &impl Vendor) {
    let at = vendor.repository("app").with_tag("1".parse().unwrap());
    let absent = vendor.repository("app").with_tag("absent".parse().unwrap());
    let image = TestImage::new("secret");
    push(&vendor.client(), &at, &image).await;
    let strangers = vendor.strangers();
    assert!(!strangers.is_empty(), "the fixture names none");
    for (stranger, kind) in strangers {
        for reference in [&at, &absent] {
            let error = stranger.head_manifest(reference, Access::PullPush).await.unwrap_err();
            assert_eq!(*error.kind(), kind, "{error}");
            let error = stranger.manifest(reference).await.unwrap_err();
            assert_eq!(*error.kind(), kind, "{error}");
        }
        let config: Digest = image.config_digest().parse().unwrap();
        let error = stranger.blob(at.repository(), &config, 10_000).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{error}");
        let error = stranger.put_blob(at.repository(), "x".into()).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{error}");
    }
}

/// More than run at a time, each of which may have to log in first.
pub(crate) async fn many_first_questions_at_once_are_all_answered(vendor: &impl Vendor) {
    let at = vendor.repository("app").with_tag("1".parse().unwrap());
    let digest = push(&vendor.client(), &at, &TestImage::new("many")).await;
    let client = vendor.client();
    let questions = (0..40).map(|_| client.head_manifest(&at, Access::PullPush));
    let answers = tokio::time::timeout(Duration::from_secs(60), join_all(questions));
    for answer in answers.await.expect("they wait for one another") {
        assert_eq!(answer.unwrap().unwrap().digest, digest);
    }
}

pub(crate) async fn readers_read_and_do_not_write(vendor: &impl Vendor) {
    let at = vendor.repository("app").with_tag("1".parse().unwrap());
    let image = TestImage::new("read");
    push(&vendor.client(), &at, &image).await;
    let readers = vendor.readers();
    assert!(!readers.is_empty(), "the fixture names none");
    for (reader, kind) in readers {
        let head = reader.head_manifest(&at, Access::Pull).await.unwrap().unwrap();
        assert_eq!(head.digest.as_str(), image.digest());
        let config: Digest = image.config_digest().parse().unwrap();
        let blob = reader.blob(at.repository(), &config, 10_000).await.unwrap();
        assert_eq!(blob, image.config);

        let error = reader.put_blob(at.repository(), "x".into()).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{error}");
        let tag = "2".parse().unwrap();
        let put = reader.put_manifest(at.repository(), &tag, &manifest(&image)).await;
        let error = put.unwrap_err();
        assert_eq!(*error.kind(), kind, "{error}");
        let there = vendor.client().head_manifest(&at.with_tag(tag), Access::Pull).await.unwrap();
        assert_eq!(there, None);
    }
}
