//! Who a machine or a job is to Azure, with everything that hands tokens out on loopback.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use dockit_registry::{AccessToken, AzureIdentity, CredentialError, TokenIdentity as _};
use dockit_testkit::{EntraServer, Reply, ScriptedServer};

const SCOPE: &str = "https://containerregistry.azure.net/.default";

/// The identity that these variables speak of.
fn identity(variables: &[(&str, &str)]) -> AzureIdentity {
    // A second installation fails, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    AzureIdentity::from_variables(&|name| variables.get(name).map(|value| (*value).into()))
}

async fn token(variables: &[(&str, &str)]) -> Result<Option<AccessToken>, CredentialError> {
    identity(variables).access_token(SCOPE).await
}

fn http(host: &str) -> String {
    format!("http://{host}")
}

/// Nobody listens there.
const NOBODY: (&str, &str) = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1");

fn is_for_a_day_at_most(token: &AccessToken) {
    let left = token.expires.unwrap().duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(3000) && left <= Duration::from_secs(86_400), "{left:?}");
    assert!(!token.token.expose().is_empty());
}

#[tokio::test]
async fn an_application_gets_a_token_for_its_secret() {
    let entra = EntraServer::start();
    let authority = http(&entra.host());
    let with = |secret| {
        [
            ("AZURE_TENANT_ID", EntraServer::TENANT),
            ("AZURE_CLIENT_ID", EntraServer::CLIENT),
            ("AZURE_CLIENT_SECRET", secret),
            ("AZURE_AUTHORITY_HOST", &authority),
        ]
    };
    is_for_a_day_at_most(&token(&with(EntraServer::SECRET)).await.unwrap().unwrap());
    let error = token(&with("hunter2")).await.unwrap_err().to_string();
    assert!(error.starts_with("AZURE_CLIENT_SECRET: "), "{error}");
    assert!(error.contains("AADSTS7000215") && !error.contains("hunter2"), "{error}");
    assert_eq!(entra.requests().len(), 2, "a refusal is not repeated");
}

