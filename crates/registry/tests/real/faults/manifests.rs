//! Manifests that do not arrive as they were sent, in either direction.

use std::time::Duration;

use dockit_registry::{Access, Digest, ErrorKind, Registry as _};
use dockit_testkit::{Fault, Reply, Rule};

use super::{Front, MANIFEST, MANIFESTS, TRIES};

/// Where the new tag of these tests is.
const NEW: &str = "/v2/team/app/manifests/new";

#[tokio::test]
async fn a_manifest_that_is_cut_short_is_read_again() {
    let lost = [
        Fault::cut_download_after(0),
        Fault::cut_download_after(100),
        Fault::lost_reply(),
        Fault::reply(Reply::hang_up()),
    ];
    for fault in lost {
        let front = Front::open();
        front.fault_once("GET", MANIFEST, fault.clone());
        let manifest = front.client().manifest(&front.reference()).await.unwrap();
        assert_eq!(manifest.bytes(), front.image.manifest, "{fault:?}");
        assert_eq!(front.proxy.exchanges().len(), 2, "{fault:?}");

        front.proxy.reset();
        front.fault("GET", MANIFEST, fault.clone());
        let error = front.client().manifest(&front.reference()).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Transient, "{fault:?}: {error}");
        assert_eq!(front.proxy.exchanges().len(), TRIES as usize, "{fault:?}");
    }
}

#[tokio::test]
async fn a_manifest_that_stops_arriving_is_given_up_and_read_again() {
    let front = Front::open();
    let client = front.builder().idle_timeout(Duration::from_millis(300)).build().unwrap();
    front.fault_once("GET", MANIFEST, Fault::stall_download_after(50));
    let manifest = client.manifest(&front.reference()).await.unwrap();
    assert_eq!(manifest.bytes(), front.image.manifest);
    assert_eq!(front.proxy.exchanges().len(), 2);
}

#[tokio::test]
async fn a_slow_manifest_arrives() {
    let front = Front::open();
    let client = front.builder().idle_timeout(Duration::from_secs(5)).build().unwrap();
    front.fault("GET", MANIFEST, Fault::slow_download(2_000));
    let manifest = client.manifest(&front.reference()).await.unwrap();
    assert_eq!(manifest.bytes(), front.image.manifest);
    assert_eq!(front.proxy.exchanges().len(), 1);
}

#[tokio::test]
async fn a_manifest_that_is_not_what_was_announced_is_an_error() {
    let other = Digest::of(b"something else").to_string();
    for fault in [
        Fault::changed_download(200),
        Fault::truncated(200),
        Fault::truncated_without_length(200),
        Fault::header("Docker-Content-Digest", &other),
    ] {
        let front = Front::open();
        front.fault("*", MANIFESTS, fault.clone());
        let by_digest = front.repository().with_digest(front.image.digest().parse().unwrap());
        for reference in [front.reference(), by_digest] {
            let error = front.client().manifest(&reference).await.unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::DigestMismatch, "{fault:?}: {error}");
        }
        assert_eq!(front.outline(), ["GET 200", "GET 200"], "{fault:?}");
    }
}

#[tokio::test]
async fn a_lookup_by_digest_that_is_answered_with_another_digest_is_an_error() {
    let front = Front::open();
    let other = Digest::of(b"something else").to_string();
    front.fault("HEAD", MANIFESTS, Fault::header("Docker-Content-Digest", &other));
    let wanted = front.repository().with_digest(front.image.digest().parse().unwrap());
    let error = front.client().head_manifest(&wanted, Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch, "{error}");
    assert_eq!(front.outline(), ["HEAD 200"]);
}

#[tokio::test]
async fn a_lookup_whose_answer_lacks_the_digest_reads_the_manifest() {
    let front = Front::open();
    front.fault("*", MANIFESTS, Fault::without_header("Docker-Content-Digest"));
    let head = front.client().head_manifest(&front.reference(), Access::Pull).await.unwrap();
    assert_eq!(head.unwrap().digest.as_str(), front.image.digest());
    assert_eq!(front.outline(), ["HEAD 200", "GET 200"]);
}

#[tokio::test]
async fn a_manifest_whose_sending_was_cut_is_sent_again() {
    let size = Front::open().image.manifest.len() as u64;
    for (fault, passes) in [
        (Fault::cut_upload_after(0), false),
        (Fault::cut_upload_after(size - 1), false),
        (Fault::status(503), false),
        (Fault::lost_reply(), true),
    ] {
        let front = Front::open();
        let tag = "new".parse().unwrap();
        let put = async || {
            front.client().put_manifest(&front.repository(), &tag, &front.manifest()).await
        };
        front.fault("PUT", NEW, fault.clone());
        let error = put().await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Transient, "{fault:?}: {error}");
        assert_eq!(front.exchanges("PUT").len(), TRIES as usize, "{fault:?}");
        assert_eq!(front.held(NEW) == 200, passes, "{fault:?}");

        front.proxy.reset();
        front.fault_once("PUT", NEW, fault.clone());
        assert_eq!(put().await.unwrap().as_str(), front.image.digest(), "{fault:?}");
        assert_eq!(front.held(NEW), 200, "{fault:?}");
    }
}

#[tokio::test]
async fn a_registry_that_says_it_stored_something_else_is_not_believed_to_have_stored_it() {
    let front = Front::open();
    let other = Digest::of(b"something else").to_string();
    front.fault("PUT", NEW, Fault::header("Docker-Content-Digest", &other));
    let tag = "new".parse().unwrap();
    let put = front.client().put_manifest(&front.repository(), &tag, &front.manifest()).await;
    let error = put.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch, "{error}");
    assert_eq!(front.outline(), ["HEAD 404", "PUT 201"]);
}

#[tokio::test]
async fn a_manifest_that_was_changed_under_way_is_an_error() {
    let front = Front::open();
    // Still JSON, and still a manifest: a size within it.
    let text = String::from_utf8(front.image.manifest.clone()).unwrap();
    let position = text.find("\"size\":").unwrap() + "\"size\":".len();
    front.fault("PUT", NEW, Fault::changed_upload(position as u64));
    let tag = "new".parse().unwrap();
    let put = front.client().put_manifest(&front.repository(), &tag, &front.manifest()).await;
    let error = put.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch, "{error}");
    assert_eq!(front.outline(), ["HEAD 404", "PUT 201"]);
}

#[tokio::test]
async fn a_registry_that_does_not_say_what_it_stored_is_asked() {
    let front = Front::open();
    front.proxy.add(Rule::on("PUT", NEW, Fault::without_header("Docker-Content-Digest")));
    let tag = "new".parse().unwrap();
    let put = front.client().put_manifest(&front.repository(), &tag, &front.manifest()).await;
    assert_eq!(put.unwrap().as_str(), front.image.digest());
    assert_eq!(front.outline(), ["HEAD 404", "PUT 201", "GET 200"]);
}
