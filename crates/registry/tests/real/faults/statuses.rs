//! Statuses that a registry, or what stands before it, answers when it is asked too much.

use std::time::Duration;

use dockit_registry::{Access, ErrorKind, Registry as _};
use dockit_testkit::{Fault, Reply, Rule};

use super::{Front, MANIFEST, TRIES};

#[tokio::test]
async fn a_429_is_waited_for_as_long_as_it_says() {
    for retry_after in ["1", "0", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let front = Front::open();
        let reply = Reply::new(429).header("Retry-After", retry_after);
        front.fault_once("HEAD", MANIFEST, Fault::reply(reply));
        let head = front.client().head_manifest(&front.reference(), Access::Pull).await.unwrap();
        assert_eq!(head.unwrap().digest.as_str(), front.image.digest());
        assert_eq!(front.outline(), ["HEAD 429", "HEAD 200"], "{retry_after}");
    }
}

#[tokio::test]
async fn a_429_that_asks_for_too_long_a_wait_is_an_error_at_once() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let later = "Sun, 06 Nov 1994 08:51:37 GMT";
    for reply in [
        Reply::new(429).header("Retry-After", "120"),
        Reply::new(429).header("Date", date).header("Retry-After", later),
    ] {
        let front = Front::open();
        front.fault("HEAD", MANIFEST, Fault::reply(reply));
        let error =
            front.client().head_manifest(&front.reference(), Access::Pull).await.unwrap_err();
        let retry_after = Some(Duration::from_secs(120));
        assert_eq!(*error.kind(), ErrorKind::RateLimited { retry_after }, "{error}");
        assert_eq!(front.outline(), ["HEAD 429"]);
    }
}

#[tokio::test]
async fn statuses_that_may_pass_are_asked_again_and_never_mean_absent() {
    for (status, kind) in [
        (408, ErrorKind::Transient),
        (429, ErrorKind::RateLimited { retry_after: None }),
        (500, ErrorKind::Transient),
        (502, ErrorKind::Transient),
        (503, ErrorKind::Transient),
        (504, ErrorKind::Transient),
    ] {
        let front = Front::open();
        let client = front.client();
        let tries = TRIES as usize;
        front.proxy.add(Rule::on("HEAD", MANIFEST, Fault::status(status)).times(tries - 1));
        let head = client.head_manifest(&front.reference(), Access::Pull).await.unwrap();
        assert_eq!(head.unwrap().digest.as_str(), front.image.digest(), "{status}");
        assert_eq!(front.proxy.exchanges().len(), tries, "{status}");

        front.proxy.reset();
        front.fault("HEAD", MANIFEST, Fault::status(status));
        let error = client.head_manifest(&front.reference(), Access::Pull).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (&kind, Some(status)), "{error}");
        assert_eq!(front.proxy.exchanges().len(), tries, "{status}");
    }
}

#[tokio::test]
async fn a_refusal_is_asked_once() {
    for (status, kind) in
        [(400, ErrorKind::Invalid), (403, ErrorKind::Denied), (405, ErrorKind::Unsupported)]
    {
        let front = Front::open();
        front.fault("*", MANIFEST, Fault::status(status));
        let error = front.client().manifest(&front.reference()).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (&kind, Some(status)), "{error}");
        assert_eq!(front.outline(), [format!("GET {status}")]);
    }
}
