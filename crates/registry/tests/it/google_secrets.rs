//! Nothing secret of what Google's registries and identities give, in errors, in `Debug` or in traces.

use std::sync::Arc;

use dockit_registry::{
    Access, Client, Credential, Deletion, Digest, GoogleIdentity, GoogleMetadata, GoogleSettings,
    ListEntry, ProviderKind, Registries, Registry as _, RegistrySettings, Repository, Secret,
    TokenIdentity as _,
};
use dockit_testkit::{Reply, Request, ScriptedServer};
use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::secrets::{told, traced};
use crate::support::{Fixed, builder, host_of};

/// Part of every secret here.
const SECRET: &str = "swordfish";

/// Google's registry, REST API, metadata server and token servers in one, which answer with `status`
/// what has been let in.
fn google(request: &Request, status: u16) -> Reply {
    let echo = request.header("authorization").unwrap_or_default().to_owned();
    let json = |status: u16, body: &serde_json::Value| {
        Reply::new(status).header("Content-Type", "application/json").body(body.to_string())
    };
    let token = |name: &str| {
        json!({
            "access_token": format!("swordfish-{name}"),
            "token": format!("swordfish-{name}"),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "expires_in": 3600,
            "token_type": "Bearer",
        })
    };
    // As long as such tokens are.
    let job = "swordfish-job.".to_owned() + &"x".repeat(80);
    // What fails for a moment is asked for again, which takes its time.
    let of_identity = if status == 500 { 200 } else { status };
    match request.path() {
        "/computeMetadata/v1/instance/service-accounts/default/token" => {
            json(of_identity, &token("machine")).header("Metadata-Flavor", "Google")
        }
        "/job" => json(200, &json!({"value": job})),
        "/sts" | "/refresh" if of_identity == 200 => json(200, &token("exchanged")),
        // Servers that say too much.
        "/refresh" => json(
            status,
            &json!({
                "error": "invalid_grant",
                "error_description": "swordfish-refresh of swordfish-client is no good",
            }),
        ),
        "/sts" => json(
            status,
            &json!({
                "error": "invalid_grant",
                "error_description": format!("{job} is no good"),
                "assertion": "swordfish-job",
            }),
        ),
        "/v2/token" => json(status, &token("registry")),
        path if path.starts_with("/v1/") => match status {
            200 if path.ends_with("/dockerImages") => json(200, &json!({"dockerImages": []})),
            200 => json(200, &json!({"name": "projects/p/locations/l/operations/1", "done": true})),
            _ => json(status, &json!({"error": {"code": status, "message": "no", "status": "X"}})),
        },
        _ if echo.is_empty() => {
            let host = host_of(request);
            let challenge =
                format!("Bearer realm=\"http://{host}/v2/token\",service=\"s\",scope=\"x\"");
            Reply::new(401).header("WWW-Authenticate", challenge)
        }
        path if path.ends_with("/tags/list") && status == 200 => {
            let more: Vec<String> = (0..10_000).map(|number| format!("t{number}")).collect();
            json(200, &json!({"name": "x", "child": [], "manifest": {}, "tags": more}))
        }
        _ if request.method == "DELETE" && status == 200 => Reply::new(202),
        _ => Reply::new(status),
    }
}

async fn round(client: &Client, repository: &Repository, texts: &mut String) -> usize {
    let tag: dockit_registry::Tag = "1".parse().unwrap();
    let reference = repository.with_tag(tag.clone());
    let listed: Result<Vec<ListEntry>, _> = client.entries(repository).try_collect().await;
    let below: Result<Vec<Repository>, _> =
        client.repositories_below(repository).try_collect().await;
    let items = vec![Deletion::Tag(tag), Deletion::Manifest(Digest::of(b"x"))];
    let deleted = client.delete_all(repository, items).await.unwrap();
    texts.push_str(&format!("{listed:?} {deleted:?} {client:?}\n"));
    let errors = [
        client.head_manifest(&reference, Access::PullPush).await.err(),
        client.create_repository(repository).await.err(),
        client.ping(repository.host()).await.err(),
        listed.err(),
        below.err(),
    ];
    let errors = errors.into_iter().flatten();
    let errors: Vec<_> =
        errors.chain(deleted.into_iter().filter_map(|one| one.result.err())).collect();
    for error in &errors {
        texts.push_str(&told(error));
    }
    errors.len()
}

