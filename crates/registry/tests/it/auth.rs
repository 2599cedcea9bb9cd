//! Challenges, tokens and credentials.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use dockit_registry::{
    Access, Client, Credential, Deleted, Digest, ErrorKind, RawManifest, Reference, Registry as _,
    Secret,
};
use dockit_testkit::{Reply, Request, ScriptedServer, TestImage};

use crate::support::{
    BASIC_HEADER, Fixed, basic, builder, challenge, client, client_with, good_token, host_of,
    present, quick_retries, reference, token_registry, token_requests,
};

#[tokio::test]
async fn a_token_is_asked_for_with_what_is_needed_and_what_the_registry_names() {
    for (access, scope) in [
        (Access::Pull, "repository%3Ateam%2Fapp%3Apull"),
        (Access::PullPush, "repository%3Ateam%2Fapp%3Apull%2Cpush"),
    ] {
        let server = token_registry(&TestImage::new("scope"), |_| good_token());
        assert!(client().head_manifest(&reference(&server), access).await.unwrap().is_some());
        let requests = token_requests(&server);
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].query("scope"), [scope]);
        assert_eq!(requests[0].query("service"), ["svc"]);
        assert_eq!(requests[0].query("client_id"), ["dockit"]);
        assert_eq!(requests[0].header("authorization"), None);
    }
}

#[tokio::test]
async fn scopes_in_one_parameter_are_asked_for_one_by_one_and_ours_first() {
    let server = ScriptedServer::start(|request| match request.header("authorization") {
        _ if request.path() == "/token" => good_token(),
        Some("Bearer good") => Reply::new(404),
        _ => challenge(&host_of(request), "repository:other:pull repository:team/app:pull", ""),
    });
    let found = client().head_manifest(&reference(&server), Access::PullPush).await.unwrap();
    assert_eq!(found, None, "404 with a granted token is absent");
    assert_eq!(
        token_requests(&server)[0].query("scope"),
        ["repository%3Ateam%2Fapp%3Apull%2Cpush", "repository%3Aother%3Apull",]
    );
}

#[tokio::test]
async fn basic_credentials_go_to_the_token_server_and_not_to_the_registry() {
    let server = token_registry(&TestImage::new("basic"), |request| {
        let good = request.header("authorization") == Some(BASIC_HEADER);
        if good { good_token() } else { Reply::new(401) }
    });
    let client = client_with(basic());
    assert!(client.head_manifest(&reference(&server), Access::Pull).await.unwrap().is_some());
    for request in server.requests() {
        let sent = request.header("authorization");
        assert_eq!(sent == Some(BASIC_HEADER), request.path() == "/token", "{request:?}");
    }
    assert_eq!(token_requests(&server)[0].query("account"), ["user"]);
}

#[tokio::test]
async fn both_spellings_of_a_token_reply_are_read() {
    for body in [
        r#"{"token":"good"}"#,
        r#"{"access_token":"good","token":null,"expires_in":60.5,"issued_at":"x"}"#,
        r#"{"access_token":"","token":"good"}"#,
    ] {
        let server = token_registry(&TestImage::new("reply"), move |_| Reply::new(200).body(body));
        let head = client().head_manifest(&reference(&server), Access::Pull).await;
        assert!(head.unwrap().is_some(), "{body}");
    }
}

