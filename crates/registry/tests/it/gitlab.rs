//! GitLab's own APIs, as far as a server of GitLab's would not answer what a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use dockit_registry::{
    Client, CredentialError, CredentialSource, ErrorKind, Issued, ProviderKind, Registries,
    RegistryHost, RegistrySettings, Repository,
};
use dockit_testkit::{Reply, Request, ScriptedServer};
use serde_json::json;

use crate::support::{builder, digest, entries, good_token, host_of, json as reply, password};

const PROJECT: &str = "/api/v4/projects/team%2Fapp/registry/repositories";

/// Passwords that are good for one reading.
#[derive(Default)]
struct Changing {
    read: AtomicUsize,
}

#[async_trait]
impl CredentialSource for Changing {
    async fn credential(&self, _: &RegistryHost) -> Result<Issued, CredentialError> {
        let number = self.read.fetch_add(1, Ordering::SeqCst);
        let credential = password("user", &format!("glpat-{number}"));
        Ok(Issued { credential, expires: Some(SystemTime::now()), inferred: false })
    }
}

fn client(server: &ScriptedServer) -> Client {
    let settings =
        RegistrySettings { provider: Some(ProviderKind::Gitlab), ..RegistrySettings::default() };
    builder()
        .credentials(Arc::new(Changing::default()))
        .registries(Registries::from_iter([(server.host().parse().unwrap(), settings)]))
        .build()
        .unwrap()
}

fn repository(server: &ScriptedServer) -> Repository {
    format!("{}/team/app", server.host()).parse().unwrap()
}

/// The registry and its token server; what is below neither is answered by `others`.
fn gitlab(others: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> ScriptedServer {
    ScriptedServer::start(move |request| {
        if request.path() == "/jwt/auth" {
            return good_token();
        }
        if request.path() == "/v2/" {
            let realm = format!("http://{}/jwt/auth", host_of(request));
            let challenge = format!("Bearer realm=\"{realm}\",service=\"container_registry\"");
            return Reply::new(401).header("WWW-Authenticate", challenge);
        }
        others(request)
    })
}

#[tokio::test]
async fn the_rest_api_is_asked_with_the_credential_of_now() {
    let taken = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let server = gitlab({
        let taken = Arc::clone(&taken);
        move |request| {
            if !request.path().starts_with("/api/v4/") {
                return Reply::new(404);
            }
            let token = request.header("private-token").unwrap().to_owned();
            let mut taken = taken.lock().unwrap();
            if taken.contains(&token) {
                return reply(401, r#"{"message":"401 Unauthorized"}"#);
            }
            taken.push(token);
            match request.path().strip_prefix(PROJECT) {
                Some("") => reply(200, json!([{"id": 7, "path": "team/app"}]).to_string()),
                Some("/7/tags") => reply(200, json!([{"name": "1"}]).to_string()),
                Some("/7/tags/1") => reply(
                    200,
                    json!({"digest": digest('a'), "created_at": "2026-03-01T10:00:00Z"})
                        .to_string(),
                ),
                _ => Reply::new(404),
            }
        }
    });
    let client = client(&server);
    for _ in 0..2 {
        assert_eq!(entries(&client, &repository(&server)).await.unwrap().len(), 1);
    }
}

/// The registry's own API, whose pages hold one tag each: this one after that.
fn paged(
    after: impl Fn(&str) -> Option<(&'static str, bool)> + Send + Sync + 'static,
) -> ScriptedServer {
    gitlab(move |request| match request.path() {
        "/gitlab/v1/" => Reply::new(200),
        "/gitlab/v1/repositories/team/app/tags/list/" => {
            let last = request.query("last").first().copied().unwrap_or_default().to_owned();
            let Some((name, more)) = after(&last) else { return Reply::new(404) };
            let tag = json!({
                "name": name, "digest": digest('a'), "size_bytes": 10,
                "created_at": "2026-03-01T10:00:00Z",
            });
            let page = reply(200, json!([tag]).to_string());
            if more { page.header("Link", "<?next>; rel=\"next\"") } else { page }
        }
        _ => Reply::new(404),
    })
}

/// Databases have orders of their own.
#[tokio::test]
async fn pages_may_come_in_any_order_of_names() {
    let server = paged(|last| match last {
        "" => Some(("b", true)),
        "b" => Some(("B", true)),
        "B" => Some(("a", true)),
        "a" => Some(("_", false)),
        _ => None,
    });
    let listed = entries(&client(&server), &repository(&server)).await.unwrap();
    let names: Vec<String> =
        listed.iter().map(|entry| entry.tag.as_ref().unwrap().to_string()).collect();
    assert_eq!(names, ["b", "B", "a", "_"]);
}

#[tokio::test]
async fn pages_that_come_again_are_an_error() {
    let server = paged(|last| match last {
        "" | "c" => Some(("b", true)),
        "b" => Some(("c", true)),
        _ => None,
    });
    let listed = entries(&client(&server), &repository(&server)).await;
    assert_eq!(listed, Err(ErrorKind::Invalid));
}

/// The address of the API is made of it, and a credential is sent there.
#[tokio::test]
async fn a_token_server_that_is_not_trusted_says_nothing_about_the_api() {
    let server = ScriptedServer::start(|request| match request.path() {
        "/v2/" => {
            let realm = format!("http://x:y@{}/jwt/auth", host_of(request));
            Reply::new(401).header("WWW-Authenticate", format!("Bearer realm=\"{realm}\""))
        }
        "/v2/team/app/tags/list" => reply(200, r#"{"tags":null}"#),
        _ => Reply::new(404),
    });
    assert_eq!(entries(&client(&server), &repository(&server)).await, Ok(Vec::new()));
    let log = server.log();
    assert!(!log.iter().any(|line| line.contains("/api/v4")), "{log:?}");
}
