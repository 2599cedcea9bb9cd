//! Present, absent, or an error.

use std::net::TcpListener;
use std::time::Duration;

use dockit_registry::{Access, ErrorKind, Reference, Registry as _};
use dockit_testkit::{Reply, ScriptedServer, TestImage};

use crate::support::{MANIFEST, builder, client, present, reference};

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

#[tokio::test]
async fn a_manifest_that_is_there_is_present_with_its_digest() {
    let image = TestImage::new("present");
    let server = ScriptedServer::script([present(&image)]);
    let head = client().head_manifest(&reference(&server), Access::Pull).await.unwrap().unwrap();
    assert_eq!(head.digest.as_str(), image.digest());
    assert_eq!(head.media_type, image.media_type);
    assert_eq!(head.size, Some(image.manifest.len() as u64));
    assert_eq!(server.log(), [format!("HEAD {MANIFEST}")]);
    assert_eq!(server.requests()[0].header("accept"), Some(ACCEPT));
}

#[tokio::test]
async fn a_404_that_says_something_else_is_not_absent() {
    for code in ["TOOMANYREQUESTS", "DENIED", "UNAUTHORIZED", "UNKNOWN"] {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"x"}}]}}"#);
        let server = ScriptedServer::start(move |request| {
            if request.method == "HEAD" {
                Reply::new(405)
            } else {
                Reply::new(404).header("Content-Type", "application/json").body(body.clone())
            }
        });
        let head = client().head_manifest(&reference(&server), Access::PullPush).await;
        let error = head.expect_err(code);
        assert_ne!(*error.kind(), ErrorKind::NotFound, "{code}: {error}");
    }
}

#[tokio::test]
async fn many_lookups_at_a_registry_without_head_all_end() {
    let server = ScriptedServer::start(|request| {
        Reply::new(if request.method == "HEAD" { 405 } else { 404 })
    });
    let client = client();
    let reference = reference(&server);
    let heads = (0..40).map(|_| client.head_manifest(&reference, Access::Pull));
    let all = futures_util::future::join_all(heads);
    let heads = tokio::time::timeout(Duration::from_secs(60), all).await.expect("no deadlock");
    assert!(heads.into_iter().all(|head| head.unwrap().is_none()));
}

#[tokio::test]
async fn only_a_404_is_absent_whatever_else_it_says() {
    for reply in [
        Reply::new(404),
        Reply::new(404).header("Content-Type", "text/html").body("<html>not here</html>"),
        Reply::new(404).body(r#"{"errors":[{"code":"NAME_UNKNOWN","message":"x"}]}"#),
        Reply::new(404).header("Docker-Content-Digest", "nonsense"),
    ] {
        let server = ScriptedServer::script([reply.clone()]);
        let head = client().head_manifest(&reference(&server), Access::PullPush).await;
        assert_eq!(head.unwrap(), None, "{reply:?}");
        let error = client().manifest(&reference(&server)).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::NotFound, "{reply:?}");
    }
}

#[tokio::test]
async fn everything_else_is_an_error() {
    let image = TestImage::new("errors");
    let oci = |body: &str| Reply::new(200).header("Content-Type", image.media_type).body(body);
    let limited = ErrorKind::RateLimited { retry_after: None };
    for (reply, kind) in [
        (Reply::new(401), ErrorKind::Unauthorized),
        (Reply::new(401).header("WWW-Authenticate", "Negotiate"), ErrorKind::Unauthorized),
        (Reply::new(401).header("WWW-Authenticate", "Basic realm=x"), ErrorKind::Unauthorized),
        (Reply::new(401).header("WWW-Authenticate", "Bearer"), ErrorKind::Invalid),
        (Reply::new(403), ErrorKind::Denied),
        (Reply::new(405), ErrorKind::Unsupported),
        (Reply::new(408), ErrorKind::Transient),
        (Reply::new(429), limited),
        (Reply::new(500), ErrorKind::Transient),
        (Reply::new(502), ErrorKind::Transient),
        (Reply::new(503).header("Content-Type", "text/html").body("<html>"), ErrorKind::Transient),
        (Reply::new(400), ErrorKind::Invalid),
        (Reply::new(410), ErrorKind::Invalid),
        (Reply::new(204), ErrorKind::Invalid),
        (Reply::new(302), ErrorKind::Invalid),
        (Reply::hang_up(), ErrorKind::Transient),
        (Reply::new(200), ErrorKind::Invalid),
        (
            Reply::new(200).header("Content-Type", "text/html").body("<html>log in</html>"),
            ErrorKind::Invalid,
        ),
        (oci("<html>log in</html>"), ErrorKind::Invalid),
        (oci(""), ErrorKind::Invalid),
        (oci("{}"), ErrorKind::Invalid),
        (oci(r#"{"schemaVersion":1}"#), ErrorKind::Unsupported),
        (oci("{}").header("Docker-Content-Digest", "sha256:12"), ErrorKind::Invalid),
        (present(&image).cut_after(10), ErrorKind::Transient),
    ] {
        let server = ScriptedServer::script([reply.clone()]);
        let error = client().manifest(&reference(&server)).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "GET {reply:?}: {error}");
        // A HEAD cannot be cut.
        if !format!("{reply:?}").contains("cut_after: Some(10)") {
            let head = client().head_manifest(&reference(&server), Access::Pull).await;
            let error = head.unwrap_err();
            assert_eq!(*error.kind(), kind, "HEAD {reply:?}: {error}");
            assert_eq!(error.host().unwrap().as_str(), server.host());
        }
    }
}

#[tokio::test]
async fn no_connection_and_no_answer_are_errors() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let closed: Reference = format!("127.0.0.1:{port}/team/app:1").parse().unwrap();
    let error = client().head_manifest(&closed, Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Transient);
    assert!(error.to_string().to_lowercase().contains("refused"), "{error}");

    let silent = ScriptedServer::script([Reply::new(404).delay(Duration::from_secs(2))]);
    let client = builder().idle_timeout(Duration::from_millis(50)).build().unwrap();
    let error = client.head_manifest(&reference(&silent), Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Transient);
    assert!(error.to_string().ends_with("no answer in time"), "{error}");
}

