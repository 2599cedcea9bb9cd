//! What Quay's API lists and deletes. The replies have the fields that *Red Hat Quay API reference, tag*
//! documents.

use dockit_registry::{Client, Deleted, ErrorKind, ProviderKind};
use dockit_testkit::{Reply, ScriptedServer};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use crate::support::{
    TokenRules, digest, entries, json as reply, line, password, reference, vendor_client,
};

fn tag(name: &str, digit: char) -> Value {
    json!({
        "name": name, "reversion": false, "start_ts": 1_717_680_780, "manifest_digest": digest(digit),
        "is_manifest_list": false, "size": 2_275_314, "last_modified": "Thu, 06 Jun 2024 13:33:00 -0000",
    })
}

/// `endpoints/v2/v2auth.py` of Quay.
const TOKENS: TokenRules = TokenRules {
    realm: "/v2/auth",
    service: "quay",
    actions: &["pull", "push", "*"],
    strict: true,
    deletion: "pull,push",
};

/// Quay, which deletes tags as the spec says or does not.
fn quay(native: bool) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        let knows = request.header("authorization") == Some("Bearer oauth");
        if let Some(answer) = TOKENS.answer(request) {
            return answer;
        }
        match (request.method.as_str(), request.path()) {
            (_, "/v2/") => Reply::new(200),
            ("GET", "/v2/_catalog") => reply(200, r#"{"repositories":["team/app"]}"#),
            ("GET", "/api/v1/repository/team/app/tag/") if knows => {
                let second = request.query("page") == ["2"];
                let tags = if second { [tag("2", 'b')] } else { [tag("1", 'a')] };
                let page = json!({"tags": tags, "page": 1, "has_additional": !second});
                reply(200, page.to_string())
            }
            ("DELETE", "/api/v1/repository/team/app/tag/1") if knows => Reply::new(204),
            (_, path) if path.starts_with("/api/") && knows => {
                reply(404, r#"{"detail":"Not Found","error_type":"not_found","status":404}"#)
            }
            (_, path) if path.starts_with("/api/") => {
                let error = r#"{"detail":"Requires authentication","error_type":"invalid_token"}"#;
                reply(401, error)
            }
            ("DELETE", "/v2/team/app/manifests/1") if native => Reply::new(202),
            ("DELETE", path) if path.contains("/manifests/sha256:") => Reply::new(202),
            ("DELETE", _) => reply(405, r#"{"errors":[{"code":"UNSUPPORTED","message":""}]}"#),
            ("GET", "/v2/team/app/tags/list") => reply(200, r#"{"name":"team/app","tags":[]}"#),
            ("HEAD", _) => Reply::new(404),
            _ => {
                let expired = r#"{"errors":[{"code":"TAG_EXPIRED","message":"expired"}]}"#;
                reply(404, expired)
            }
        }
    })
}

fn client(server: &ScriptedServer, user: &str, secret: &str) -> Client {
    vendor_client(server, ProviderKind::Quay, "/api/v1", password(user, secret))
}

#[tokio::test]
async fn tags_are_listed_with_a_token_of_an_application() {
    let server = quay(true);
    let client = client(&server, "$oauthtoken", "oauth");
    let listed = entries(&client, reference(&server).repository()).await.unwrap();
    let lines: Vec<String> = listed.iter().map(line).collect();
    let [one, two] = ["1 a", "2 b"].map(|begin| format!("{begin} 2275314 tag-pushed@1717680780 -"));
    assert_eq!(lines, [one, two]);
}

#[tokio::test]
async fn robots_and_tokens_that_are_not_taken_get_the_specs_lists() {
    for (user, secret, of_api) in [("team+robot", "secret", 0), ("$oauthtoken", "other", 1)] {
        let server = quay(true);
        let client = client(&server, user, secret);
        assert_eq!(entries(&client, reference(&server).repository()).await, Ok(Vec::new()));
        let asked = server.log().iter().filter(|line| line.contains("/api/v1/")).count();
        assert_eq!(asked, of_api, "a robot's password is not for the API");
    }
}

#[tokio::test]
async fn tags_are_deleted_as_the_spec_says_or_by_the_api() {
    for (native, user, expected) in [
        (true, "team+robot", Ok(Deleted::Done)),
        (false, "team+robot", Err(ErrorKind::Unsupported)),
        (false, "$oauthtoken", Ok(Deleted::Done)),
    ] {
        let server = quay(native);
        let client = client(&server, user, "oauth");
        let repository = reference(&server).repository().clone();
        let deleted = client.delete_tag(&repository, &"1".parse().unwrap()).await;
        assert_eq!(deleted.map_err(|error| error.kind().clone()), expected, "{native} {user}");
        let deleted = client.delete_manifest(&repository, &digest('a').parse().unwrap()).await;
        assert_eq!(deleted.unwrap(), Deleted::Done);
    }
}

#[tokio::test]
async fn all_that_a_token_is_asked_for_is_what_quay_can_read() {
    let server = quay(true);
    // Known by its token server alone.
    let client = crate::support::client_with(password("team+robot", "secret"));
    let repository = reference(&server).repository().clone();
    let all: Vec<_> = client.repositories(repository.host()).try_collect().await.unwrap();
    assert_eq!(all, std::slice::from_ref(&repository));
    let deleted = client.delete_manifest(&repository, &digest('a').parse().unwrap()).await;
    assert_eq!(deleted.unwrap(), Deleted::Done);
    assert_eq!(entries(&client, &repository).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_list_that_says_it_goes_on_and_does_not_is_no_list() {
    let server = ScriptedServer::start(|request| match (request.path(), request.query("page")) {
        ("/v2/", _) => Reply::new(200),
        (_, page) => {
            let tags = if page == ["1"] { vec![tag("1", 'a')] } else { Vec::new() };
            reply(200, json!({"tags": tags, "page": 1, "has_additional": true}).to_string())
        }
    });
    let client = client(&server, "$oauthtoken", "oauth");
    let listed = entries(&client, reference(&server).repository()).await;
    assert_eq!(listed, Err(ErrorKind::Invalid));
}
