//! What GitHub's API lists and deletes. The replies have the fields that *REST API endpoints for packages*
//! documents.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dockit_registry::{Client, Credential, Deleted, Digest, ErrorKind, ProviderKind};
use dockit_testkit::{Reply, Request, ScriptedServer};
use serde_json::{Value, json};

use crate::support::{
    TokenRules, digest, entries, host_of, json as reply, line, password, reference, vendor_client,
};

fn version(id: u64, digit: char, tags: &[&str]) -> Value {
    json!({
        "id": id, "name": digest(digit), "url": "", "package_html_url": "",
        "created_at": "2026-03-01T10:00:00Z", "updated_at": "2026-03-05T10:00:00Z", "html_url": "",
        "metadata": {"package_type": "container", "container": {"tags": tags}},
    })
}

fn versions(request: &Request) -> Reply {
    if request.query("page") == ["2"] {
        return reply(200, json!([version(12, 'b', &[])]).to_string());
    }
    let next = format!("<http://{}{}?per_page=100&page=2>", host_of(request), request.path());
    let link = format!("{next}; rel=\"next\", {next}; rel=\"last\"");
    reply(200, json!([version(11, 'a', &["1", "latest"])]).to_string()).header("Link", link)
}

const TOKENS: TokenRules = TokenRules {
    realm: "/token",
    service: "ghcr.io",
    actions: &["pull", "push"],
    strict: false,
    deletion: "delete",
};

/// GitHub, where the package `app` belongs to a user or an organization, and one token is known.
fn github(owners: &'static str) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        if let Some(answer) = TOKENS.answer(request) {
            return answer;
        }
        let package = format!("/api/{owners}/team/packages/container/app");
        let knows = request.header("authorization") == Some("Bearer ghp");
        let path = request.path();
        match (request.method.as_str(), path.strip_prefix(package.as_str())) {
            _ if path == "/v2/" => Reply::new(200),
            _ if path == "/v2/team/app/tags/list" => reply(200, r#"{"name":"team/app","tags":[]}"#),
            _ if !path.starts_with("/api/") => Reply::new(404),
            _ if !knows => reply(401, r#"{"message":"Bad credentials","status":"401"}"#),
            ("GET", Some("")) => reply(200, r#"{"id":1,"name":"app"}"#),
            ("GET", Some("/versions")) => versions(request),
            ("DELETE", Some("/versions/11" | "/versions/12")) => Reply::new(204),
            _ => reply(404, r#"{"message":"Not Found","status":"404"}"#),
        }
    })
}

fn client(server: &ScriptedServer, credential: Credential) -> Client {
    vendor_client(server, ProviderKind::Ghcr, "/api", credential)
}

#[tokio::test]
async fn versions_are_listed_with_and_without_tags() {
    for owners in ["orgs", "users"] {
        let server = github(owners);
        let client = client(&server, password("octo", "ghp"));
        let listed = entries(&client, reference(&server).repository()).await.unwrap();
        let lines: Vec<String> = listed.iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "1 a - manifest-pushed@1772359200 -",
                "latest a - manifest-pushed@1772359200 -",
                "- b - manifest-pushed@1772359200 -",
            ]
        );
        let asked = server.requests();
        let asked = asked.iter().find(|request| request.path().ends_with("/versions")).unwrap();
        assert_eq!(asked.header("x-github-api-version"), Some("2022-11-28"));
    }
}

#[tokio::test]
async fn without_a_token_that_github_takes_there_are_the_specs_lists() {
    let server = github("orgs");
    for credential in [Credential::Anonymous, password("octo", "other")] {
        let client = client(&server, credential);
        assert_eq!(entries(&client, reference(&server).repository()).await, Ok(Vec::new()));
    }
    let listed = |request: &&Request| request.path().ends_with("/tags/list");
    let known = |request: &&Request| request.header("authorization").is_some();
    assert_eq!(server.requests().iter().filter(listed).filter(known).count(), 2);
}

#[tokio::test]
async fn a_manifest_is_deleted_by_its_number_which_is_looked_up_once() {
    let server = github("users");
    let client = client(&server, password("octo", "ghp"));
    let repository = reference(&server).repository().clone();
    for digit in ['a', 'b'] {
        let digest: Digest = digest(digit).parse().unwrap();
        let deleted = client.delete_manifest(&repository, &digest).await.unwrap();
        assert_eq!(deleted, Deleted::Done);
    }
    let lists = |server: &ScriptedServer| {
        server.log().iter().filter(|line| line.contains("/versions?")).count()
    };
    assert_eq!(lists(&server), 2, "two pages of one list");
    let found = server.log().iter().filter(|line| line.ends_with("/container/app")).count();
    assert_eq!(found, 2, "as an organization's, and as a user's");
    let absent: Digest = digest('f').parse().unwrap();
    let deleted = client.delete_manifest(&repository, &absent).await.unwrap();
    assert_eq!(deleted, Deleted::Absent);
}

