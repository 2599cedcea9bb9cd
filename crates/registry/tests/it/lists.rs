//! Lists of tags and repositories, page by page.

use dockit_registry::{Client, Error, ErrorKind, RegistryHost, Tag};
use dockit_testkit::{Reply, ScriptedServer};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use crate::support::{
    BASIC_HEADER, basic, builder, challenge, client, client_with, good_token, host_of,
    quick_retries, reference, token_requests,
};

/// What the first page is asked for.
const FIRST: &str = "GET /v2/team/app/tags/list?n=1000";

fn page(tags: &[&str]) -> Reply {
    Reply::new(200).body(json!({"name": "team/app", "tags": tags}).to_string())
}

fn linked(tags: &[&str], target: &str) -> Reply {
    page(tags).header("Link", format!("<{target}>; rel=\"next\""))
}

async fn list(client: &Client, server: &ScriptedServer) -> Result<Vec<String>, Error> {
    let reference = reference(server);
    let tags = client.tags(reference.repository());
    tags.map_ok(|tag: Tag| tag.to_string()).try_collect().await
}

#[tokio::test]
async fn pages_are_followed_wherever_on_the_registry_they_are() {
    for (target, second) in [
        ("/v2/team/app/tags/list?last=b&n=2", "/v2/team/app/tags/list?last=b&n=2"),
        ("?last=b", "/v2/team/app/tags/list?last=b"),
        ("list?last=b", "/v2/team/app/tags/list?last=b"),
        ("http://HOST/v2/team/app/tags/list?last=b", "/v2/team/app/tags/list?last=b"),
        ("/v2/other/place?token=a%2Cb", "/v2/other/place?token=a%2Cb"),
    ] {
        let server = ScriptedServer::start(move |request| {
            if request.target.ends_with("/tags/list?n=1000") {
                linked(&["a", "b"], &target.replace("HOST", &host_of(request)))
            } else {
                page(&["c"])
            }
        });
        assert_eq!(list(&client(), &server).await.unwrap(), ["a", "b", "c"], "{target}");
        assert_eq!(server.log(), [FIRST.to_owned(), format!("GET {second}")]);
    }
}

#[tokio::test]
async fn the_next_page_may_be_one_of_several_links() {
    let next = "<?last=a>; rel=\"next\"";
    let prev = "<?before=a>; rel=\"prev\"";
    for links in [vec![format!("{prev}, {next}")], vec![prev.to_owned(), next.to_owned()]] {
        let first = links.into_iter().fold(page(&["a"]), |page, link| page.header("Link", link));
        let server = ScriptedServer::script([first, page(&["b"])]);
        assert_eq!(list(&client(), &server).await.unwrap(), ["a", "b"]);
        assert_eq!(server.log()[1], "GET /v2/team/app/tags/list?last=a");
    }
}

