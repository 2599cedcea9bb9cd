//! What Harbor's API lists and deletes. The replies have the fields of the `Artifact` and `Tag` of *Harbor
//! API* 2.0.

use dockit_registry::{Client, Deleted, Deletion, ErrorKind, ProviderKind};
use dockit_testkit::{Reply, ScriptedServer};
use serde_json::{Value, json};

use crate::support::{
    BASIC_HEADER, TokenRules, basic, digest, entries, json as reply, line, vendor_client,
};

const ARTIFACTS: &str = "/api/v2.0/projects/team/repositories/deep%252Fapp/artifacts";

fn artifact(digit: char, tags: Value) -> Value {
    json!({
        "id": 1, "type": "IMAGE", "media_type": "application/vnd.oci.image.config.v1+json",
        "manifest_media_type": "application/vnd.oci.image.manifest.v1+json", "project_id": 2,
        "repository_id": 3, "digest": digest(digit), "size": 4096,
        "push_time": "2026-03-01T10:00:00.000Z", "pull_time": "0001-01-01T00:00:00.000Z",
        "extra_attrs": {}, "references": null, "tags": tags, "labels": null,
    })
}

fn tag(name: &str, immutable: bool) -> Value {
    json!({
        "id": 1, "name": name, "push_time": "2026-03-02T00:00:00.000Z",
        "pull_time": "2026-03-03T00:00:00.000Z", "immutable": immutable, "artifact_id": 1,
    })
}

const TOKENS: TokenRules = TokenRules {
    realm: "/service/token",
    service: "harbor-registry",
    actions: &["pull", "push", "delete"],
    strict: false,
    deletion: "delete",
};

fn harbor() -> ScriptedServer {
    ScriptedServer::start(|request| {
        if let Some(answer) = TOKENS.answer(request) {
            return answer;
        }
        let knows = request.header("authorization") == Some(BASIC_HEADER);
        let error = |status: u16, code: &str| {
            let message = if status == 412 { "configured as immutable" } else { "no" };
            let body = json!({"errors": [{"code": code, "message": message}]});
            reply(status, body.to_string())
        };
        let path = request.path();
        let below = path.strip_prefix(ARTIFACTS);
        match (request.method.as_str(), below) {
            _ if path == "/v2/" => Reply::new(200),
            _ if path == "/v2/team/deep/app/tags/list" => reply(200, r#"{"tags":null}"#),
            _ if path.starts_with("/v2/") && request.method == "DELETE" => Reply::new(202),
            _ if path.starts_with("/v2/") => Reply::new(404),
            _ if !knows => error(401, "UNAUTHORIZED"),
            ("GET", Some("")) if request.query("page") == ["2"] => {
                reply(200, json!([artifact('b', Value::Null)]).to_string())
            }
            ("GET", Some("")) => {
                let tags = json!([tag("1", false), tag("v1", true)]);
                let link = format!("<{ARTIFACTS}?page=2&page_size=100>; rel=\"next\"");
                reply(200, json!([artifact('a', tags)]).to_string()).header("Link", link)
            }
            ("DELETE", Some("/1/tags/1")) => Reply::new(200),
            ("DELETE", Some("/v1/tags/v1")) => error(412, "PRECONDITION"),
            ("DELETE", Some(rest)) if rest == format!("/{}", digest('b')) => Reply::new(200),
            _ => error(404, "NOT_FOUND"),
        }
    })
}

fn client(server: &ScriptedServer, credential: dockit_registry::Credential) -> Client {
    vendor_client(server, ProviderKind::Harbor, "/api/v2.0", credential)
}

fn repository(server: &ScriptedServer) -> dockit_registry::Repository {
    format!("{}/team/deep/app", server.host()).parse().unwrap()
}

#[tokio::test]
async fn artifacts_are_listed_with_times_locks_and_without_tags() {
    let server = harbor();
    let client = client(&server, basic());
    let listed = entries(&client, &repository(&server)).await.unwrap();
    let lines: Vec<String> = listed.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "1 a 4096 tag-pushed@1772409600 1772496000",
            "v1 a 4096 tag-pushed@1772409600 1772496000 locked",
            "- b 4096 manifest-pushed@1772359200 -",
        ]
    );
}

#[tokio::test]
async fn deletions_go_to_the_api() {
    let server = harbor();
    let client = client(&server, basic());
    let tag = |name: &str| Deletion::Tag(name.parse().unwrap());
    let manifest = |digit: char| Deletion::Manifest(digest(digit).parse().unwrap());
    let items = vec![tag("1"), tag("v1"), tag("absent"), manifest('b'), manifest('f')];
    let results = client.delete_all(&repository(&server), items).await.unwrap();
    let results: Vec<_> = results
        .into_iter()
        .map(|result| result.result.map_err(|error| error.kind().clone()))
        .collect();
    let (done, absent) = (Ok(Deleted::Done), Ok(Deleted::Absent));
    let expected = [done.clone(), Err(ErrorKind::Immutable), absent.clone(), done, absent];
    assert_eq!(results, expected);
}

#[tokio::test]
async fn whom_the_api_does_not_know_the_registry_may() {
    let server = harbor();
    let client = client(&server, crate::support::password("robot$ci", "secret"));
    assert_eq!(entries(&client, &repository(&server)).await, Ok(Vec::new()));
    let digest = digest('b').parse().unwrap();
    let deleted = client.delete_manifest(&repository(&server), &digest).await.unwrap();
    assert_eq!(deleted, Deleted::Done);
}

/// Several may be under way when the first is refused.
#[tokio::test]
async fn a_credential_that_the_api_refused_is_not_sent_with_every_item() {
    let server = harbor();
    let client = client(&server, crate::support::password("robot$ci", "secret"));
    let items = (0..60).map(|number| Deletion::Tag(format!("t{number}").parse().unwrap()));
    let results = client.delete_all(&repository(&server), items.collect()).await.unwrap();
    for result in results {
        assert_eq!(*result.result.unwrap_err().kind(), ErrorKind::Unauthorized);
    }
    let sent = server.requests();
    let sent = sent.iter().filter(|request| request.path().starts_with(ARTIFACTS)).count();
    assert!((1..=4).contains(&sent), "{sent}");
}
