//! What Docker Hub's API lists and deletes. The replies have the fields that *Docker Hub API* documents.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dockit_registry::{
    Client, Credential, CredentialError, CredentialSource, Deleted, Deletion, ErrorKind, Issued,
    ProviderKind, Registries, RegistryHost, RegistrySettings,
};
use dockit_testkit::{Reply, Request, ScriptedServer};
use serde_json::{Value, json};

use crate::support::{
    TokenRules, builder, digest, entries, host_of, json as reply, line, password, reference,
    vendor_client,
};

const TAGS: &str = "/v2/namespaces/team/repositories/app/tags";

fn tag(name: &str, digit: char) -> Value {
    json!({
        "creator": 7, "id": 1, "images": [{"architecture": "amd64", "os": "linux", "size": 10}],
        "last_updated": "2026-03-01T10:00:00.5Z", "name": name, "repository": 3,
        "full_size": 2048, "v2": true, "tag_status": "active",
        "tag_last_pulled": "2026-03-02T00:00:00Z", "tag_last_pushed": "2026-03-01T10:00:00.5Z",
        "media_type": "application/vnd.oci.image.index.v1+json", "content_type": "image",
        "digest": digest(digit),
    })
}

/// Two pages, of which the second leads to `next`.
fn pages(request: &Request, next: &Value) -> Reply {
    if request.query("page") == ["2"] {
        let mut old = tag("old", 'c');
        old["tag_last_pulled"] = "0001-01-01T00:00:00Z".into();
        old.as_object_mut().unwrap().remove("digest");
        let page = json!({"count": 3, "next": null, "previous": null, "results": [old]});
        return reply(200, page.to_string());
    }
    let next = if next.is_null() {
        format!("http://{}{TAGS}?page=2&page_size=100", host_of(request)).into()
    } else {
        next.clone()
    };
    let page = json!({"count": 3, "next": next, "results": [tag("1", 'a'), tag("2", 'b')]});
    reply(200, page.to_string())
}

const TOKENS: TokenRules = TokenRules {
    realm: "/token",
    service: "registry.docker.io",
    actions: &["pull", "push"],
    strict: false,
    deletion: "delete",
};

/// Whether this is a request to the Hub, whose API is below `/v2` as well here.
fn is_of_api(path: &str) -> bool {
    ["/v2/auth/", "/v2/namespaces/", "/v2/repositories/"].iter().any(|api| path.starts_with(api))
}