#[tokio::test]
async fn no_secret_of_googles_is_in_an_error_or_a_trace() {
    let traced = traced();
    let mut texts = String::new();
    let mut failures = 0;
    for status in [200, 400, 401, 403, 500] {
        let server = ScriptedServer::start(move |request| google(request, status));
        let host = server.host();
        let directory = tempfile::tempdir().unwrap();
        let user = json!({
            "type": "authorized_user",
            "client_id": "client",
            "client_secret": "swordfish-client",
            "refresh_token": "swordfish-refresh",
            "token_uri": format!("http://{host}/refresh"),
        });
        let federation = json!({
            "type": "external_account",
            "audience": "a",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("http://{host}/sts"),
            "credential_source": {
                "url": format!("http://{host}/job"),
                "headers": {"Authorization": "bearer swordfish-request"},
                "format": {"type": "json", "subject_token_field_name": "value"},
            },
        });
        let key = json!({
            "type": "service_account", "client_email": "ci", "private_key_id": "swordfish-id",
            "private_key": "swordfish-key", "token_uri": format!("http://{host}/refresh"),
        });
        let mut identities = vec![GoogleSettings {
            metadata: GoogleMetadata::At(host.clone()),
            ..GoogleSettings::default()
        }];
        for (number, content) in [user, federation, key].iter().enumerate() {
            let file = directory.path().join(format!("{number}.json"));
            std::fs::write(&file, content.to_string()).unwrap();
            identities.push(GoogleSettings { file: Some(file), ..GoogleSettings::default() });
        }
        let repository: Repository = format!("{host}/team/images/app").parse().unwrap();
        let settings = RegistrySettings {
            provider: Some(ProviderKind::Google),
            api_url: Some(format!("http://{host}/locations/europe-west1")),
            vouched: true,
            ..RegistrySettings::default()
        };
        let registries = Registries::from_iter([(repository.host().clone(), settings)]);
        for settings in identities {
            let client = builder().registries(registries.clone());
            let identity = Arc::new(GoogleIdentity::new(settings));
            let client = client.google(identity.clone()).build().unwrap();
            match identity.access_token("scope").await {
                Ok(token) => texts.push_str(&format!("{token:?} {identity:?}\n")),
                Err(error) => texts.push_str(&told(&error)),
            }
            failures += round(&client, &repository, &mut texts).await;
        }
        for user in ["oauth2accesstoken", "_json_key"] {
            let password = Secret::new("swordfish-password");
            let credential = Credential::Basic { username: user.to_owned(), password };
            let client = builder().registries(registries.clone());
            let client = client.credentials(Arc::new(Fixed::new(credential))).build().unwrap();
            failures += round(&client, &repository, &mut texts).await;
        }
    }
    assert!(failures >= 80, "{failures}");
    let traced = traced();
    assert!(traced.contains("/v1/projects/team/locations/europe-west1/repositories"), "{traced}");
    assert!(texts.contains("invalid_grant"), "{texts}");
    assert!(traced.contains("reqwest::connect"), "records of the log crate are missing");
    // Neither as it is, nor as base64 spells it at any position, nor as part of a URL or a list of bytes.
    for secret in [SECRET, "c3dvcmRmaXNo", "N3b3JkZmlza", "zd29yZGZpc2", "115, 119, 111, 114, 100"]
    {
        assert!(!texts.contains(secret), "{secret}: {texts}");
        let line = traced.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}
