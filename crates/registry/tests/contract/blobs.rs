//! Blobs.

use bytes::Bytes;
use dockit_registry::{Digest, ErrorKind, Registry as _};

use super::{Vendor, noise};

/// What is more than one read, write or buffer of anything.
const LARGE: usize = 20_000_000;

pub(crate) async fn small_and_large_blobs_are_read_as_they_were_put(vendor: &impl Vendor) {
    let repository = vendor.repository("blobs");
    let client = vendor.client();
    for length in [0, 1, 70_000, LARGE] {
        let bytes = Bytes::from(noise(1, length));
        for _ in 0..2 {
            let digest = client.put_blob(&repository, bytes.clone()).await.unwrap();
            assert_eq!(digest, Digest::of(&bytes), "{length}");
            let read = client.blob(&repository, &digest, length as u64).await.unwrap();
            assert!(read == bytes, "{length}");
        }
    }
}

pub(crate) async fn absent_and_oversize_blobs_are_errors(vendor: &impl Vendor) {
    let repository = vendor.repository("blobs");
    let client = vendor.client();
    let digest = client.put_blob(&repository, "twelve bytes".into()).await.unwrap();
    let error = client.blob(&repository, &digest, 11).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid, "{error}");
    let error = client.blob(&repository, &Digest::of(b"absent"), 100).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotFound, "{error}");
}
