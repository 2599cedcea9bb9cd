//! What is repeated, and what is not.

use std::time::Duration;

use dockit_registry::{Access, ErrorKind, Registry as _};
use dockit_testkit::{Reply, ScriptedServer, TestImage};

use crate::support::{builder, good_token, present, quick_retries, reference, token_registry};

#[tokio::test]
async fn what_may_pass_is_repeated_until_it_does() {
    let image = TestImage::new("passes");
    let failures = [
        Reply::new(500),
        Reply::new(502),
        Reply::new(503).header("Retry-After", "0"),
        Reply::new(408),
        Reply::new(429).header("Retry-After", "0"),
    ];
    let server = ScriptedServer::script(failures.into_iter().chain([present(&image)]));
    let client = builder().retry(quick_retries(6)).build().unwrap();
    let head = client.head_manifest(&reference(&server), Access::Pull).await.unwrap();
    assert_eq!(head.unwrap().digest.as_str(), image.digest());
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn a_lost_connection_is_made_anew() {
    let server = ScriptedServer::script([Reply::hang_up(), Reply::hang_up(), Reply::new(404)]);
    let client = builder().retry(quick_retries(3)).build().unwrap();
    assert_eq!(client.head_manifest(&reference(&server), Access::Pull).await.unwrap(), None);
}

#[tokio::test]
async fn the_last_failure_is_the_error() {
    let server = ScriptedServer::script([Reply::new(500), Reply::new(502), Reply::new(503)]);
    let client = builder().retry(quick_retries(3)).build().unwrap();
    let error = client.manifest(&reference(&server)).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (&ErrorKind::Transient, Some(503)));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn refusals_and_garbage_are_not_repeated() {
    for reply in [
        Reply::new(401),
        Reply::new(403),
        Reply::new(400),
        Reply::new(200).body("<html>"),
        Reply::new(429).header("Retry-After", "3600"),
    ] {
        let server = ScriptedServer::script([reply]);
        let client = builder().retry(quick_retries(6)).build().unwrap();
        client.manifest(&reference(&server)).await.unwrap_err();
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_reported_with_its_length() {
    let server = ScriptedServer::script([Reply::new(429).header("Retry-After", "3600")]);
    let client = builder().retry(quick_retries(6)).build().unwrap();
    let error = client.manifest(&reference(&server)).await.unwrap_err();
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(*error.kind(), ErrorKind::RateLimited { retry_after: hour });
}

#[tokio::test]
async fn a_token_server_that_recovers_is_asked_again() {
    let failures = std::sync::atomic::AtomicUsize::new(2);
    let server = token_registry(&TestImage::new("recovers"), move |_| {
        use std::sync::atomic::Ordering::SeqCst;
        let left = failures.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if left.is_ok() { Reply::new(503) } else { good_token() }
    });
    let client = builder().retry(quick_retries(3)).build().unwrap();
    assert!(client.head_manifest(&reference(&server), Access::Pull).await.unwrap().is_some());
}
