//! Copies through connections that break.

use std::sync::Arc;

use dockit_registry::copy::{CopyOptions, CopyReport, RemoteImage, copy};
use dockit_registry::{Digest, Error, ErrorKind, Reference};
use dockit_testkit::{Fault, Reply, Rule};

use super::Front;

const ALL: &str = "*";
const DESTINATION: &str = "/v2/team/copy/manifests/2";

/// Within the registry behind the proxy, but so that no blob is mounted: to a host of another name.
async fn run(front: &Front) -> Result<CopyReport, Error> {
    let client = front.client();
    let port = front.proxy.host().rsplit(':').next().unwrap().to_owned();
    let to: Reference = format!("localhost:{port}/team/copy:2").parse().unwrap();
    let from = RemoteImage::new(client.clone(), front.reference());
    let to = RemoteImage::to_write(client, to);
    copy(&from, &to, &CopyOptions::default(), Arc::new(())).await
}

#[tokio::test]
async fn every_request_of_a_copy_may_fail_once() {
    let front = Front::open();
    assert_eq!(run(&front).await.unwrap().digest.as_str(), front.image.digest());
    let requests = front.proxy.exchanges().len();
    for fault in [
        Fault::status(503),
        Fault::reply(Reply::new(429).header("Retry-After", "0")),
        Fault::reply(Reply::hang_up()),
        Fault::lost_reply(),
    ] {
        for number in 0..requests {
            let front = Front::open();
            front.proxy.add(Rule::on("*", ALL, fault.clone()).after(number).times(1));
            let report = run(&front).await;
            let report = report.unwrap_or_else(|error| panic!("{number} {fault:?}: {error}"));
            assert_eq!(report.digest.as_str(), front.image.digest(), "{number} {fault:?}");
            assert_eq!(front.held(DESTINATION), 200, "{number} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_copy_that_failed_leaves_no_name_and_its_blobs_are_not_moved_again() {
    let front = Front::open();
    front.fault("PUT", "/v2/team/copy/manifests/*", Fault::status(500));
    let error = run(&front).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Transient, "{error}");
    assert_eq!(front.held(DESTINATION), 404);

    front.proxy.reset();
    let report = run(&front).await.unwrap();
    assert_eq!((report.blobs.present, report.blobs.written), (2, 0));
    assert_eq!(front.held(DESTINATION), 200);
}

#[tokio::test]
async fn a_copy_of_a_blob_that_is_damaged_at_the_source_stores_nothing() {
    let front = Front::open();
    front.fault("GET", "/v2/team/app/blobs/*", Fault::changed_download(10));
    let error = run(&front).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch, "{error}");
    assert_eq!(front.held(DESTINATION), 404);
    for blob in [&front.image.config, &front.image.layer] {
        let digest = Digest::of(blob);
        assert_eq!(front.held(&format!("/v2/team/copy/blobs/{digest}")), 404);
    }
}