#[tokio::test]
async fn another_host_is_never_asked_for_a_page() {
    let other = ScriptedServer::script([page(&["stolen"])]);
    let target = format!("http://{}/v2/team/app/tags/list?last=a", other.host());
    let server = ScriptedServer::start(move |request| match request.header("authorization") {
        Some(BASIC_HEADER) => linked(&["a"], &target),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let error = list(&client_with(basic()), &server).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("another server"), "{error}");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_page_that_links_to_itself_is_an_error() {
    let server = ScriptedServer::script([linked(&["a"], "?last=a")]);
    let error = list(&client(), &server).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("for ever"), "{error}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn no_tags_are_an_empty_list() {
    for body in [r#"{"name":"team/app","tags":null}"#, r#"{"tags":[]}"#] {
        let server = ScriptedServer::script([Reply::new(200).body(body)]);
        assert_eq!(list(&client(), &server).await.unwrap(), [""; 0], "{body}");
    }
}

#[tokio::test]
async fn what_is_no_list_is_not_an_empty_one() {
    for body in [r#"{"name":"team/app"}"#, "{}", r#"{"errors":[]}"#, "[]", "<html>", ""] {
        let server = ScriptedServer::script([Reply::new(200).body(body)]);
        let error = list(&client(), &server).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Invalid, "{body}");
    }
}

#[tokio::test]
async fn names_that_are_no_tags_are_left_out() {
    let long = "x".repeat(129);
    let server = ScriptedServer::script([page(&["a", "", "no tag", "-b", &long, "c"])]);
    assert_eq!(list(&client(), &server).await.unwrap(), ["a", "c"]);
}

#[tokio::test]
async fn a_missing_repository_is_not_an_empty_one() {
    let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known"}]}"#;
    let server = ScriptedServer::script([Reply::new(404).body(body)]);
    let error = list(&client(), &server).await.unwrap_err();
    assert_eq!((error.kind(), error.codes()), (&ErrorKind::NotFound, &["NAME_UNKNOWN".into()][..]));
    assert!(error.request().unwrap().ends_with("/v2/team/app/tags/list?n=1000"), "{error}");
}

#[tokio::test]
async fn what_is_no_list_is_an_error() {
    for (reply, kind) in [
        (Reply::new(200).body("<html></html>"), ErrorKind::Invalid),
        (Reply::new(200).body("[]"), ErrorKind::Invalid),
        (Reply::new(200).body(r#"{"tags":"a"}"#), ErrorKind::Invalid),
        (Reply::new(204), ErrorKind::Invalid),
        (page(&["a"]).cut_after(5), ErrorKind::Transient),
        (Reply::new(403), ErrorKind::Denied),
        (Reply::new(405), ErrorKind::Unsupported),
        (Reply::new(500), ErrorKind::Transient),
    ] {
        let server = ScriptedServer::script([reply]);
        assert_eq!(*list(&client(), &server).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn a_page_beyond_the_bound_is_an_error() {
    let size = 32 * 1024 * 1024 + 1;
    let page = page(&["a"]).header("Content-Length", size.to_string()).cut_after(10);
    let server = ScriptedServer::script([page]);
    let error = list(&client(), &server).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("more than 33554432 bytes"), "{error}");
}

#[tokio::test]
async fn a_page_is_asked_for_when_those_before_it_were_taken() {
    let server = ScriptedServer::script([linked(&["a", "b"], "?last=b"), page(&["c"])]);
    let (client, reference) = (client(), reference(&server));
    let mut tags = client.tags(reference.repository());
    assert!(server.requests().is_empty());
    for (tag, requests) in [("a", 1), ("b", 1), ("c", 2)] {
        assert_eq!(tags.next().await.unwrap().unwrap().as_str(), tag);
        assert_eq!(server.requests().len(), requests);
    }
    assert!(tags.next().await.is_none());
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn an_error_comes_after_the_tags_before_it_and_ends_the_list() {
    let server = ScriptedServer::script([linked(&["a"], "?last=a"), Reply::new(403)]);
    let (client, reference) = (client(), reference(&server));
    let listed: Vec<Result<Tag, Error>> = client.tags(reference.repository()).collect().await;
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].as_ref().unwrap().as_str(), "a");
    assert_eq!(*listed[1].as_ref().unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_page_that_came_too_soon_is_asked_for_again() {
    let server = ScriptedServer::script([
        linked(&["a"], "?last=a"),
        Reply::new(429).header("Retry-After", "0"),
        page(&["b"]),
    ]);
    let client = builder().retry(quick_retries(3)).build().unwrap();
    assert_eq!(list(&client, &server).await.unwrap(), ["a", "b"]);
    let second = "GET /v2/team/app/tags/list?last=a";
    assert_eq!(server.log(), [FIRST, second, second]);
}

#[tokio::test]
async fn a_catalog_has_pages_and_a_scope_of_its_own() {
    let server = ScriptedServer::start(|request| {
        let names =
            |names: &[&str]| Reply::new(200).body(json!({"repositories": names}).to_string());
        match (request.path(), request.header("authorization")) {
            ("/token", _) => good_token(),
            (_, None) => challenge(&host_of(request), "registry:catalog:*", ""),
            _ if request.query("last").is_empty() => names(&["team/app", "No Name"])
                .header("Link", "</v2/_catalog?last=team%2Fapp&n=1000>; rel=\"next\""),
            _ => names(&["team/other"]),
        }
    });
    let host: RegistryHost = server.host().parse().unwrap();
    let client = client();
    let listed: Vec<String> =
        client.repositories(&host).map_ok(|found| found.to_string()).try_collect().await.unwrap();
    assert_eq!(listed, [format!("{host}/team/app"), format!("{host}/team/other")]);
    let tokens = token_requests(&server);
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].query("scope"), ["registry%3Acatalog%3A*"]);
    let pages: Vec<String> =
        server.log().into_iter().filter(|line| !line.contains("/token")).collect();
    let (first, second) = ("GET /v2/_catalog?n=1000", "GET /v2/_catalog?last=team%2Fapp&n=1000");
    // Whose registry it is, its name does not tell.
    assert_eq!(pages, ["GET /v2/", first, first, second]);
}

#[tokio::test]
async fn a_catalog_that_is_not_for_everybody_is_denied() {
    let server = ScriptedServer::start(|request| match request.path() {
        "/token" => Reply::new(200).body(r#"{"token":"weak"}"#),
        _ => challenge(&host_of(request), "registry:catalog:*", "insufficient_scope"),
    });
    let host: RegistryHost = server.host().parse().unwrap();
    let client = client_with(basic());
    let listed: Result<Vec<_>, Error> = client.repositories(&host).try_collect().await;
    assert_eq!(*listed.unwrap_err().kind(), ErrorKind::Denied);
}
