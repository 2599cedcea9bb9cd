//! Application Default Credentials, against servers that stand for Google's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use dockit_registry::{
    Access, AccessToken, Client, CredentialError, GoogleIdentity, GoogleMetadata, GoogleSettings,
    ProviderKind, Registries, Registry as _, RegistrySettings, TokenIdentity as _,
};
use dockit_testkit::{Reply, Request, ScriptedServer, TestImage};
use serde_json::{Value, json};

use crate::support::{builder, good_token, reference, token_registry};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// An identity in these places.
fn identity(settings: GoogleSettings) -> GoogleIdentity {
    // Whoever makes a client has one too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    GoogleIdentity::new(settings)
}

fn machine(metadata: GoogleMetadata) -> GoogleIdentity {
    identity(GoogleSettings { metadata, ..GoogleSettings::default() })
}

fn of_file(path: &Path) -> GoogleIdentity {
    identity(GoogleSettings { file: Some(path.to_owned()), ..GoogleSettings::default() })
}

/// A directory, and a file with credentials in it.
fn written(content: &Value) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("credentials.json");
    std::fs::write(&file, content.to_string()).unwrap();
    (directory, file)
}

async fn token(identity: &GoogleIdentity) -> Result<Option<AccessToken>, CredentialError> {
    identity.access_token(SCOPE).await
}

async fn text(identity: &GoogleIdentity) -> Option<String> {
    token(identity).await.unwrap().map(|token| token.token.expose().to_owned())
}

/// The error, which names no secret.
async fn error(identity: &GoogleIdentity) -> String {
    let error = token(identity).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter"), "{shown}");
    error.to_string()
}

fn json_reply(status: u16, body: &Value) -> Reply {
    Reply::new(status).header("Content-Type", "application/json").body(body.to_string())
}

fn flavored(reply: Reply) -> Reply {
    reply.header("Metadata-Flavor", "Google")
}

/// A metadata server whose tokens are good for so long.
fn metadata_server(lifetime: u64) -> ScriptedServer {
    let given = AtomicUsize::new(0);
    ScriptedServer::start(move |request| {
        if request.header("metadata-flavor") != Some("Google") {
            return Reply::new(403);
        }
        flavored(match request.path() {
            "/" => Reply::new(200),
            TOKEN => {
                let number = given.fetch_add(1, Ordering::SeqCst) + 1;
                json_reply(
                    200,
                    &json!({
                        "access_token": format!("machine-{number}"),
                        "expires_in": lifetime,
                        "token_type": "Bearer",
                    }),
                )
            }
            _ => Reply::new(404),
        })
    })
}

#[tokio::test]
async fn a_machine_of_googles_gets_a_token_and_keeps_it() {
    let server = metadata_server(3599);
    for metadata in [GoogleMetadata::At(server.host()), GoogleMetadata::IfAt(server.host())] {
        let identity = machine(metadata);
        let first = token(&identity).await.unwrap().unwrap();
        let lifetime = first.expires.unwrap().duration_since(SystemTime::now()).unwrap();
        assert!((3500..=3599).contains(&lifetime.as_secs()), "{lifetime:?}");
        assert_eq!(token(&identity).await.unwrap(), Some(first));
    }
    let encoded = "https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform";
    let asked = format!("GET {TOKEN}?scopes={encoded}");
    assert_eq!(server.log(), [asked.clone(), "GET /".to_owned(), asked]);
}

#[tokio::test]
async fn a_token_in_its_last_minutes_is_replaced() {
    let server = metadata_server(240);
    let identity = machine(GoogleMetadata::At(server.host()));
    assert_eq!(text(&identity).await.unwrap(), "machine-1");
    assert_eq!(text(&identity).await.unwrap(), "machine-2");
}