#[tokio::test]
async fn a_failing_token_server_is_never_absence() {
    let too_large = format!("{{\"token\":\"{}\"}}", "x".repeat(1024 * 1024));
    for (reply, kind) in [
        (Reply::new(404), ErrorKind::Invalid),
        (Reply::new(405), ErrorKind::Invalid),
        (Reply::new(401), ErrorKind::Unauthorized),
        (Reply::new(403), ErrorKind::Denied),
        (Reply::new(429), ErrorKind::RateLimited { retry_after: None }),
        (Reply::new(500), ErrorKind::Transient),
        (Reply::new(302).header("Location", "/elsewhere"), ErrorKind::Invalid),
        (Reply::hang_up(), ErrorKind::Transient),
        (Reply::new(200), ErrorKind::Invalid),
        (Reply::new(200).body("<html>"), ErrorKind::Invalid),
        (Reply::new(200).body("{}"), ErrorKind::Invalid),
        (Reply::new(200).body(r#"{"token":"a\nb"}"#), ErrorKind::Invalid),
        (Reply::new(200).body(too_large), ErrorKind::Invalid),
    ] {
        let answer = reply.clone();
        let server = token_registry(&TestImage::new("failing"), move |_| answer.clone());
        let error =
            client().head_manifest(&reference(&server), Access::PullPush).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{error}");
        assert!(error.request().unwrap().contains("/token?"), "{error}");
        let error = client().manifest(&reference(&server)).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{error}");
    }
}

#[tokio::test]
async fn a_token_is_used_until_it_expires() {
    for (lifetime, fetched) in [("", 1), (r#","expires_in":300"#, 1), (r#","expires_in":0"#, 3)] {
        let body = format!(r#"{{"token":"good"{lifetime}}}"#);
        let server =
            token_registry(&TestImage::new("life"), move |_| Reply::new(200).body(body.clone()));
        let client = client();
        for _ in 0..3 {
            client.manifest(&reference(&server)).await.unwrap();
        }
        assert_eq!(token_requests(&server).len(), fetched, "{lifetime}");
        let unasked =
            server.requests().iter().filter(|r| r.header("authorization").is_none()).count();
        assert_eq!(unasked - fetched, 1, "only the first request goes without a token");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_tasks_share_one_token_request() {
    let server = token_registry(&TestImage::new("share"), |_| {
        good_token().delay(Duration::from_millis(100))
    });
    let source = Arc::new(Fixed::new(basic()));
    let client = builder().credentials(source.clone()).build().unwrap();
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let (client, reference) = (client.clone(), reference(&server));
            tokio::spawn(async move { client.head_manifest(&reference, Access::Pull).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().unwrap().is_some());
    }
    assert_eq!(token_requests(&server).len(), 1);
    assert_eq!(source.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_cancelled_task_does_not_take_the_others_token_with_it() {
    let server = token_registry(&TestImage::new("cancel"), |_| {
        good_token().delay(Duration::from_millis(100))
    });
    let client = client();
    let first = {
        let (client, reference) = (client.clone(), reference(&server));
        tokio::spawn(async move { client.head_manifest(&reference, Access::Pull).await })
    };
    while token_requests(&server).is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.abort();
    let found = client.head_manifest(&reference(&server), Access::Pull).await.unwrap();
    assert!(found.is_some());
    assert_eq!(token_requests(&server).len(), 1);
}

#[tokio::test]
async fn a_token_that_is_no_longer_taken_is_replaced_once() {
    let image = TestImage::new("replaced");
    let issued = AtomicUsize::new(0);
    let server = ScriptedServer::start(move |request| {
        if request.path() == "/token" {
            let number = issued.fetch_add(1, Ordering::SeqCst);
            return Reply::new(200).body(format!(r#"{{"token":"t{number}","expires_in":300}}"#));
        }
        // The first token is taken once.
        let number = issued.load(Ordering::SeqCst);
        let wanted = format!("Bearer t{}", number.max(1) - 1);
        let spent = request.target.ends_with("/second") && number == 1;
        if request.header("authorization") == Some(&wanted) && !spent {
            present(&image)
        } else {
            challenge(&host_of(request), "repository:team/app:pull", "invalid_token")
        }
    });
    let client = client();
    client.manifest(&reference(&server)).await.unwrap();
    let second: Reference = format!("{}/team/app:second", server.host()).parse().unwrap();
    client.manifest(&second).await.unwrap();
    assert_eq!(token_requests(&server).len(), 2);
}

#[tokio::test]
async fn a_token_without_the_right_is_denied_and_not_asked_for_again() {
    for (credential, kind) in
        [(basic(), ErrorKind::Denied), (Credential::Anonymous, ErrorKind::Unauthorized)]
    {
        let server = ScriptedServer::start(|request| {
            if request.path() == "/token" {
                return Reply::new(200).body(r#"{"token":"weak"}"#);
            }
            challenge(&host_of(request), "repository:team/app:pull,push", "insufficient_scope")
        });
        let client = builder()
            .credentials(Arc::new(Fixed::new(credential)))
            .retry(quick_retries(6))
            .build()
            .unwrap();
        let error = client.head_manifest(&reference(&server), Access::PullPush).await.unwrap_err();
        assert_eq!(*error.kind(), kind, "{error}");
        assert_eq!((token_requests(&server).len(), server.requests().len()), (1, 3));
    }
}

#[tokio::test]
async fn a_token_granted_with_fewer_actions_shows_when_it_is_used() {
    let server = ScriptedServer::start(|request| match request.header("authorization") {
        _ if request.path() == "/token" => good_token(),
        Some("Bearer good") if request.method == "HEAD" => Reply::new(404),
        Some("Bearer good") => {
            challenge(&host_of(request), "repository:team/app:pull,push", "insufficient_scope")
        }
        _ => challenge(&host_of(request), "repository:team/app:pull", ""),
    });
    let (client, image) = (client_with(basic()), TestImage::new("fewer"));
    let reference = reference(&server);
    assert_eq!(client.head_manifest(&reference, Access::PullPush).await.unwrap(), None);
    let manifest = RawManifest::new(image.media_type, image.manifest);
    let tag = reference.tag_or_latest();
    let put = client.put_manifest(reference.repository(), &tag, &manifest).await;
    assert_eq!(*put.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let server = token_registry(&TestImage::new("identity"), |request| {
        if request.method == "POST" { good_token() } else { Reply::new(500) }
    });
    let credential = Credential::IdentityToken { username: None, token: Secret::new("id +&") };
    let client = client_with(credential);
    assert!(client.head_manifest(&reference(&server), Access::Pull).await.unwrap().is_some());
    let request = &token_requests(&server)[0];
    assert_eq!(
        std::str::from_utf8(request.body()).unwrap(),
        "grant_type=refresh_token&service=svc&client_id=dockit\
         &scope=repository%3Ateam%2Fapp%3Apull&refresh_token=id+%2B%26"
    );
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn an_identity_token_is_a_password_where_post_is_unknown() {
    for (status, username, header) in [
        (404, Some("user"), BASIC_HEADER),
        (405, Some("user"), BASIC_HEADER),
        (405, None, "Basic PHRva2VuPjpodW50ZXIy"),
    ] {
        let server = token_registry(&TestImage::new("fallback"), move |request| {
            if request.method == "POST" { Reply::new(status) } else { good_token() }
        });
        let username = username.map(ToOwned::to_owned);
        let token = Secret::new("hunter2");
        let client = client_with(Credential::IdentityToken { username, token });
        assert!(client.head_manifest(&reference(&server), Access::Pull).await.unwrap().is_some());
        assert_eq!(token_requests(&server)[1].header("authorization"), Some(header));
    }
}

#[tokio::test]
async fn an_expired_identity_token_is_unauthorized() {
    let server = token_registry(&TestImage::new("expired"), |_| {
        Reply::new(400).body(r#"{"error":"invalid_grant"}"#)
    });
    let credential = Credential::IdentityToken { username: None, token: Secret::new("old") };
    let error =
        client_with(credential).head_manifest(&reference(&server), Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_token_server_that_cannot_read_a_request_has_not_refused_the_credential() {
    for body in [r#"{"error":"invalid_scope"}"#, r#"{"error":"Unable to decode"}"#, ""] {
        let server = token_registry(&TestImage::new("scope"), move |request| {
            let pushes = request.query("scope").iter().any(|scope| scope.contains("push"));
            if pushes { Reply::new(400).body(body) } else { good_token() }
        });
        let client = client_with(basic());
        let refused = client.head_manifest(&reference(&server), Access::PullPush).await;
        assert_eq!(*refused.unwrap_err().kind(), ErrorKind::Invalid, "{body}");
        let asked = client.head_manifest(&reference(&server), Access::Pull).await;
        assert!(asked.unwrap().is_some(), "{body}: the same credential is used again");
    }
}

#[tokio::test]
async fn a_registry_token_goes_to_the_registry_itself() {
    let server = token_registry(&TestImage::new("bearer"), |_| Reply::new(500));
    let client = client_with(Credential::Bearer(Secret::new("good")));
    assert!(client.head_manifest(&reference(&server), Access::Pull).await.unwrap().is_some());
    let client = client_with(Credential::Bearer(Secret::new("bad")));
    let error = client.head_manifest(&reference(&server), Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
    assert!(token_requests(&server).is_empty());
}

#[tokio::test]
async fn basic_is_answered_with_basic_and_only_after_it_was_asked_for() {
    let image = TestImage::new("basic");
    let held = image.clone();
    let server = ScriptedServer::start(move |request| match request.header("authorization") {
        Some(BASIC_HEADER) => present(&held),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let client = client_with(basic());
    client.manifest(&reference(&server)).await.unwrap();
    client.manifest(&reference(&server)).await.unwrap();
    let sent: Vec<bool> =
        server.requests().iter().map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(sent, [false, true, true]);
}

#[tokio::test]
async fn bearer_is_preferred_where_both_are_offered() {
    let server = ScriptedServer::start(|request| match request.header("authorization") {
        _ if request.path() == "/token" => good_token(),
        Some("Bearer good") => Reply::new(404),
        _ => {
            let realm =
                format!("Basic realm=x, Bearer realm=\"http://{}/token\"", host_of(request));
            Reply::new(401).header("WWW-Authenticate", realm)
        }
    });
    let found = client_with(basic()).head_manifest(&reference(&server), Access::Pull).await;
    assert_eq!(found.unwrap(), None);
}

#[tokio::test]
async fn rejected_credentials_are_not_tried_again_and_again() {
    let basic_server =
        ScriptedServer::script([Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\"")]);
    let token_server = token_registry(&TestImage::new("ban"), |_| Reply::new(401));
    for (server, logins) in [(&basic_server, 1), (&token_server, 1)] {
        let client = builder()
            .credentials(Arc::new(Fixed::new(basic())))
            .retry(quick_retries(6))
            .build()
            .unwrap();
        for tag in ["1", "2", "3"] {
            let reference: Reference = format!("{}/team/app:{tag}", server.host()).parse().unwrap();
            let error = client.head_manifest(&reference, Access::Pull).await.unwrap_err();
            assert_eq!(*error.kind(), ErrorKind::Unauthorized);
        }
        let sent = server.requests();
        let sent = sent.iter().filter(|request| request.header("authorization").is_some());
        assert_eq!(sent.count(), logins);
    }
}

#[tokio::test]
async fn one_refused_repository_does_not_lock_the_others_out() {
    let refusing = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&refusing);
    let server = token_registry(&TestImage::new("other"), move |request| {
        let refuse = switch.load(Ordering::SeqCst) && request.target.contains("secret");
        if refuse { Reply::new(401) } else { good_token() }
    });
    let client = client_with(basic());
    client.manifest(&reference(&server)).await.unwrap();
    refusing.store(true, Ordering::SeqCst);
    let secret: Reference = format!("{}/secret/app:1", server.host()).parse().unwrap();
    assert!(client.manifest(&secret).await.is_err());
    let another: Reference = format!("{}/team/another:1", server.host()).parse().unwrap();
    client.manifest(&another).await.unwrap();
}

#[tokio::test]
async fn a_token_server_at_a_link_local_address_is_never_asked() {
    let server = ScriptedServer::script([challenge("169.254.169.254", "", "")]);
    let error =
        client_with(basic()).head_manifest(&reference(&server), Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("link-local"), "{error}");
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_of_the_token_server() {
    let other = ScriptedServer::script([good_token()]);
    let location = format!("http://{}/token", other.host());
    let server = token_registry(&TestImage::new("moved"), move |_| {
        Reply::new(307).header("Location", location.clone())
    });
    let result = client_with(basic()).head_manifest(&reference(&server), Access::Pull).await;
    assert_eq!(*result.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(other.requests().is_empty());
}

/// What a token request asks for, in order.
fn asked_scopes(server: &ScriptedServer) -> Vec<String> {
    let plain = |text: &str| text.replace("%3A", ":").replace("%2C", ",").replace("%2F", "/");
    let scopes = |request: &Request| plain(&request.query("scope").join(" "));
    token_requests(server).iter().map(scopes).collect()
}

/// A registry whose token server grants deletion only with everything else.
fn grants_everything_or_reading() -> ScriptedServer {
    ScriptedServer::start(|request| {
        if request.path() == "/token" {
            let everything = request.target.contains("*");
            let token = if everything { "everything" } else { "reading" };
            return Reply::new(200).body(format!(r#"{{"token":"{token}","expires_in":300}}"#));
        }
        let scope = "repository:team/app:delete";
        match request.header("authorization") {
            Some("Bearer everything") => Reply::new(202),
            Some("Bearer reading") if request.method == "DELETE" => {
                challenge(&host_of(request), scope, "insufficient_scope")
            }
            Some("Bearer reading") => Reply::new(404),
            _ => challenge(&host_of(request), scope, ""),
        }
    })
}

#[tokio::test]
async fn deletion_is_asked_for_along_with_everything_where_it_is_granted_only_so() {
    for reads_first in [false, true] {
        let server = grants_everything_or_reading();
        let client = client_with(basic());
        let reference = reference(&server);
        if reads_first {
            assert_eq!(client.head_manifest(&reference, Access::Pull).await.unwrap(), None);
        }
        for digest in [Digest::of(b"1"), Digest::of(b"2")] {
            let deleted = client.delete_manifest(reference.repository(), &digest).await;
            assert_eq!(deleted.unwrap(), Deleted::Done);
        }
        let mut asked = asked_scopes(&server);
        if reads_first {
            asked.remove(0);
        }
        let expected = ["repository:team/app:delete,pull", "repository:team/app:*,delete,pull"];
        assert_eq!(asked, expected, "reads first: {reads_first}");
    }
}

#[tokio::test]
async fn whoever_may_not_delete_is_denied_after_one_more_token() {
    let server = ScriptedServer::start(|request| {
        if request.path() == "/token" {
            return good_token();
        }
        challenge(&host_of(request), "repository:team/app:delete", "insufficient_scope")
    });
    let client = client_with(basic());
    let repository = reference(&server).repository().clone();
    let error = client.delete_manifest(&repository, &Digest::of(b"x")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Denied, "{error}");
    let deletions = server.log().iter().filter(|line| line.starts_with("DELETE")).count();
    assert_eq!((token_requests(&server).len(), deletions), (2, 3));
}

/// A registry with many repositories, and a token server that knows one password, which it may forget.
fn forgetful(knows: Arc<AtomicBool>) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        if request.path() == "/token" {
            let known = knows.load(Ordering::SeqCst);
            let reply = if known { good_token() } else { Reply::new(401) };
            return reply.delay(Duration::from_millis(20));
        }
        match request.header("authorization") {
            Some("Bearer good") => Reply::new(404),
            _ => challenge(&host_of(request), "", ""),
        }
    })
}

/// Looks up tags in many repositories at the same time, each of which needs a token of its own.
async fn look_around(client: &Client, server: &ScriptedServer, round: &str) -> Vec<ErrorKind> {
    let lookups = (0..20).map(|number| {
        let reference: Reference =
            format!("{}/team/{round}-{number}:1", server.host()).parse().unwrap();
        async move { client.head_manifest(&reference, Access::Pull).await }
    });
    let found = futures_util::future::join_all(lookups).await;
    found.into_iter().filter_map(|found| found.err().map(|error| error.kind().clone())).collect()
}

#[tokio::test]
async fn a_wrong_password_is_sent_once_however_many_tasks_have_it() {
    let server = forgetful(Arc::new(AtomicBool::new(false)));
    let client = client_with(basic());
    for round in ["a", "b"] {
        assert_eq!(look_around(&client, &server, round).await, vec![ErrorKind::Unauthorized; 20]);
    }
    assert_eq!(token_requests(&server).len(), 1);
}

#[tokio::test]
async fn a_password_that_was_revoked_is_soon_given_up() {
    let knows = Arc::new(AtomicBool::new(true));
    let server = forgetful(Arc::clone(&knows));
    let client = client_with(basic());
    assert_eq!(look_around(&client, &server, "a").await, []);
    assert_eq!(token_requests(&server).len(), 20);
    knows.store(false, Ordering::SeqCst);
    for round in ["b", "c", "d"] {
        assert_eq!(look_around(&client, &server, round).await, vec![ErrorKind::Unauthorized; 20]);
    }
    // As many as run at the same time, and no more.
    let refused = token_requests(&server).len() - 20;
    assert!(refused <= 16, "{refused}");
}

#[tokio::test]
async fn a_ban_is_neither_absence_nor_a_wrong_password() {
    let server = token_registry(&TestImage::new("ban"), |_| Reply::new(403).body("Forbidden\n"));
    let client = client_with(basic());
    let error = client.head_manifest(&reference(&server), Access::Pull).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Denied, "{error}");
    assert_eq!(token_requests(&server).len(), 1);
}

/// A registry whose token server denies whatever lacks this header, as GHCR does.
fn denying(good: &'static str) -> ScriptedServer {
    ScriptedServer::start(move |request| match request.header("authorization") {
        Some(sent) if request.path() == "/token" && sent == good => good_token(),
        _ if request.path() == "/token" => Reply::new(403)
            .body(r#"{"errors":[{"code":"DENIED","message":"denied"}]}"#)
            .delay(Duration::from_millis(20)),
        Some("Bearer good") => Reply::new(200),
        _ => challenge(&host_of(request), "repository:user/image:pull", ""),
    })
}

#[tokio::test]
async fn whom_a_token_server_denies_everything_is_unknown() {
    let (server, host) = (denying("nobody"), |server: &ScriptedServer| server.host().parse());
    let client = client_with(basic());
    let error = client.ping(&host(&server).unwrap()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{error}");
    let server = denying(BASIC_HEADER);
    assert!(client.ping(&host(&server).unwrap()).await.unwrap().authenticated);
}

#[tokio::test]
async fn what_a_token_server_denies_is_not_asked_for_by_each_task() {
    let server = denying("nobody");
    let source = Arc::new(Fixed::new(basic()));
    let client = builder().credentials(source.clone()).build().unwrap();
    for _ in 0..2 {
        let lookups = (0..20).map(|number| {
            let reference: Reference =
                format!("{}/team/app:{number}", server.host()).parse().unwrap();
            let client = client.clone();
            async move { client.head_manifest(&reference, Access::Pull).await }
        });
        for found in futures_util::future::join_all(lookups).await {
            assert_eq!(*found.unwrap_err().kind(), ErrorKind::Denied);
        }
    }
    assert_eq!(token_requests(&server).len(), 1);
    // Read anew once, as it may have been replaced.
    assert_eq!(source.asked.load(Ordering::SeqCst), 2);
    // It may be about this repository alone.
    assert_eq!(look_around(&client, &server, "other").await, vec![ErrorKind::Denied; 20]);
    assert_eq!(token_requests(&server).len(), 21);
}