#[tokio::test]
async fn an_error_says_what_was_asked_and_what_came_back() {
    let body = r#"{"errors":[{"code":"DENIED","message":"push\naccess"},{"code":"ODD"}]}"#;
    let server = ScriptedServer::script([Reply::new(403).header("X-Request-Id", "r-1").body(body)]);
    let error = client().manifest(&reference(&server)).await.unwrap_err();
    assert_eq!(error.codes(), ["DENIED", "ODD"]);
    assert_eq!((error.status(), error.request_id()), (Some(403), Some("r-1")));
    let host = server.host();
    let expected = format!(
        "GET http://{host}{MANIFEST}: denied (403 Forbidden, DENIED: push access, ODD) (request r-1)"
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_head_that_says_too_little_is_replaced_by_a_get() {
    let image = TestImage::new("get");
    let whole = present(&image);
    let no_digest = Reply::new(200).header("Content-Type", image.media_type);
    let no_type = Reply::new(200).header("Docker-Content-Digest", image.digest());
    let html = no_type.clone().header("Content-Type", "text/html");
    for head in [no_digest, no_type, html, Reply::new(405)] {
        let server = ScriptedServer::script([head.clone(), whole.clone()]);
        let found = client().head_manifest(&reference(&server), Access::Pull).await.unwrap();
        assert_eq!(found.unwrap().digest.as_str(), image.digest(), "{head:?}");
        assert_eq!(server.log(), [format!("HEAD {MANIFEST}"), format!("GET {MANIFEST}")]);
        assert_eq!(server.requests()[1].header("accept"), Some(ACCEPT));
    }
    let server = ScriptedServer::script([Reply::new(405), Reply::new(404)]);
    let found = client().head_manifest(&reference(&server), Access::Pull).await.unwrap();
    assert_eq!(found, None);
}

#[tokio::test]
async fn a_digest_is_computed_where_the_registry_names_none() {
    let image = TestImage::new("computed");
    let reply =
        Reply::new(200).header("Content-Type", image.media_type).body(image.manifest.clone());
    let server = ScriptedServer::script([reply]);
    let manifest = client().manifest(&reference(&server)).await.unwrap();
    assert_eq!(manifest.digest().as_str(), image.digest());
    assert_eq!(manifest.bytes(), image.manifest);
}

#[tokio::test]
async fn bytes_of_another_digest_are_refused() {
    let (image, other) = (TestImage::new("one"), TestImage::new("other"));
    let announced = Reply::new(200)
        .header("Content-Type", image.media_type)
        .header("Docker-Content-Digest", other.digest())
        .body(image.manifest.clone());
    let server = ScriptedServer::script([announced]);
    let error = client().manifest(&reference(&server)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch);

    let server = ScriptedServer::script([present(&image)]);
    let pinned = reference(&server).with_digest(other.digest().parse().unwrap());
    let error = client().manifest(&pinned).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch);
    let error = client().head_manifest(&pinned, Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::DigestMismatch);
    assert!(error.to_string().contains(&other.digest()), "{error}");
}

#[tokio::test]
async fn a_digest_decides_where_a_tag_stands_beside_it() {
    let image = TestImage::new("pinned");
    let server = ScriptedServer::script([present(&image)]);
    let pinned = reference(&server).with_digest(image.digest().parse().unwrap());
    assert!(client().head_manifest(&pinned, Access::Pull).await.unwrap().is_some());
    assert_eq!(server.log(), [format!("HEAD /v2/team/app/manifests/{}", image.digest())]);
}

#[tokio::test]
async fn a_manifest_has_at_most_4_mib_announced_or_not() {
    let size = 4 * 1024 * 1024 + 1;
    let body = vec![b' '; size];
    let announced = Reply::new(200).body(body.clone());
    let mut chunked = format!("{size:x}\r\n").into_bytes();
    chunked.extend_from_slice(&body);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let streamed = Reply::new(200).header("Transfer-Encoding", "chunked").body(chunked);
    for reply in [announced, streamed] {
        let server = ScriptedServer::script([reply]);
        let error = client().manifest(&reference(&server)).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("more than 4194304 bytes"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_16_requests_to_a_host_run_at_a_time() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let server = ScriptedServer::start(|_| {
        MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        Reply::new(404)
    });
    let client = client();
    let lookups: Vec<_> = (0..60)
        .map(|_| {
            let (client, reference) = (client.clone(), reference(&server));
            tokio::spawn(async move { client.head_manifest(&reference, Access::Pull).await })
        })
        .collect();
    for lookup in lookups {
        assert_eq!(lookup.await.unwrap().unwrap(), None);
    }
    let most = MOST.load(Ordering::SeqCst);
    assert!((2..=16).contains(&most), "{most}");
}
