//! Blobs whose upload goes wrong while they are streamed.

use std::time::Duration;

use dockit_registry::{Delivery, Error, ErrorKind};
use dockit_testkit::{Fault, Reply, Rule, ScriptedServer};

use super::{Front, TRIES, assert_no_credentials};
use crate::contract::noise;
use crate::source::Pieces;

const BEGIN: &str = "/v2/team/app/blobs/uploads/";
/// Whatever is sent to an upload that was begun, whose name is a UUID.
const UPLOAD: &str = "/v2/team/app/blobs/uploads/*-*";

/// More than the buffers of sockets hold, and more than one chunk.
const SIZE: u64 = 20_000_000;

fn source() -> Pieces {
    Pieces::new(noise(8, SIZE as usize))
}

/// Pushes; tells how often the source was opened, and whether the registry holds the blob afterwards.
async fn push(front: &Front) -> (Result<Delivery, Error>, usize, bool) {
    let source = source();
    let blob = source.descriptor();
    let pushed = front.client().push_blob(&front.repository(), &blob, &source, None).await;
    let held = front.held(&format!("/v2/team/app/blobs/{}", blob.digest)) == 200;
    (pushed, source.opened(), held)
}

#[tokio::test]
async fn an_upload_that_was_cut_begins_again() {
    for fault in [
        Fault::cut_upload_after(0),
        Fault::cut_upload_after(SIZE / 2),
        Fault::cut_upload_after(SIZE - 1),
        Fault::status(500),
        Fault::status(404),
    ] {
        let front = Front::open();
        front.fault_once("PUT", UPLOAD, fault.clone());
        let (pushed, opened, held) = push(&front).await;
        assert_eq!(pushed.unwrap(), Delivery::Written, "{fault:?}");
        assert_eq!((opened, held), (2, true), "{fault:?}");
        assert_eq!(front.exchanges("POST").len(), 2, "{fault:?}");
        assert_eq!(front.exchanges("PUT").len(), 2, "{fault:?}");
        assert_eq!(front.exchanges("PATCH").len(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn an_upload_that_always_fails_is_given_up() {
    let front = Front::open();
    front.fault("PUT", UPLOAD, Fault::status(502));
    let (pushed, _, held) = push(&front).await;
    assert_eq!(*pushed.unwrap_err().kind(), ErrorKind::Transient);
    assert!(!held);
    assert_eq!(front.exchanges("PUT").len(), TRIES as usize);
}

#[tokio::test]
async fn an_upload_that_is_cut_again_and_again_is_sent_in_chunks() {
    let front = Front::open();
    front.fault("PUT", UPLOAD, Fault::cut_upload_after(SIZE / 2));
    let (pushed, _, held) = push(&front).await;
    assert_eq!(pushed.unwrap(), Delivery::Written);
    assert!(held);
    let patches = front.exchanges("PATCH");
    assert!(patches.len() > 1, "{:?}", front.outline());
    assert_eq!(patches.iter().map(|one| one.uploaded).sum::<u64>(), SIZE);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_sent_in_chunks() {
    let front = Front::open();
    front.fault_once("PUT", UPLOAD, Fault::status(413));
    let (pushed, _, held) = push(&front).await;
    assert_eq!(pushed.unwrap(), Delivery::Written);
    assert!(held);
    assert_eq!(front.exchanges("PUT").len(), 2, "{:?}", front.outline());
    let patches = front.exchanges("PATCH");
    assert_eq!(patches.iter().map(|one| one.uploaded).sum::<u64>(), SIZE);
}

#[tokio::test]
async fn a_chunk_that_was_cut_does_not_make_a_wrong_blob() {
    let front = Front::open();
    front.fault_once("PUT", UPLOAD, Fault::status(413));
    front.fault_once("PATCH", UPLOAD, Fault::cut_upload_after(1_000_000));
    let (pushed, _, held) = push(&front).await;
    assert_eq!(pushed.unwrap(), Delivery::Written);
    assert!(held);
}

#[tokio::test]
async fn an_upload_whose_reply_was_lost_is_found_to_be_there() {
    let front = Front::open();
    front.fault("PUT", UPLOAD, Fault::lost_reply());
    let (pushed, opened, held) = push(&front).await;
    assert_eq!(pushed.unwrap(), Delivery::Present);
    assert_eq!((opened, held), (1, true));
    assert_eq!(front.outline(), ["HEAD 404", "POST 202", "PUT -", "HEAD 200"]);
}

#[tokio::test]
async fn a_server_that_stops_reading_is_given_up_and_the_upload_begins_again() {
    let front = Front::open();
    front.fault_once("PUT", UPLOAD, Fault::stall_upload_after(100_000));
    let client = front.builder().idle_timeout(Duration::from_secs(1)).build().unwrap();
    let source = source();
    let blob = source.descriptor();
    let pushed = client.push_blob(&front.repository(), &blob, &source, None).await;
    assert_eq!(pushed.unwrap(), Delivery::Written);
    assert_eq!((source.opened(), front.exchanges("PUT").len()), (2, 2));
}

#[tokio::test]
async fn bytes_that_change_on_their_way_up_are_not_stored() {
    let front = Front::open();
    front.fault("PUT", UPLOAD, Fault::changed_upload(SIZE / 2));
    let (pushed, opened, held) = push(&front).await;
    let error = pushed.unwrap_err();
    assert_eq!(error.codes(), ["DIGEST_INVALID"], "{error}");
    assert_eq!((opened, held), (1, false));
}

#[tokio::test]
async fn a_mount_that_is_refused_becomes_an_upload() {
    for status in [400, 401, 403, 404, 405] {
        let front = Front::open();
        front.fault_once("POST", BEGIN, Fault::status(status));
        let other = front.repository().host().to_string() + "/other/app:1";
        let other: dockit_registry::Reference = other.parse().unwrap();
        let source = Pieces::new(noise(9, 1_000));
        let blob = source.descriptor();
        let client = front.client();
        let from = Some(other.repository());
        let pushed = client.push_blob(&front.repository(), &blob, &source, from).await;
        assert_eq!(pushed.unwrap(), Delivery::Written, "{status}");
        let [mount, begin] = &*front.exchanges("POST") else { panic!("{:?}", front.proxy.log()) };
        assert!(mount.target.contains("mount=") && !begin.target.contains("mount="));
    }
}

#[tokio::test]
async fn a_refusal_for_lack_of_quota_or_rights_is_final() {
    let front = Front::open();
    front.fault("PUT", UPLOAD, Fault::status(403));
    let (pushed, opened, held) = push(&front).await;
    assert_eq!(*pushed.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!((opened, held), (1, false));
}

#[tokio::test]
async fn an_upload_that_is_sent_elsewhere_takes_no_credentials_along() {
    let front = Front::with_password();
    let client = front.acquainted_client().await;
    let other = ScriptedServer::start(|_| Reply::new(201));
    front.proxy.add(Rule::on("POST", BEGIN, Fault::elsewhere("Location", &other.host())));
    let source = Pieces::new(noise(9, 1_000));
    let blob = source.descriptor();
    let pushed = client.push_blob(&front.repository(), &blob, &source, None).await;
    assert_eq!(*pushed.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(other.requests().len(), 1);
    assert_no_credentials(&other);
    assert_eq!(front.outline(), ["HEAD 404", "POST 202", "HEAD 404"]);
}
