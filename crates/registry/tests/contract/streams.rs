//! Blobs as streams.

use dockit_registry::{Delivery, ErrorKind, Registry as _};

use super::{Vendor, noise};
use crate::source::{Pieces, collect, describe};

/// What is more than one read, write or buffer of anything.
const LARGE: usize = 20_000_000;

pub(crate) async fn blobs_are_streamed_as_they_were_pushed(vendor: &impl Vendor) {
    let repository = vendor.repository("streams");
    let client = vendor.client();
    for length in [0, 1, 70_000, LARGE] {
        let bytes = noise(2, length);
        let source = Pieces::new(bytes.clone());
        let blob = source.descriptor();
        assert!(!client.has_blob(&repository, &blob.digest).await.unwrap(), "{length}");
        for expected in [Delivery::Written, Delivery::Present] {
            let delivery = client.push_blob(&repository, &blob, &source, None).await.unwrap();
            assert_eq!((delivery, source.opened()), (expected, 1), "{length}");
        }
        assert!(client.has_blob(&repository, &blob.digest).await.unwrap(), "{length}");
        let stream = client.blob_stream(&repository, &blob).await.unwrap();
        assert!(collect(stream).await.unwrap() == bytes, "{length}");
    }
}

pub(crate) async fn a_source_that_holds_another_blob_stores_nothing(vendor: &impl Vendor) {
    let repository = vendor.repository("streams");
    let client = vendor.client();
    let wanted = noise(3, 1_000_000);
    let blob = describe(&wanted);
    let mut changed = wanted.clone();
    changed[999_999] ^= 1;
    let longer = [&*wanted, b"x"].concat();
    for (what, bytes) in [
        ("changed", changed),
        ("shorter", wanted[..999_999].to_vec()),
        ("longer", longer),
        ("empty", Vec::new()),
    ] {
        let source = Pieces::new(bytes.clone());
        let error = client.push_blob(&repository, &blob, &source, None).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::DigestMismatch, "{what}: {error}");
        for digest in [&blob.digest, &describe(&bytes).digest] {
            assert!(!client.has_blob(&repository, digest).await.unwrap(), "{what}");
        }
        assert_eq!(source.opened(), 1, "{what}");
    }
}

pub(crate) async fn what_is_not_the_blob_is_an_error(vendor: &impl Vendor) {
    let repository = vendor.repository("streams");
    let client = vendor.client();
    let bytes = noise(4, 200_000);
    client.put_blob(&repository, bytes.clone().into()).await.unwrap();
    for size in [0, 199_999, 200_001] {
        let mut blob = describe(&bytes);
        blob.size = size;
        let read = match client.blob_stream(&repository, &blob).await {
            Ok(stream) => collect(stream).await,
            Err(error) => Err(error),
        };
        let error = read.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::DigestMismatch, "{size}: {error}");
    }
    let absent = client.blob_stream(&repository, &describe(b"absent")).await;
    let error = absent.err().expect("it is absent");
    assert_eq!(*error.kind(), ErrorKind::NotFound, "{error}");
}

pub(crate) async fn blobs_are_mounted_from_other_repositories(vendor: &impl Vendor) {
    let (from, to) = (vendor.repository("mounted-from"), vendor.repository("mounted-to"));
    let client = vendor.client();
    let source = Pieces::new(noise(5, 100_000));
    let blob = source.descriptor();
    client.push_blob(&from, &blob, &source, None).await.unwrap();
    // A second client has no token for either.
    let client = vendor.client();
    let delivery = client.push_blob(&to, &blob, &source, Some(&from)).await.unwrap();
    if vendor.expected().shares_blobs {
        assert_eq!((delivery, source.opened()), (Delivery::Present, 1));
    } else if vendor.expected().mounts {
        assert_eq!((delivery, source.opened()), (Delivery::Mounted, 1));
    } else {
        assert_eq!((delivery, source.opened()), (Delivery::Written, 2));
    }
    let stream = client.blob_stream(&to, &blob).await.unwrap();
    assert_eq!(collect(stream).await.unwrap().len(), 100_000);

    let elsewhere = Pieces::new(noise(6, 100_000));
    let blob = elsewhere.descriptor();
    let delivery = client.push_blob(&to, &blob, &elsewhere, Some(&from)).await.unwrap();
    assert_eq!(delivery, Delivery::Written);
    assert!(client.has_blob(&to, &blob.digest).await.unwrap());
}