#[tokio::test]
async fn tasks_that_need_a_token_at_the_same_time_share_one() {
    let server = metadata_server(3600);
    let identity = Arc::new(machine(GoogleMetadata::At(server.host())));
    let tasks = (0..8).map(|_| {
        let identity = Arc::clone(&identity);
        tokio::spawn(async move { text(&identity).await.unwrap() })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), "machine-1");
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn tasks_that_wait_for_a_token_that_is_refused_share_the_refusal() {
    let refused = json_reply(400, &json!({"error": "invalid_grant"}));
    let server = ScriptedServer::script([refused.delay(Duration::from_millis(200))]);
    let (_directory, file) = written(&user(&server.host()));
    let identity = Arc::new(of_file(&file));
    let tasks = (0..8).map(|_| {
        let identity = Arc::clone(&identity);
        tokio::spawn(async move { error(&identity).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        let said = task.await.unwrap();
        assert!(said.contains("invalid_grant"), "{said}");
    }
    assert_eq!(server.requests().len(), 1);
    error(&identity).await;
    assert_eq!(server.requests().len(), 2);
}

/// Machines elsewhere, and other clouds, which have servers at the same address.
#[tokio::test]
async fn whoever_is_no_machine_of_googles_has_no_identity_and_learns_it_soon_and_once() {
    let gone = ScriptedServer::script([Reply::new(200)]).host();
    let without_account = |request: &Request| match request.path() {
        "/" => flavored(Reply::new(200)),
        _ => flavored(Reply::new(404)),
    };
    let servers = [
        ScriptedServer::script([Reply::new(200)]),
        ScriptedServer::script([Reply::new(401)]),
        ScriptedServer::script([Reply::hang_up()]),
        ScriptedServer::script([flavored(Reply::new(200)).delay(Duration::from_secs(4))]),
        ScriptedServer::start(without_account),
    ];
    let hosts = servers.iter().map(ScriptedServer::host).chain([gone]);
    for (number, host) in hosts.enumerate() {
        let identity = machine(GoogleMetadata::IfAt(host));
        let start = Instant::now();
        assert_eq!(token(&identity).await.unwrap(), None, "{number}");
        assert!(start.elapsed() < Duration::from_secs(3), "{number}: {:?}", start.elapsed());
        let asked = servers.get(number).map(|server| server.requests().len());
        let start = Instant::now();
        assert_eq!(token(&identity).await.unwrap(), None);
        assert!(start.elapsed() < Duration::from_millis(500));
        assert_eq!(servers.get(number).map(|server| server.requests().len()), asked);
    }
    assert_eq!(token(&machine(GoogleMetadata::Never)).await.unwrap(), None);
}

#[tokio::test]
async fn whoever_has_no_identity_pulls_public_images_as_anybody() {
    let image = TestImage::new("public");
    let registry = token_registry(&image, |request| match request.header("authorization") {
        None => good_token(),
        Some(_) => Reply::new(403),
    });
    let reference = reference(&registry);
    let settings = RegistrySettings {
        provider: Some(ProviderKind::Google),
        vouched: true,
        ..RegistrySettings::default()
    };
    let registries = Registries::from_iter([(reference.repository().host().clone(), settings)]);
    let silent = ScriptedServer::script([Reply::new(200).delay(Duration::from_secs(4))]);
    let identity = Arc::new(machine(GoogleMetadata::IfAt(silent.host())));
    let client: Client = builder().registries(registries).google(identity).build().unwrap();
    let start = Instant::now();
    let head = client.head_manifest(&reference, Access::Pull).await.unwrap();
    assert_eq!(head.unwrap().digest.as_str(), image.digest());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(silent.requests().len(), 1);
}

#[tokio::test]
async fn a_metadata_server_that_has_to_be_there_and_fails_is_an_error() {
    let odd = json_reply(200, &json!({"access_tokens": "hunter2"}));
    for (reply, said, asked) in [
        (Reply::new(200), "is none of Google's", 1),
        (flavored(Reply::new(403)), "gives no token (403", 1),
        (flavored(Reply::new(500)), "gives no token (500", 3),
        (flavored(odd), "something else than a token", 1),
        (Reply::hang_up(), "cannot be asked for a token", 3),
    ] {
        let server = ScriptedServer::script([reply]);
        let said_error = error(&machine(GoogleMetadata::At(server.host()))).await;
        assert!(said_error.contains(said) && said_error.contains(&server.host()), "{said_error}");
        // A broken connection may be tried once more by the client beneath.
        assert!(server.requests().len() >= asked, "{said}");
    }
    let shaky = ScriptedServer::script([
        flavored(Reply::new(503)),
        flavored(json_reply(200, &json!({"access_token": "late", "expires_in": 3600}))),
    ]);
    let identity = machine(GoogleMetadata::At(shaky.host()));
    assert_eq!(text(&identity).await.unwrap(), "late");
}

fn user(token_server: &str) -> Value {
    json!({
        "type": "authorized_user",
        "client_id": "client",
        "client_secret": "hunter2",
        "refresh_token": "1//hunter3",
        "token_uri": format!("http://{token_server}/token"),
    })
}

#[tokio::test]
async fn the_first_place_that_has_something_decides() {
    let server = ScriptedServer::start(|request| {
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let token = format!("for-{}", body["client_id"].as_str().unwrap_or("nobody"));
        json_reply(200, &json!({"access_token": token, "expires_in": 3600, "token_type": "Bearer"}))
    });
    let metadata = metadata_server(3600);
    let mut one = user(&server.host());
    one["client_id"] = json!("one");
    let (_directory, file) = written(&one);
    let (_other_directory, other) = written(&user(&server.host()));
    let missing = other.with_file_name("missing.json");
    let metadata = GoogleMetadata::At(metadata.host());
    for (file, optional_file, expected) in [
        (Some(&file), Some(&other), "for-one"),
        (None, Some(&other), "for-client"),
        (None, Some(&missing), "machine-1"),
        (None, Some(&other.join("not-below-a-file")), "machine-2"),
    ] {
        let (file, optional_file) = (file.cloned(), optional_file.cloned());
        let settings = GoogleSettings { file, optional_file, metadata: metadata.clone() };
        assert_eq!(text(&identity(settings)).await.unwrap(), expected);
    }
    let missing_error = error(&of_file(&missing)).await;
    assert!(missing_error.contains("missing.json"), "{missing_error}");
}

#[tokio::test]
async fn a_login_of_gclouds_gets_tokens_and_its_refusal_is_told_without_secrets() {
    let refused = AtomicUsize::new(0);
    let server = ScriptedServer::start(move |request| {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body["refresh_token"], "1//hunter3");
        if refused.fetch_add(1, Ordering::SeqCst) == 0 {
            let text = "Token has been expired or revoked: 1//hunter3";
            json_reply(400, &json!({"error": "invalid_grant", "error_description": text}))
        } else {
            json_reply(
                200,
                &json!({
                    "access_token": "user-token", "expires_in": 3600, "token_type": "Bearer",
                }),
            )
        }
    });
    let (_directory, file) = written(&user(&server.host()));
    let identity = of_file(&file);
    let said = error(&identity).await;
    assert!(said.contains("credentials.json"), "{said}");
    assert!(said.contains("invalid_grant, Token has been expired or revoked: ***"), "{said}");
    // An error is not for ever.
    assert_eq!(text(&identity).await.unwrap(), "user-token");
    assert_eq!(text(&identity).await.unwrap(), "user-token");
    assert_eq!(server.requests().len(), 2);
}

/// Answers as the Security Token Service and the IAM credentials API do, and as whoever issues the
/// tokens of a job.
fn federation(request: &Request) -> Reply {
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(request.body()).into_owned().collect();
    let field = |name: &str| {
        let found = form.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str()).to_owned()
    };
    match request.path() {
        "/job-token" if request.header("authorization") == Some("bearer hunter4") => {
            json_reply(200, &json!({"value": "job-jwt-hunter5"}))
        }
        "/sts" => {
            assert_eq!(field("grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
            assert_eq!(field("audience"), "//iam.googleapis.com/projects/1/providers/ci");
            if field("subject_token") != "job-jwt-hunter5" {
                let text = "The given credential is rejected by the attribute condition.";
                let body = json!({"error": "unauthorized_client", "error_description": text});
                return json_reply(401, &body);
            }
            let token = format!("federated {}", field("scope"));
            json_reply(
                200,
                &json!({
                    "access_token": token.replace(' ', "|"),
                    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                    "token_type": "Bearer",
                    "expires_in": 3600,
                }),
            )
        }
        "/v1/projects/-/serviceAccounts/ci@team.iam:generateAccessToken" => {
            let who = request.header("authorization").unwrap_or_default();
            json_reply(
                200,
                &json!({
                    "accessToken": format!("impersonated-by-{}", who.replace(' ', "-")),
                    "expireTime": "2099-01-01T00:00:00Z",
                }),
            )
        }
        _ => Reply::new(404),
    }
}

fn external_account(host: &str, source: &Value) -> Value {
    json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/providers/ci",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("http://{host}/sts"),
        "credential_source": source,
    })
}

#[tokio::test]
async fn a_job_of_ci_exchanges_its_token_for_one_of_googles() {
    let server = ScriptedServer::start(federation);
    let host = server.host();
    let directory = tempfile::tempdir().unwrap();
    let job = directory.path().join("job.jwt");
    std::fs::write(&job, "job-jwt-hunter5").unwrap();
    let of_url = json!({
        "url": format!("http://{host}/job-token"),
        "headers": {"Authorization": "bearer hunter4"},
        "format": {"type": "json", "subject_token_field_name": "value"},
    });
    let cases = [json!({"file": job}), of_url];
    for source in &cases {
        let (_directory, file) = written(&external_account(&host, source));
        assert_eq!(text(&of_file(&file)).await.unwrap(), format!("federated|{SCOPE}"));
    }
    let mut content = external_account(&host, &cases[0]);
    let url = "/v1/projects/-/serviceAccounts/ci@team.iam:generateAccessToken";
    content["service_account_impersonation_url"] = json!(format!("http://{host}{url}"));
    let (_directory, file) = written(&content);
    let scope = "https://www.googleapis.com/auth/iam";
    let expected = format!("impersonated-by-Bearer-federated|{scope}");
    assert_eq!(text(&of_file(&file)).await.unwrap(), expected);
}

#[tokio::test]
async fn a_federation_that_fails_says_where_and_why() {
    let server = ScriptedServer::start(federation);
    let host = server.host();
    let directory = tempfile::tempdir().unwrap();
    let job = directory.path().join("job.jwt");
    std::fs::write(&job, "job-jwt-hunter6").unwrap();
    let missing = directory.path().join("missing.jwt");
    let wrong_field = json!({
        "url": format!("http://{host}/job-token"),
        "headers": {"Authorization": "bearer hunter4"},
        "format": {"type": "json", "subject_token_field_name": "id_token"},
    });
    let no_such = json!({"url": format!("http://{host}/nothing"), "headers": {"X": "hunter4"}});
    for (source, said) in [
        (json!({"file": job}), "rejected by the attribute condition"),
        (json!({"file": missing}), "missing.jwt: No such file"),
        (wrong_field, "id_token"),
        (no_such, "404"),
    ] {
        let (_directory, file) = written(&external_account(&host, &source));
        let shown = error(&of_file(&file)).await;
        assert!(shown.contains(said) && shown.contains("credentials.json"), "{shown}");
    }
}

#[tokio::test]
async fn a_service_account_is_impersonated() {
    let server = ScriptedServer::start(|request| {
        if request.path() == "/token" {
            let body =
                json!({"access_token": "source", "expires_in": 3600, "token_type": "Bearer"});
            return json_reply(200, &body);
        }
        federation(request)
    });
    let host = server.host();
    let url = "/v1/projects/-/serviceAccounts/ci@team.iam:generateAccessToken";
    let (_directory, file) = written(&json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": format!("http://{host}{url}"),
        "source_credentials": user(&host),
    }));
    assert_eq!(text(&of_file(&file)).await.unwrap(), "impersonated-by-Bearer-source");

    let refusing = ScriptedServer::start(|request| match request.path() {
        "/token" => {
            let body =
                json!({"access_token": "source", "expires_in": 3600, "token_type": "Bearer"});
            json_reply(200, &body)
        }
        _ => json_reply(
            403,
            &json!({"error": {
                "code": 403, "status": "PERMISSION_DENIED",
                "message": "Permission 'iam.serviceAccounts.getAccessToken' denied",
            }}),
        ),
    });
    let host = refusing.host();
    let (_directory, file) = written(&json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": format!("http://{host}{url}"),
        "source_credentials": user(&host),
    }));
    let said = error(&of_file(&file)).await;
    assert!(said.contains("PERMISSION_DENIED, Permission 'iam.serviceAccounts"), "{said}");
}