#[tokio::test]
async fn an_application_that_trusts_another_issuer_gets_a_token_for_its_assertion() {
    let entra = EntraServer::start();
    let authority = http(&entra.host());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let file = file.to_str().unwrap();
    let variables = [
        ("AZURE_TENANT_ID", EntraServer::TENANT),
        ("AZURE_CLIENT_ID", EntraServer::CLIENT),
        ("AZURE_FEDERATED_TOKEN_FILE", file),
        ("AZURE_AUTHORITY_HOST", &authority),
    ];
    let error = token(&variables).await.unwrap_err().to_string();
    assert!(error.starts_with("AZURE_FEDERATED_TOKEN_FILE: ") && error.contains(file), "{error}");
    std::fs::write(file, EntraServer::ASSERTION).unwrap();
    is_for_a_day_at_most(&token(&variables).await.unwrap().unwrap());
    std::fs::write(file, "hunter2").unwrap();
    let error = token(&variables).await.unwrap_err().to_string();
    assert!(error.contains("AADSTS") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn what_is_configured_in_part_is_an_error_that_says_what_lacks() {
    for (variables, lacks) in [
        (&[("AZURE_CLIENT_SECRET", "s"), ("AZURE_CLIENT_ID", "c")][..], "AZURE_TENANT_ID"),
        (&[("AZURE_CLIENT_SECRET", "s"), ("AZURE_TENANT_ID", "t")], "AZURE_CLIENT_ID"),
        (&[("AZURE_FEDERATED_TOKEN_FILE", "/f")], "AZURE_TENANT_ID"),
    ] {
        let error = token(variables).await.unwrap_err().to_string();
        assert!(error.ends_with(&format!("is set, but not {lacks}")), "{error}");
    }
}

#[tokio::test]
async fn a_job_of_azure_pipelines_has_the_identity_of_its_service_connection() {
    let entra = EntraServer::start();
    let authority = http(&entra.host());
    let oidc = format!("{authority}/oidc");
    let with = |job| {
        [
            ("AZURESUBSCRIPTION_TENANT_ID", EntraServer::TENANT),
            ("AZURESUBSCRIPTION_CLIENT_ID", EntraServer::CLIENT),
            ("AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", "connection"),
            ("SYSTEM_OIDCREQUESTURI", &*oidc),
            ("SYSTEM_ACCESSTOKEN", job),
            ("AZURE_AUTHORITY_HOST", &*authority),
        ]
    };
    is_for_a_day_at_most(&token(&with(EntraServer::JOB)).await.unwrap().unwrap());
    let error = token(&with("hunter2")).await.unwrap_err().to_string();
    assert!(error.contains("SYSTEM_OIDCREQUESTURI: 401 no such job"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    // Without the job's token, which has to be passed on deliberately, nothing is configured.
    let without = [&with("")[..], &[NOBODY]].concat();
    assert_eq!(token(&without).await.unwrap(), None);
}

#[tokio::test]
async fn app_service_hands_out_the_identity_of_an_application() {
    let entra = EntraServer::start();
    let endpoint = format!("{}/msi/token", http(&entra.host()));
    let with = |header| [("IDENTITY_ENDPOINT", &*endpoint), ("IDENTITY_HEADER", header)];
    is_for_a_day_at_most(&token(&with(EntraServer::HEADER)).await.unwrap().unwrap());
    let asked = entra.requests().remove(0);
    assert_eq!(asked.query("resource"), ["https%3A%2F%2Fcontainerregistry.azure.net"]);
    let error = token(&with("hunter2")).await.unwrap_err().to_string();
    assert_eq!(error, "IDENTITY_ENDPOINT: no token (401 wrong header)");
}

#[tokio::test]
async fn a_machine_has_the_identity_that_its_metadata_server_hands_out() {
    let entra = EntraServer::start();
    let host = http(&entra.host());
    let server = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*host);
    is_for_a_day_at_most(&token(&[server]).await.unwrap().unwrap());
    let assigned = [server, ("AZURE_CLIENT_ID", EntraServer::CLIENT)];
    is_for_a_day_at_most(&token(&assigned).await.unwrap().unwrap());
    let error = token(&[server, ("AZURE_CLIENT_ID", "other")]).await.unwrap_err().to_string();
    let expected = "the managed identity of this machine: no token (400 Identity not found)";
    assert_eq!(error, expected);
}

#[tokio::test]
async fn a_machine_of_azure_without_an_identity_has_none() {
    let server = ScriptedServer::start(|_| {
        Reply::new(400)
            .body(r#"{"error":"invalid_request","error_description":"Identity not found"}"#)
    });
    let host = http(&server.host());
    let found = token(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &host)]).await;
    assert_eq!(found.unwrap(), None);
}

#[tokio::test]
async fn a_busy_metadata_server_is_asked_again() {
    let busy = Reply::new(429);
    let there = Reply::new(400);
    let token_reply = Reply::new(200).body(r#"{"access_token":"t","expires_on":1900000000}"#);
    let server = ScriptedServer::script([there, busy, token_reply]);
    let host = http(&server.host());
    let found = token(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &host)]).await.unwrap().unwrap();
    assert_eq!(found.token.expose(), "t");
    assert_eq!(server.requests().len(), 3);
}

/// Amazon's and Google's metadata servers have the same address.
#[tokio::test]
async fn where_there_is_no_identity_that_is_known_within_about_a_second_and_remembered() {
    let answers = [
        Reply::new(404).body("<html>"),
        Reply::new(401),
        Reply::new(403).body("Missing required header: Metadata-Flavor"),
        Reply::new(200).body("anything"),
        Reply::hang_up(),
        Reply::new(400).delay(Duration::from_secs(3)),
    ];
    for answer in answers {
        let server = ScriptedServer::script([answer]);
        let host = http(&server.host());
        let identity = identity(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &host)]);
        let start = Instant::now();
        assert_eq!(identity.access_token(SCOPE).await.unwrap(), None);
        assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
        let start = Instant::now();
        assert_eq!(identity.access_token(SCOPE).await.unwrap(), None);
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
        assert_eq!(server.requests().len(), 1);
    }
    assert_eq!(token(&[NOBODY]).await.unwrap(), None);
}

/// A program in place of `az`, which notes that it was started.
#[cfg(unix)]
fn az(directory: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let program = directory.join("az");
    let text = format!("#!/bin/sh\necho \"$@\" >> '{}/started'\n{script}\n", directory.display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn whoever_is_logged_in_to_az_comes_last() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let variables = [NOBODY, ("PATH", path), ("AZURE_CONFIG_DIR", path)];
    let profile = directory.path().join("azureProfile.json");
    az(directory.path(), r#"echo '{"accessToken":"of az","expires_on":1900000000}'"#);

    assert_eq!(token(&variables).await.unwrap(), None);
    std::fs::write(&profile, "\u{feff}{\"subscriptions\":[]}").unwrap();
    assert_eq!(token(&variables).await.unwrap(), None);
    let started = directory.path().join("started");
    assert!(!started.exists(), "nobody is logged in");

    std::fs::write(&profile, "\u{feff}{\"subscriptions\":[{\"id\":\"s\"}]}").unwrap();
    let found = token(&variables).await.unwrap().unwrap();
    assert_eq!(found.token.expose(), "of az");
    assert!(found.expires.is_some());
    let asked = std::fs::read_to_string(&started).unwrap();
    assert_eq!(asked, format!("account get-access-token --output json --scope {SCOPE}\n"));

    for script in ["echo hunter2; echo hunter2 >&2; exit 1", "echo hunter2"] {
        az(directory.path(), script);
        let error = token(&variables).await.unwrap_err();
        assert!(error.to_string().starts_with("az account get-access-token "), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}
