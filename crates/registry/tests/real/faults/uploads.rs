//! Small blobs whose upload goes wrong.

use bytes::Bytes;
use dockit_registry::{Digest, ErrorKind, Registry as _};
use dockit_testkit::{Fault, Reply};

use super::{Front, TRIES};

const BEGIN: &str = "/v2/team/app/blobs/uploads/";
/// Whatever is sent to an upload that was begun, whose name is a UUID.
const UPLOAD: &str = "/v2/team/app/blobs/uploads/*-*";
const BLOBS: &str = "/v2/team/app/blobs/sha256:*";

const BLOB: &[u8] = b"a blob of some thirty bytes .....";

fn path() -> String {
    format!("/v2/team/app/blobs/{}", Digest::of(BLOB))
}

#[tokio::test]
async fn an_upload_that_broke_begins_again() {
    let cases = [
        ("POST", BEGIN, Fault::status(503)),
        ("POST", BEGIN, Fault::lost_reply()),
        ("*", UPLOAD, Fault::status(500)),
        ("*", UPLOAD, Fault::cut_upload_after(0)),
        ("*", UPLOAD, Fault::cut_upload_after(10)),
        ("*", UPLOAD, Fault::reply(Reply::hang_up())),
        // The registry has forgotten the upload.
        ("*", UPLOAD, Fault::status(404)),
    ];
    for (method, pattern, fault) in cases {
        let front = Front::open();
        let begun = || front.exchanges("POST").len();
        front.fault(method, pattern, fault.clone());
        let put = front.client().put_blob(&front.repository(), Bytes::from_static(BLOB)).await;
        let error = put.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Transient, "{fault:?}: {error}");
        assert_eq!(begun(), TRIES as usize, "{fault:?} {:?}", front.outline());
        assert_eq!(front.held(&path()), 404, "{fault:?}");

        front.proxy.reset();
        front.fault_once(method, pattern, fault.clone());
        let put = front.client().put_blob(&front.repository(), Bytes::from_static(BLOB)).await;
        assert_eq!(put.unwrap(), Digest::of(BLOB), "{fault:?}");
        assert_eq!(begun(), 2, "{fault:?} {:?}", front.outline());
        assert_eq!(front.held(&path()), 200, "{fault:?}");
    }
}

#[tokio::test]
async fn an_upload_whose_reply_was_lost_is_not_repeated() {
    let front = Front::open();
    front.fault("PUT", UPLOAD, Fault::lost_reply());
    let put = front.client().put_blob(&front.repository(), Bytes::from_static(BLOB)).await;
    assert_eq!(put.unwrap(), Digest::of(BLOB));
    assert_eq!(front.outline(), ["HEAD 404", "POST 202", "PUT -", "HEAD 200"]);
    assert_eq!(front.held(&path()), 200);
}

#[tokio::test]
async fn bytes_that_change_on_their_way_up_are_not_stored() {
    let front = Front::open();
    front.fault("PUT", UPLOAD, Fault::changed_upload(3));
    let put = front.client().put_blob(&front.repository(), Bytes::from_static(BLOB)).await;
    let error = put.unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    assert_eq!(error.codes(), ["DIGEST_INVALID"]);
    assert_eq!(front.outline(), ["HEAD 404", "POST 202", "PUT 400"]);
    assert_eq!(front.held(&path()), 404);
}

#[tokio::test]
async fn a_registry_that_says_it_stored_another_blob_is_not_believed() {
    let front = Front::open();
    let other = Digest::of(b"something else").to_string();
    front.fault("PUT", UPLOAD, Fault::header("Docker-Content-Digest", &other));
    let put = front.client().put_blob(&front.repository(), Bytes::from_static(BLOB)).await;
    assert_eq!(*put.unwrap_err().kind(), ErrorKind::DigestMismatch);
    assert_eq!(front.outline(), ["HEAD 404", "POST 202", "PUT 201"]);
}

#[tokio::test]
async fn a_blob_that_does_not_arrive_as_it_is_stored_is_an_error() {
    let front = Front::open();
    let config: Digest = front.image.config_digest().parse().unwrap();
    for fault in
        [Fault::changed_download(20), Fault::truncated(20), Fault::truncated_without_length(20)]
    {
        front.proxy.reset();
        front.fault("GET", BLOBS, fault.clone());
        let error = front.client().blob(&front.repository(), &config, 10_000).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::DigestMismatch, "{fault:?}: {error}");
        assert_eq!(front.outline(), ["GET 200"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_blob_that_is_cut_short_is_read_again() {
    let front = Front::open();
    let config: Digest = front.image.config_digest().parse().unwrap();
    front.fault_once("GET", BLOBS, Fault::cut_download_after(20));
    let blob = front.client().blob(&front.repository(), &config, 10_000).await.unwrap();
    assert_eq!(blob, front.image.config);
    assert_eq!(front.exchanges("GET").len(), 2);
}