#[tokio::test]
async fn files_that_hold_no_credentials_are_errors_that_name_them_and_quote_nothing() {
    for (content, said) in [
        (r#"{"private_key": hunter2"#, "is no JSON (line 1"),
        ("hunter2", "is no JSON"),
        ("[]", "no type"),
        (r#"{"type":"external_account_authorized_user"}"#, "are not known"),
        (r#"{"type":"authorized_user","client_secret":"hunter2"}"#, "client_id"),
        (r#"{"type":"authorized_user","client_id":{},"client_secret":"hunter2"}"#, "expected"),
        (r#"{"type":"service_account","private_key":"hunter2"}"#, "client_email is missing"),
        (
            r#"{"type":"service_account","client_email":"a","private_key_id":"b","private_key":"hunter2"}"#,
            "no RSA key",
        ),
        (
            r#"{"type":"service_account","token_uri":"http://example.com/","private_key":"hunter2"}"#,
            "https",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("odd.json");
        std::fs::write(&file, content).unwrap();
        let shown = error(&of_file(&file)).await;
        assert!(shown.contains(said) && shown.contains("odd.json"), "{content}: {shown}");
    }
}

/// Google's library replaces tokens before they are needed, and would give a refusal for ever.
#[tokio::test]
async fn what_failed_between_two_uses_is_tried_again() {
    let good = |token: &str| {
        json_reply(200, &json!({"access_token": token, "expires_in": 1, "token_type": "Bearer"}))
    };
    let refused = json_reply(400, &json!({"error": "invalid_grant"}));
    let server = ScriptedServer::script([good("first"), refused, good("second")]);
    let (_directory, file) = written(&user(&server.host()));
    let identity = of_file(&file);
    assert_eq!(text(&identity).await.unwrap(), "first");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(text(&identity).await.unwrap(), "second");
}

/// The task in which Google's library replaces tokens ends with its runtime.
#[test]
fn an_identity_outlives_the_runtime_it_was_used_in() {
    let server = ScriptedServer::start(|_| {
        json_reply(200, &json!({"access_token": "again", "expires_in": 1, "token_type": "Bearer"}))
    });
    let (_directory, file) = written(&user(&server.host()));
    let identity = of_file(&file);
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(text(&identity)).unwrap(), "again");
        std::thread::sleep(Duration::from_millis(1100));
    }
}
