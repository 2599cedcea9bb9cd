//! Credentials that expire, or are replaced where they are kept, while a client is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use dockit_registry::{
    Access, Client, Credential, CredentialError, CredentialSource, ErrorKind, Issued, Reference,
    Registry as _, RegistryHost, Secret,
};
use dockit_testkit::{Reply, ScriptedServer, TestImage};

use crate::support::{builder, challenge, host_of, present, reference};

/// Gives `password-1`, `password-2` and so on, up to the last one, for good.
struct Series {
    last: usize,
    expires_in: Option<Duration>,
    asked: AtomicUsize,
}

#[async_trait]
impl CredentialSource for Series {
    async fn credential(&self, _: &RegistryHost) -> Result<Issued, CredentialError> {
        let number = (self.asked.fetch_add(1, Ordering::SeqCst) + 1).min(self.last);
        let password = Secret::new(format!("password-{number}"));
        let credential = Credential::Basic { username: "ci".into(), password };
        let expires = self.expires_in.map(|time| SystemTime::now() + time);
        Ok(Issued { expires, ..credential.into() })
    }
}

fn client(last: usize, expires_in: Option<Duration>) -> (Client, Arc<Series>) {
    let series = Arc::new(Series { last, expires_in, asked: AtomicUsize::new(0) });
    (builder().credentials(series.clone()).build().unwrap(), series)
}

/// `Basic` and base64 of `ci:password-N`.
fn login(number: usize) -> String {
    use base64::Engine as _;
    let pair = format!("ci:password-{number}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// A registry that takes a password from its number on, for as many requests as `uses` says.
fn registry(image: &TestImage, uses: usize) -> ScriptedServer {
    let (image, seen) = (image.clone(), AtomicUsize::new(0));
    ScriptedServer::start(move |request| {
        let good = 1 + seen.load(Ordering::SeqCst) / uses;
        if request.header("authorization") == Some(&login(good)) {
            seen.fetch_add(1, Ordering::SeqCst);
            present(&image)
        } else {
            Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\"")
        }
    })
}

#[tokio::test]
async fn a_password_that_was_replaced_is_read_anew_and_the_request_goes_on() {
    let image = TestImage::new("renewed");
    let server = registry(&image, 2);
    let (client, series) = client(3, None);
    for _ in 0..6 {
        let head = client.head_manifest(&reference(&server), Access::Pull).await.unwrap();
        assert_eq!(head.unwrap().digest.as_str(), image.digest());
    }
    assert_eq!(series.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn the_same_password_again_is_rejected_and_not_tried_again() {
    let image = TestImage::new("renewed");
    let server = registry(&image, 1);
    let (client, _) = client(1, None);
    assert!(client.head_manifest(&reference(&server), Access::Pull).await.unwrap().is_some());
    let before = server.requests().len();
    for _ in 0..3 {
        let error = client.head_manifest(&reference(&server), Access::Pull).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{error}");
    }
    // It had worked, so that each lookup may find out by itself whether it does again.
    assert_eq!(server.requests().len() - before, 3);
}

#[tokio::test]
async fn a_token_server_that_denies_gets_the_newer_password() {
    let image = TestImage::new("renewed");
    let good = login(2);
    let server = ScriptedServer::start(move |request| match request.header("authorization") {
        Some(sent) if request.path() == "/token" && sent == good => {
            Reply::new(200).body(r#"{"token":"good"}"#)
        }
        _ if request.path() == "/token" => Reply::new(403),
        Some("Bearer good") => present(&image),
        _ => challenge(&host_of(request), "repository:team/app:pull", ""),
    });
    let (client, _) = client(2, None);
    assert!(client.head_manifest(&reference(&server), Access::Pull).await.unwrap().is_some());
}

#[tokio::test]
async fn a_token_server_that_refuses_gets_the_newer_password_once() {
    let image = TestImage::new("renewed");
    let good = login(2);
    let server = ScriptedServer::start(move |request| {
        if request.path() == "/token" {
            match request.header("authorization") {
                Some(login) if login == good => Reply::new(200).body(r#"{"token":"good"}"#),
                _ => Reply::new(401),
            }
        } else if request.header("authorization") == Some("Bearer good") {
            present(&image)
        } else {
            challenge(&host_of(request), "repository:team/app:pull", "")
        }
    });
    let (newer, series) = client(2, None);
    assert!(newer.head_manifest(&reference(&server), Access::Pull).await.unwrap().is_some());
    assert_eq!(series.asked.load(Ordering::SeqCst), 2);
    let (same, series) = client(1, None);
    for _ in 0..3 {
        let error = same.head_manifest(&reference(&server), Access::Pull).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{error}");
    }
    assert_eq!(series.asked.load(Ordering::SeqCst), 2);
    let asked = server.requests().iter().filter(|request| request.path() == "/token").count();
    // Two of the first client, one of the second: a series of failed logins ends in a ban.
    assert_eq!(asked, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_password_is_refused_once_however_many_tasks_wait_with_it() {
    let good = login(2);
    let server = ScriptedServer::start(move |request| {
        if request.path() == "/token" {
            let known = request.header("authorization") == Some(&good);
            let reply =
                if known { Reply::new(200).body(r#"{"token":"good"}"#) } else { Reply::new(401) };
            return reply.delay(Duration::from_millis(20));
        }
        match request.header("authorization") {
            Some("Bearer good") => Reply::new(404),
            _ => challenge(&host_of(request), "", ""),
        }
    });
    let (client, _) = client(2, None);
    let lookups = (0..40).map(|number| {
        let reference: Reference =
            format!("{}/team/app-{number}:1", server.host()).parse().unwrap();
        let client = client.clone();
        tokio::spawn(async move { client.head_manifest(&reference, Access::Pull).await })
    });
    let lookups: Vec<_> = lookups.collect();
    for lookup in lookups {
        assert_eq!(lookup.await.unwrap().unwrap(), None);
    }
    let (old, new) = (login(1), login(2));
    let sent = |login: &str| {
        let tokens = server.requests().into_iter().filter(|request| request.path() == "/token");
        tokens.filter(|request| request.header("authorization") == Some(login)).count()
    };
    assert_eq!((sent(&old), sent(&new)), (1, 40));
}

#[tokio::test]
async fn a_credential_is_replaced_before_it_expires() {
    let image = TestImage::new("renewed");
    let server = ScriptedServer::start(move |request| match request.header("authorization") {
        Some(_) => present(&image),
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    });
    for (lifetime, reads) in [(Duration::from_secs(3600), 1), (Duration::from_millis(40), 2)] {
        let (client, series) = client(9, Some(lifetime));
        for _ in 0..2 {
            client.head_manifest(&reference(&server), Access::Pull).await.unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        assert_eq!(series.asked.load(Ordering::SeqCst), reads, "{lifetime:?}");
    }
}