/// The Hub, which knows one password.
fn hub(next: Value) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        let of_registry = !is_of_api(request.path());
        if let Some(answer) = of_registry.then(|| TOKENS.answer(request)).flatten() {
            return answer;
        }
        let in_hub = request.header("authorization") == Some("Bearer jwt");
        match (request.method.as_str(), request.path()) {
            ("GET", "/v2/") => Reply::new(200),
            ("POST", "/v2/auth/token") => {
                let body: Value = serde_json::from_slice(request.body()).unwrap();
                if body == json!({"identifier": "ci", "secret": "dckr_pat"}) {
                    reply(200, r#"{"access_token":"jwt"}"#)
                } else {
                    reply(401, r#"{"detail":"Incorrect authentication credentials"}"#)
                }
            }
            ("GET", TAGS) if in_hub => pages(request, &next),
            ("GET", TAGS) => reply(404, r#"{"message":"object not found","errinfo":{}}"#),
            ("DELETE", "/v2/repositories/team/app/tags/1/") if in_hub => Reply::new(204),
            ("DELETE", "/v2/repositories/team/app/tags/hidden/") if in_hub => {
                reply(404, r#"{"message":"tag not found"}"#)
            }
            ("DELETE", _) if in_hub => reply(404, r#"{"message":"tag not found"}"#),
            ("HEAD", "/v2/team/app/manifests/old" | "/v2/team/app/manifests/hidden") => {
                Reply::new(200)
                    .header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
                    .header("Docker-Content-Digest", digest('c'))
            }
            _ => Reply::new(404),
        }
    })
}

fn client(server: &ScriptedServer, secret: &str) -> Client {
    vendor_client(server, ProviderKind::DockerHub, "/v2", password("ci", secret))
}

fn logins(server: &ScriptedServer) -> usize {
    server.log().iter().filter(|line| line.starts_with("POST /v2/auth/token")).count()
}

#[tokio::test]
async fn tags_are_listed_page_by_page_after_one_login() {
    let server = hub(Value::Null);
    let client = client(&server, "dckr_pat");
    let repository = reference(&server).repository().clone();
    for _ in 0..2 {
        let listed = entries(&client, &repository).await.unwrap();
        let lines: Vec<String> = listed.iter().map(line).collect();
        assert_eq!(
            lines,
            [
                "1 a 2048 tag-pushed@1772359200 1772409600",
                "2 b 2048 tag-pushed@1772359200 1772409600",
                "old c 2048 tag-pushed@1772359200 -",
            ]
        );
    }
    assert_eq!(logins(&server), 1);
}

#[tokio::test]
async fn the_token_does_not_follow_a_list_to_another_server() {
    let elsewhere = ScriptedServer::script([Reply::new(200)]);
    let server = hub(format!("http://{}{TAGS}?page=2", elsewhere.host()).into());
    let client = client(&server, "dckr_pat");
    let listed = entries(&client, reference(&server).repository()).await;
    assert_eq!(listed, Err(ErrorKind::Invalid));
    assert!(elsewhere.log().is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_sent_once() {
    let server = hub(Value::Null);
    let client = client(&server, "wrong");
    for _ in 0..3 {
        let listed = entries(&client, reference(&server).repository()).await;
        assert_eq!(listed, Err(ErrorKind::Unauthorized));
    }
    assert_eq!(logins(&server), 1);
}

#[tokio::test]
async fn tags_are_deleted_and_manifests_are_not() {
    let server = hub(Value::Null);
    let client = client(&server, "dckr_pat");
    let repository = reference(&server).repository().clone();
    let manifest = Deletion::Manifest(digest('a').parse().unwrap());
    let tag = |name: &str| Deletion::Tag(name.parse().unwrap());
    let items = vec![manifest, tag("1"), tag("absent"), tag("hidden")];
    let results = client.delete_all(&repository, items).await.unwrap();
    let results: Vec<_> = results
        .into_iter()
        .map(|result| result.result.map_err(|error| error.kind().clone()))
        .collect();
    let unsupported = Err(ErrorKind::Unsupported);
    // What the API hides is not absent as long as the registry shows it.
    let expected = [unsupported, Ok(Deleted::Done), Ok(Deleted::Absent), Err(ErrorKind::Denied)];
    assert_eq!(results, expected);
    assert_eq!(logins(&server), 1);
}

#[tokio::test]
async fn whoever_has_no_password_deletes_nothing() {
    let server = hub(Value::Null);
    let client = vendor_client(&server, ProviderKind::DockerHub, "/v2", Credential::Anonymous);
    let repository = reference(&server).repository().clone();
    let error = client.delete_tag(&repository, &"1".parse().unwrap()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{error}");
    assert!(!server.log().iter().any(|line| line.starts_with("DELETE")));
}

/// A credential that is another one from the second time on that it is read.
struct Replaced(AtomicUsize, [Credential; 2]);

#[async_trait]
impl CredentialSource for Replaced {
    async fn credential(&self, _: &RegistryHost) -> Result<Issued, CredentialError> {
        let read = self.0.fetch_add(1, Ordering::SeqCst);
        Ok(self.1[read.min(1)].clone().into())
    }
}

#[tokio::test]
async fn a_password_that_was_replaced_is_read_anew_once() {
    for (newer, expected) in [("dckr_pat", Ok(3)), ("wrong-as-well", Err(ErrorKind::Unauthorized))]
    {
        let server = hub(Value::Null);
        let settings = RegistrySettings {
            provider: Some(ProviderKind::DockerHub),
            api_url: Some(format!("http://{}/v2", server.host())),
            ..RegistrySettings::default()
        };
        let source = Replaced(AtomicUsize::new(0), [password("ci", "old"), password("ci", newer)]);
        let registries = Registries::from_iter([(server.host().parse().unwrap(), settings)]);
        let client =
            builder().credentials(Arc::new(source)).registries(registries).build().unwrap();
        for _ in 0..3 {
            let listed = entries(&client, reference(&server).repository()).await;
            assert_eq!(listed.map(|listed| listed.len()), expected, "{newer}");
        }
        assert_eq!(logins(&server), 2, "{newer}");
    }
}

#[tokio::test]
async fn a_list_whose_pages_lead_in_a_circle_ends() {
    let server = ScriptedServer::start(|request| match request.path() {
        "/v2/auth/token" => reply(200, r#"{"access_token":"jwt"}"#),
        TAGS => {
            let number = if request.query("page") == ["2"] { 1 } else { 2 };
            let next = format!("http://{}{TAGS}?page={number}", host_of(request));
            reply(200, json!({"next": next, "results": [tag("1", 'a')]}).to_string())
        }
        _ => Reply::new(200),
    });
    let client = client(&server, "dckr_pat");
    let reference = reference(&server);
    let listed = entries(&client, reference.repository());
    let listed = tokio::time::timeout(Duration::from_secs(20), listed).await;
    assert_eq!(listed.expect("the list ends"), Err(ErrorKind::Invalid));
}
