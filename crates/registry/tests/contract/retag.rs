//! Other tags for what is there.

use dockit_registry::{Retag, TagChange};
use dockit_testkit::TestImage;

use super::{Vendor, digest_of, push, push_index};

pub(crate) async fn tags_get_the_same_digest_and_are_planned_first(vendor: &impl Vendor) {
    let client = vendor.client();
    let repository = vendor.repository("app");
    let at = |tag: &str| repository.with_tag(tag.parse().unwrap());
    let old = push(&client, &at("moving"), &TestImage::new("old")).await;
    let (index, _) = push_index(&client, &at("source")).await;
    let tags = ["created", "moving", "source"].map(|tag| tag.parse().unwrap());
    let expected = [
        (None, TagChange::Created),
        (Some(old), TagChange::Moved),
        (Some(index.digest().clone()), TagChange::Unchanged),
    ];

    let retag = Retag::plan(&client, &at("source"), &tags).await.unwrap();
    assert_eq!(retag.digest(), index.digest());
    for ((_, previous, change), expected) in retag.changes().zip(&expected) {
        assert_eq!((previous, change), (expected.0.as_ref(), expected.1));
    }
    assert_eq!(digest_of(vendor, &at("created")).await, None);
    assert_eq!(digest_of(vendor, &at("moving")).await, expected[1].0);

    for (retagged, expected) in retag.apply(&client).await.into_iter().zip(&expected) {
        assert_eq!(retagged.previous, expected.0);
        assert_eq!(retagged.result.unwrap(), expected.1, "{}", retagged.tag);
    }
    for tag in &tags {
        assert_eq!(
            digest_of(vendor, &repository.with_tag(tag.clone())).await.as_ref(),
            Some(index.digest())
        );
    }
}