#[tokio::test]
async fn a_single_tag_cannot_be_deleted() {
    let server = github("orgs");
    let client = client(&server, password("octo", "ghp"));
    let repository = reference(&server).repository().clone();
    let error = client.delete_tag(&repository, &"1".parse().unwrap()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(server.log().is_empty(), "nothing was asked");
}

/// What becomes of a deletion of `a`, after one of `before`, and all requests. GitHub answers as this says
/// for a method, the end of a path, and how often versions were listed.
async fn deleted(
    github: impl Fn(&str, &str, usize) -> Option<Reply> + Send + Sync + 'static,
    before: Option<char>,
) -> (Result<Deleted, ErrorKind>, Vec<String>) {
    let lists = AtomicUsize::new(0);
    let server = ScriptedServer::start(move |request| {
        if let Some(answer) = TOKENS.answer(request) {
            return answer;
        }
        let path = request.path();
        let listed = lists.load(Ordering::SeqCst);
        let answer = github(&request.method, path.rsplit('/').next().unwrap(), listed);
        if path.ends_with("/versions") {
            lists.fetch_add(1, Ordering::SeqCst);
        }
        answer.unwrap_or_else(|| match path {
            "/v2/" => Reply::new(200),
            "/api/orgs/team/packages/container/app" => reply(200, r#"{"id":1,"name":"app"}"#),
            _ => reply(404, r#"{"message":"Package not found.","status":"404"}"#),
        })
    });
    let client = client(&server, password("octo", "ghp"));
    let repository = reference(&server).repository().clone();
    if let Some(before) = before {
        let digest = digest(before).parse().unwrap();
        assert_eq!(client.delete_manifest(&repository, &digest).await.unwrap(), Deleted::Done);
    }
    let result = client.delete_manifest(&repository, &digest('a').parse().unwrap()).await;
    if let Err(error) = &result {
        assert!(error.to_string().contains("delete:packages"), "{error}");
    }
    (result.map_err(|error| error.kind().clone()), server.log())
}

fn held() -> Option<Reply> {
    let head = Reply::new(200).header("Docker-Content-Digest", digest('a'));
    Some(head.header("Content-Type", "application/vnd.oci.image.manifest.v1+json"))
}

#[tokio::test]
async fn what_may_be_seen_and_not_deleted_is_not_absent() {
    for shows_version in [true, false] {
        let (result, _) = deleted(
            move |method, last, _| match (method, last) {
                ("GET", "versions") => Some(reply(200, json!([version(11, 'a', &[])]).to_string())),
                ("GET", "11") if shows_version => {
                    Some(reply(200, version(11, 'a', &[]).to_string()))
                }
                ("HEAD", _) => held(),
                _ => None,
            },
            None,
        )
        .await;
        assert_eq!(result, Err(ErrorKind::Denied), "{shows_version}");
    }
}

#[tokio::test]
async fn what_was_pushed_again_is_deleted_by_its_new_number() {
    let (result, log) = deleted(
        |method, last, listed| match (method, last) {
            ("GET", "versions") => {
                let number = if listed == 0 { 11 } else { 21 };
                let listed = json!([version(number, 'a', &[]), version(12, 'b', &[])]);
                Some(reply(200, listed.to_string()))
            }
            ("DELETE", "12" | "21") => Some(Reply::new(204)),
            ("HEAD", _) => held(),
            _ => None,
        },
        Some('b'),
    )
    .await;
    assert_eq!(result, Ok(Deleted::Done));
    assert_eq!(log.iter().filter(|line| line.contains("/versions?")).count(), 2);
}

#[tokio::test]
async fn what_the_registry_does_not_have_is_absent_without_another_list() {
    let (result, log) = deleted(
        |method, last, _| match (method, last) {
            ("GET", "versions") => Some(reply(200, json!([version(12, 'b', &[])]).to_string())),
            ("DELETE", "12") => Some(Reply::new(204)),
            _ => None,
        },
        Some('b'),
    )
    .await;
    assert_eq!(result, Ok(Deleted::Absent));
    assert_eq!(log.iter().filter(|line| line.contains("/versions?")).count(), 1);
}

#[tokio::test]
async fn a_limit_of_requests_is_neither_a_refusal_nor_the_end_of_a_list() {
    let message = "You have exceeded a secondary rate limit. Please wait a few minutes.";
    for (header, message) in [
        (("x-ratelimit-remaining", "0"), "API rate limit exceeded for user ID 1."),
        (("retry-after", "60"), "no"),
        (("x-ratelimit-remaining", "40"), message),
    ] {
        let server = ScriptedServer::start(move |request| match request.path() {
            "/v2/" => Reply::new(200),
            "/v2/team/app/tags/list" => reply(200, r#"{"name":"team/app","tags":[]}"#),
            _ => reply(403, json!({"message": message}).to_string()).header(header.0, header.1),
        });
        let client = client(&server, password("octo", "ghp"));
        let listed = entries(&client, reference(&server).repository()).await;
        let retry_after = (header.0 == "retry-after").then_some(Duration::from_secs(60));
        assert_eq!(listed, Err(ErrorKind::RateLimited { retry_after }), "{header:?}");
    }
}
